"""What is fuzzed: each is what reads something, and the real thing that is spoilt."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from mutating import BOUNDS, TEXTS, plain, spoilt, text_of, texts
from PIL import Image, PngImagePlugin

from carrara import pixels
from carrara.cli.app import app
from carrara.cli.edits import verb_first
from carrara.conditioning.prompts import read_prompt
from carrara.conditioning.vectors import LabelsConfig, VectorsConfig
from carrara.data.folder import AS_IT_COMES, Listing
from carrara.data.folder.beside import captions_in, decoded
from carrara.data.folder.metadata import read_metadata, report
from carrara.data.folder.tables import rows_of
from carrara.draw.ask import Ask
from carrara.draw.records import check_edit, check_extent, check_place, read_record, requested
from carrara.draw.replay import _understood, read_verb
from carrara.draw.wishes import parts_of
from carrara.errors import UserError
from carrara.files import BadFile, Malformed, as_kind, open_array, read_as, read_tensors, sealed, shapes
from carrara.files.lock import holder_of
from carrara.measure.account import read_measurements
from carrara.medium import read_size
from carrara.model import build_saved, read_config
from carrara.recipe.layers import from_arguments, over
from carrara.recipe.loading import _preset, load, parse, presets
from carrara.toolkit import ask_of
from carrara.train import read_log, read_training
from carrara.train.checkpoint import Moment
from carrara.train.state import Clock

GOLDEN = Path(__file__).parents[1] / "golden" / "runs"

RUN = GOLDEN / "points"
DRAWN = GOLDEN / "digits" / "drawn"
LABELS = LabelsConfig(classes=("cat", "dog", "a|b", "a:1", "+")).build(4)
VECTORS = VectorsConfig(size=3).build(4)
RECORDS = [pixels.read_recipe(path) for path in sorted(GOLDEN.glob("*/drawn/*.png"))]
CONFIGS = [json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*/model/config.json"))]
RECIPES = [yaml.safe_load(path.read_text()) for path in sorted(GOLDEN.glob("*/recipe.yaml"))]
PRESETS = [yaml.safe_load(yaml.safe_dump(dict(_preset(name).values))) for name in presets()]
MANIFEST = json.loads((RUN / "checkpoints" / "step-6" / "manifest.json").read_text())
STATE = json.loads((RUN / "checkpoints" / "step-6" / "state.json").read_text())
LINES = [
    json.loads(line) for file in ("log", "held_out") for line in (RUN / f"{file}.jsonl").read_text().splitlines()[:2]
]
MEASURED = [{"bits": {"value": 3.1, "error": 0.1}, "measured": {"step": 2, "weights": "0" * 16}}]
METADATA = [{"file_name": "a.png", "text": ["a cat", "x"], "label": "cat", "vector": [0.5, 1], "map": "b.png"}]
TABLES: list[Any] = [
    {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "caption": "a cat"}]},
    {"labels": [["a.png", 3], ["b.png", [0.5]]]},
    {"a.png": "a cat", "b": {"tags": ["x", "y"], "split": "val"}},
    [METADATA[0]],
]
HOLDER = [{"process": 12, "host": "here", "since": "2026-01-01T00:00:00+00:00"}]
HEADERS = [{"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}, "__metadata__": {"x": "y"}}]
ARRAYS = [{"descr": "<f4", "fortran_order": False, "shape": (2, 2)}]
BASE = _preset("pixel")


@dataclass(frozen=True)
class Parser:
    """Something that reads.

    Attributes:
        values: what it is given.
        read: is given a folder of its own and a value.
    """

    values: st.SearchStrategy[Any]
    read: Callable[[Path, Any], object]


def _written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


def recipe(folder: Path, text: str | bytes) -> object:
    """A recipe file."""
    return load(_written(folder, "strange.yaml", text))


def arguments(folder: Path, given: list[str]) -> object:
    """Changes to a recipe."""
    return parse(over(BASE, from_arguments(given)))


def command_line(folder: Path, given: list[str]) -> object:
    """What is typed, as far as it is told apart."""
    return app.parse_args(verb_first(given), exit_on_error=False, print_error=False)


def wish(folder: Path, text: str) -> None:
    """What is typed to be drawn."""
    failed = [work for work in (_labels, _vectors, read_prompt) if not _passes(work, text, UserError)]
    if failed:
        raise UserError(str(failed))


def _passes(work: Callable[[str], object], text: str, error: type[Exception]) -> bool:
    try:
        work(text)
    except error:
        return False
    return True


def _labels(text: str) -> None:
    for part in parts_of(LABELS, text):
        LABELS.parse(part.text)


def _vectors(text: str) -> None:
    for part in parts_of(VECTORS, text):
        VECTORS.parse(part.text)


def asked(folder: Path, said: Mapping[str, Any]) -> object:
    """What is asked of a model, from Python."""
    return ask_of(**said)


def caption(folder: Path, content: bytes) -> object:
    """A caption beside a picture."""
    for ending in (".txt", ".tags", ".json"):
        try:
            captions_in(decoded(content), ending, AS_IT_COMES)
        except Malformed as error:
            assert str(error)
    return None


def metadata(folder: Path, lines: list[Any]) -> object:
    """What is said of a folder's pictures."""
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    _written(folder, "metadata.jsonl", "\n".join(map(text_of, lines)))
    found = read_metadata(folder, Listing(pictures=["a.png", "b.png"], tables=["metadata.jsonl"]), AS_IT_COMES)
    report(found)
    return found


def table(folder: Path, content: str) -> object:
    """A table, as JSON or with commas."""
    for name in ("a.json", "a.csv", "a.tsv"):
        _written(folder, name, content)
        try:
            list(rows_of(folder / name))
        except BadFile as error:
            assert name in error.message
    return None


def record(folder: Path, about: Any) -> None:
    """What a picture carries."""
    path = folder / "a.png"
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("carrara", text_of(about))
    Image.new("L", (8, 8)).save(path, pnginfo=chunks)
    recorded(path)


def recorded(path: Path) -> None:
    """All that is read of a record before anything is opened or drawn."""
    found = read_record(path, pixels.read_recipe(path))
    check_place(path, found.run, None, "the model")
    for rival, what in found.rivals:
        check_place(path, rival, None, what)
    if found.request is not None:
        request = requested(path, found)
        check_extent(path, [request.pixel_size or (8, 8)] * len(request.seeds), (8, 8))
    if found.edit:
        check_edit(path, found.edit, (8, 8))
        with _understood(path):
            read_verb(found.edit, path.parent)


def config(folder: Path, document: str | bytes) -> object:
    """How a model is built, and the model."""
    _written(folder, "config.json", document)
    return build_saved(folder, *read_config(folder))


def manifest(folder: Path, document: str | bytes) -> object:
    """What a sealed folder holds."""
    _written(folder, "manifest.json", document)
    sealed.damage(folder)
    return sealed.read_manifest(folder)


def state(folder: Path, document: str | bytes) -> None:
    """The moment of a checkpoint."""
    values = read_as(_written(folder, "state.json", document), dict[str, Any])
    try:
        as_kind(values, Moment)
        as_kind({name: value for name, value in values.items() if name != "format"}, Clock)
    except Malformed as error:
        raise UserError(str(error)) from None


def log(folder: Path, lines: str | bytes) -> None:
    """How a training went."""
    path = _written(folder, "log.jsonl", lines)
    for line in (*read_log(path), *read_training(path)):
        assert all(value is None or abs(value) <= 1e30 for name, value in line.items() if name != "step")


def tensors(folder: Path, content: bytes) -> None:
    """A safetensors file."""
    path = _written(folder, "a.safetensors", content)
    shapes(path)
    read_tensors(path)


def array(folder: Path, content: bytes) -> object:
    """An array of numpy's."""
    return open_array(_written(folder, "a.npy", content)).tobytes()


def lock(folder: Path, content: str | bytes) -> object:
    """Who holds a folder."""
    return holder_of(_written(folder, ".lock", content).parent)


def measured(folder: Path, document: str | bytes) -> object:
    """What was measured."""
    _written(folder, "evaluation/nll.json", document)
    return read_measurements(folder, "0" * 16)


def picture(folder: Path, content: bytes) -> None:
    """A picture with a record."""
    path = _written(folder, "a.png", content)
    recorded(path)
    pixels.read_picture(path)


def _header(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little") + content + bytes(16)


def _npy(header: Any) -> bytes:
    text = repr(header).encode("utf-8", "replace") + b"\n"
    return b"\x93NUMPY\1\0" + (len(text) & 0xFFFF).to_bytes(2, "little") + text + bytes(16)


keys = st.sampled_from(
    ["train.steps", "data.size", "model", "sample.sampler", "train", "data.source", "objective", "x.y", ""]
)
COMMANDS = "train sample edit evaluate replay inspect compare distill run img2img inpaint - -- 4 nan 1e9 0.2 x=1"
OPTIONS = "-n --size --seed --steps --interval --guidance --no-verify --out --vary --box --clip --run --metrics"
words = st.sampled_from([*COMMANDS.split(), *OPTIONS.split()])
typed = st.text(st.sampled_from("ab(:)|+\\ .-0129,enan\u0300\0\x1b"), max_size=30)
yaml_text = st.text(st.sampled_from("abk: -[]{}\n\"'&*!|>#%@`,?0123.e_~<=\t\0\x85\ud800"), max_size=60)
says = st.dictionaries(
    st.sampled_from([*sorted(Ask.__dataclass_fields__), "prompt", "x"]), st.one_of(plain, typed), max_size=4
)
sizes = st.one_of(
    st.none(),
    st.integers(),
    st.text("0123456789xX-+. ²١", max_size=12),
    texts,
    st.lists(st.sampled_from(BOUNDS)).map(tuple),
)
documents = {
    "config.json": (CONFIGS, config),
    "manifest.json": ([MANIFEST], manifest),
    "state.json": ([STATE], state),
    "a lock": (HOLDER, lock),
    "a measurement": (MEASURED, measured),
}
PARSERS: Mapping[str, Parser] = {
    "a recipe": Parser(spoilt([*RECIPES, *PRESETS]).map(lambda v: yaml.safe_dump(v, allow_unicode=True)), recipe),
    "a recipe's text": Parser(st.one_of(yaml_text, yaml_text.map(lambda t: f"train:\n  {t}")), recipe),
    "arguments": Parser(
        st.lists(st.builds("{}={}".format, keys, st.one_of(yaml_text, typed, plain.map(repr))), max_size=3), arguments
    ),
    "a command line": Parser(st.lists(st.one_of(words, words, typed), max_size=7), command_line),
    "a wish": Parser(st.one_of(typed, st.sampled_from(TEXTS)), wish),
    "what is asked": Parser(says, asked),
    "a caption": Parser(st.one_of(st.binary(max_size=60), typed.map(str.encode)), caption),
    "metadata": Parser(st.lists(spoilt(METADATA), min_size=1, max_size=3), metadata),
    "a table": Parser(st.one_of(spoilt(TABLES).map(text_of), typed, st.sampled_from(TEXTS)), table),
    "a record": Parser(spoilt(RECORDS), record),
    "a log": Parser(st.lists(spoilt(LINES), min_size=1, max_size=3).map(lambda v: "\n".join(map(text_of, v))), log),
    "tensors": Parser(spoilt(HEADERS).map(lambda value: _header(text_of(value).encode())), tensors),
    "an array": Parser(spoilt(ARRAYS).map(_npy), array),
    "a size": Parser(sizes, lambda folder, said: read_size(said)),
    **{name: Parser(spoilt(real).map(text_of), read) for name, (real, read) in documents.items()},
}
FILES: Mapping[str, tuple[list[Path], Callable[[Path, bytes], object]]] = {
    "config.json": (sorted(GOLDEN.glob("*/model/config.json")), config),
    "manifest.json": ([RUN / "checkpoints" / "step-6" / "manifest.json"], manifest),
    "state.json": ([RUN / "checkpoints" / "step-6" / "state.json"], state),
    "recipe.yaml": (sorted(GOLDEN.glob("*/recipe.yaml")), recipe),
    "log.jsonl": (sorted(GOLDEN.glob("*/*.jsonl")), log),
    "a picture": (sorted(GOLDEN.glob("*/drawn/*.png")), picture),
    "tensors": (sorted(GOLDEN.glob("*/model/*.safetensors"), key=lambda path: path.stat().st_size)[:6], tensors),
}
"""Real files, of which bytes are spoilt, and what reads them."""
