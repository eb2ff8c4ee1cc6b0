"""Each value of each kind of file, replaced by strange ones: a sentence comes out, or what it harmlessly means."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from strange import VALUES, cases, check, png, text

from carrara.cli import looking
from carrara.conditioning.encoders import TextEncoder, encoder_facts
from carrara.draw import Ask, collect, record, replay, request, result_of
from carrara.draw.verbs import VERBS
from carrara.files import sealed
from carrara.measure import account, curves, health
from carrara.measure.health import Evidence
from carrara.medium import Picture
from carrara.model import load_model
from carrara.pixels import read_picture, read_recipe, save_png
from carrara.recipe import build, load
from carrara.store import Store
from carrara.store.best import kept
from carrara.store.runs import open_model
from carrara.train import checkpoint, read_log, read_training
from small_models import saved
from thorough import EACH

FEW = VALUES[::4]
SOME = pytest.mark.parametrize(
    "values", [pytest.param(FEW, id="few"), pytest.param(VALUES, id="all", marks=pytest.mark.slow)]
)
GOLDEN = Path(__file__).parents[1] / "golden" / "runs"


@pytest.mark.parametrize("picture", ["grid", pytest.param("strip", marks=pytest.mark.slow), "sample"])
def test_records_of_samples(tmp_path: Path, picture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(torch.device("cpu"))
    opened = store.open(saved("pixels", Path("run")))
    wanted = request(opened, Ask(prompts=("cat",), count=1 if picture == "sample" else 2, steps=2, guidance=2.0))
    made = collect(opened, wanted, strip=picture == "strip").picture(picture)
    about = record(opened, wanted, picture)
    assert replay(save_png(made, Path("good.png"), about), store).identical

    def act(value: Any) -> None:
        path = png(tmp_path / "strange.png", text(value), made.size)
        looking.picture(path)
        replay(path, store, out=tmp_path / "again.png")

    values = VALUES[::4] if picture == "grid" else FEW
    check(cases(about, values), act, 148)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("inpaint", {"box": "2,2,4,4", "resamplings": 1, "jump": 1, "feather": 0}),
        ("outpaint", {"canvas": "10x12", "resamplings": 1}),
        ("restore", {"task": "deblur", "blur": 1.0, "noise": 1.0}),
        ("interpolate", {"frames": 2, "seed": 1, "to_seed": 2, "to": "dog"}),
        ("invert", {"strength": 0.5, "refinements": 0}),
    ],
)
def test_records_of_edits(tmp_path: Path, verb: str, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(torch.device("cpu"))
    opened = store.open(saved("pixels", Path("run")))
    photo = save_png(request_picture(), Path("a.png"))
    names = {"inpaint": "image", "outpaint": "image"}
    given = {names[verb]: Picture.read(photo)} if verb in names else {}
    given |= {"images": (Picture.read(photo),) if verb in ("restore", "invert") else ()} if verb not in names else {}
    done = VERBS[verb](**given, **said)
    ask = Ask(steps=2) if verb in ("interpolate", "invert") else Ask(steps=2, count=1)
    results = result_of(done.run(opened, done.request(opened, ask)))
    good = results.save(opened, Path("out"))[0]
    about = read_recipe(good)
    assert replay(good, store, pictures=Path()).identical
    size = read_picture(good).size

    def act(value: Any) -> None:
        path = png(tmp_path / "strange.png", text(value), size)
        looking.picture(path)
        replay(path, store, out=tmp_path / "again.png")

    edits = ((name, {**about, "edit": edit}) for name, edit in cases(about["edit"], VALUES[::2]))
    check(edits, act, 60)


def request_picture() -> Any:
    """A picture to edit."""
    return Image.new("RGB", (8, 8), (200, 20, 90))


@SOME
@pytest.mark.parametrize("kind", ["pixels", "latents", "vae", "map"])
def test_configurations(tmp_path: Path, kind: str, values: Sequence[Any]) -> None:
    folder = saved(kind, tmp_path / "run")
    path = folder / "config.json"
    good = json.loads(path.read_bytes())
    load_model(folder)

    def act(value: Any) -> None:
        path.write_text(text(value))
        load_model(folder)

    check(cases(good, values), act, 30)


@pytest.mark.parametrize(
    "run",
    [
        "points/checkpoints/step-6",
        *(pytest.param(f"{run}/model", marks=pytest.mark.slow) for run in ("text", "latent")),
    ],
)
def test_configurations_of_runs(tmp_path: Path, run: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / run, folder)
    path = folder / "config.json"
    good = json.loads(path.read_bytes())
    shutil.copytree(folder, tmp_path / "whole" / "best")

    def act(value: Any) -> None:
        path.write_text(text(value))
        (tmp_path / "whole" / "best" / "config.json").write_text(text(value))
        with sealed.unverified():
            open_model(folder)
            kept(tmp_path / "whole")

    check(cases(good, VALUES[::4]), act, 30)


@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_checkpoints(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "step-6"
    shutil.copytree(GOLDEN / "points" / "checkpoints" / "step-6", folder)
    good = json.loads((folder / name).read_bytes())

    def act(value: Any) -> None:
        (folder / name).write_text(text(value))
        if name == "state.json":
            (folder / sealed.MANIFEST).unlink()
            sealed.seal(folder)
        found = checkpoint.load_checkpoint(folder)
        assert type(found.step) is int and found.step >= 0

    check(cases(good), act, 33)


@SOME
@pytest.mark.parametrize("name", ["log.jsonl", "held_out.jsonl"])
def test_logs(tmp_path: Path, name: str, values: Sequence[Any]) -> None:
    for file in ("log.jsonl", "held_out.jsonl"):
        shutil.copy(GOLDEN / "digits" / file, tmp_path)
    lines = (tmp_path / name).read_text().splitlines()
    recipe = load(GOLDEN / "digits" / "recipe.yaml")

    turn = iter(range(10**9))

    def act(value: Any) -> None:
        strange, drawn = text(value), next(turn) % 8 == 0
        for several in ([lines[0], strange, lines[-1]], [strange], [lines[0], strange], [strange, lines[-1]]):
            (tmp_path / name).write_text("\n".join(several) + "\n" + strange[: len(strange) // 2])
            log, held_out = read_training(tmp_path / "log.jsonl"), read_log(tmp_path / "held_out.jsonl")
            health.findings(Evidence(recipe=recipe, log=log, held_out=held_out, guidable=True))
            account.training_time(log)
            run = account.Account(
                folder=tmp_path,
                measured=tmp_path / "evaluation",
                recipe=recipe,
                log=log,
                held_out=held_out,
                findings=(),
                about={},
                parameters=1,
                metrics={},
                pictures=(),
            )
            charts = [*curves.training_charts(run), *curves.compared_charts({"a": run, "b": run})]
            for chart in charts[-2:] * drawn:
                chart.picture()

    check(cases(json.loads(lines[0]), values), act, 40)


def test_measurements(tmp_path: Path) -> None:
    good = {
        "measured": {"step": 6, "weights": "0" * 16},
        "kid": {"value": 0.5, "error": 0.1},
        "samples": 12,
        "name": "EfficientNet",
        "each": [1.0, 2.0],
    }
    (tmp_path / "evaluation").mkdir()

    def act(value: Any) -> None:
        (tmp_path / "evaluation" / "kid.json").write_text(text(value))
        for rows in account.read_measurements(tmp_path, "0" * 16).values():
            assert all(isinstance(cell, str) for cell in rows.values())

    check(cases(good), act, 15)


@pytest.mark.parametrize(
    "values",
    [pytest.param(VALUES[::20], id="few"), pytest.param(VALUES[:: 2 * EACH], id="more", marks=pytest.mark.slow)],
)
def test_recipes(tmp_path: Path, values: Sequence[Any]) -> None:
    good = yaml.safe_load((GOLDEN / "digits" / "recipe.yaml").read_text())
    path = tmp_path / "recipe.yaml"

    def act(value: Any) -> None:
        path.write_text(text(value))
        load(path)

    check(cases(good, values), act, 67)


@pytest.mark.slow
def test_networks_of_recipes(tmp_path: Path) -> None:
    """What a recipe asks for is counted before it is built."""
    good = yaml.safe_load((GOLDEN / "digits" / "recipe.yaml").read_text())
    path = tmp_path / "recipe.yaml"

    def act(value: Any) -> None:
        path.write_text(text({**good, "model": value}))
        build.model(load(path))

    check(cases(good["model"], (10**9, [10**6] * 50)), act, 40)


@pytest.mark.parametrize("kind", [pytest.param("clip", marks=pytest.mark.slow), "t5"])
def test_text_encoders(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tmp_path / "encoder"
    made_encoder(encoder, kind)
    path = encoder / "config.json"
    good = json.loads(path.read_bytes())
    TextEncoder(encoder)

    def act(value: Any) -> None:
        path.write_text(text(value))
        encoder_facts.cache_clear()
        encoder_facts(str(encoder))
        TextEncoder(encoder)(["a red heart"])

    check(cases(good, VALUES[::3] if kind == "clip" else FEW), act, 40)


def made_encoder(folder: Path, kind: str) -> None:
    """A tiny text encoder with random weights, as transformers writes it."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = {word: k for k, word in enumerate(["<pad>", "<unk>", "a", "red", "heart"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>")
    wrapped.model_max_length = 16
    wrapped.save_pretrained(folder)
    if kind == "clip":
        sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = CLIPTextModel(CLIPTextConfig(vocab_size=5, max_position_embeddings=16, eos_token_id=4, **sizes))
    else:
        model = T5EncoderModel(T5Config(vocab_size=5, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2))
    model.save_pretrained(folder)
