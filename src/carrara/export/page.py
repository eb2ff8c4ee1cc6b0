"""``carrara export RUN --to page``: a folder that draws in a browser, by onnxruntime-web, and asks nobody else.

It is what ``--to onnx`` writes, beside a page of plain modules in which noise, grids, samplers, guidance and words are
as in ``carrara.runtime``, so a seed is the same picture there, up to rounding. onnxruntime-web itself is taken from its
npm package, of one version, whose files must have the checksums that are written here.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from carrara.conditioning import TextConditioner
from carrara.errors import UserError, option
from carrara.export import onnx
from carrara.files import is_folder, is_regular, make_folder, parse_json, read_bytes, read_json, write_bytes
from carrara.model import DiffusionModel, load_model

VERSION = "1.30.0"
"""Of onnxruntime-web."""
TAKEN: Mapping[str, str] = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""The files of its ``dist`` that the page needs, with their SHA-256."""
USUAL = Path("node_modules/onnxruntime-web")
SITE = Path(__file__).parent / "site"
OWN = (
    "index.html",
    "page.css",
    "icon.svg",
    "page.js",
    "worker.js",
    "model.js",
    "samplers.js",
    "noise.js",
    "draws.js",
    "words.js",
)
LARGEST = 1 << 26


def export(model_folder: Path, out: Path, *, onnxruntime_web: Path | None = None) -> Iterator[str]:
    """Fills the folder ``out``, and yields sentences about it.

    Args:
        onnxruntime_web: the folder of the npm package; None is ``node_modules/onnxruntime-web`` here.

    Raises:
        UserError: the package is not there or another one, or the model has something that the page does not know.
    """
    taken = files_of(onnxruntime_web)
    check_words(model_folder)
    yield from onnx.export(model_folder, out)
    for name in OWN:
        write_bytes(out / name, read_bytes(SITE / name, LARGEST))
    make_folder(out / "onnxruntime")
    for name, content in {**taken, "LICENSE": read_bytes(SITE / "onnxruntime.LICENSE", LARGEST)}.items():
        write_bytes(out / "onnxruntime" / name, content)
    yield "any server of files shows it: python -m http.server --bind 127.0.0.1 --directory FOLDER"


def files_of(package: Path | None = None) -> dict[str, bytes]:
    """onnxruntime-web's files by name.

    Raises:
        UserError: they are not there, of another version, or damaged.
    """
    place = USUAL if package is None else package
    get = f"npm install onnxruntime-web@{VERSION}"
    if not is_folder(place):
        raise UserError(
            f"the page needs the npm package onnxruntime-web, and there is no folder '{place}': get it by '{get}', and "
            f"name its folder with {option('onnxruntime_web', 'node_modules/onnxruntime-web')}"
        )
    found = _version(place)
    if found != VERSION:
        raise UserError(
            f"'{place}' holds onnxruntime-web {found}, and the page is made for {VERSION}: get that by '{get}'"
            if found
            else f"'{place}' is not the npm package onnxruntime-web: get it by '{get}', and name its folder, in which "
            "there is a package.json"
        )
    return {name: _checked(place / "dist" / name, sha256, get) for name, sha256 in TAKEN.items()}


def check_words(model_folder: Path) -> None:
    """Refuses a model whose texts the page cannot read.

    Raises:
        UserError: its tokenizer is of another kind than BERT's.
    """
    model = load_model(model_folder)
    if not isinstance(model, DiffusionModel) or not isinstance(model.conditioner, TextConditioner):
        return
    told = parse_json(onnx.condition_files(model)["tokenizer.json"])
    kinds = [_kind(told, part) for part in ("model", "normalizer", "pre_tokenizer")]
    if kinds != ["WordPiece", "BertNormalizer", "BertPreTokenizer"]:
        raise UserError(
            f"the page reads texts as BERT does, in word pieces, and this model's are read by {kinds[0]}: draw from it "
            "by carrara.runtime, or train with a text encoder such as MiniLM, or with one that is learned"
        )


def _kind(told: Mapping[str, Any], part: str) -> str:
    return str((told.get(part) or {}).get("type"))


def _version(package: Path) -> str | None:
    """Of the package onnxruntime-web that lies there; None if another one does."""
    if not is_regular(package / "package.json"):
        return None
    told: object = read_json(package / "package.json")
    named = cast(Mapping[str, object], told) if isinstance(told, dict) else {}
    return str(named.get("version")) if named.get("name") == "onnxruntime-web" else None


def _checked(path: Path, sha256: str, get: str) -> bytes:
    if not is_regular(path):
        raise UserError(f"'{path}' is missing: get the package again by '{get}'")
    content = read_bytes(path, LARGEST)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"'{path}' is not the one of onnxruntime-web {VERSION}: get the package again by '{get}'")
    return content
