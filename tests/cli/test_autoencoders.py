"""Autoencoders through the command: trained, looked at, measured, distilled, diffused in; and what can go wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carrara.pixels import read_recipe
from tiny import Command

SMALL = (
    "data.size=16",
    "model.first_stage.channels=8",
    "model.first_stage.multipliers=[1,2]",
    "model.first_stage.patch=2",
    "model.first_stage.blocks=1",
    "train.steps=2",
    "train.batch=4",
    "preview.every=2",
    "preview.count=4",
    "data.held_out=0.3",
    "objective.perceptual=0",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a KL autoencoder that no test changes; see ``autoencoder``."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def autoencoder(carrara: Command, photos: Path, tmp_path: Path, trained: Path) -> Path:
    """A copy of it."""
    if not (trained / "run").exists():
        shutil.copytree(photos, trained / "photos")
        code, said = carrara(
            "train", trained / "photos", "--preset", "autoencoder-kl-f4", "--run", trained / "run", *SMALL
        )
        assert code == 0, said
        assert "held-out psnr" in said
        assert "carrara evaluate" in said
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def picture(path: Path, height: int, width: int, channels: int = 3) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, channels), np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return path


def test_training_leaves_pictures_a_model_and_measured_statistics(autoencoder: Path) -> None:
    with Image.open(autoencoder / "samples" / "step-000002.png") as shown:
        assert shown.width > 4 * 90  # four originals and, below them, four reconstructions
    config = json.loads((autoencoder / "model" / "config.json").read_text())
    assert config["model"]["kind"] == "autoencoder"
    lines = [json.loads(line) for line in (autoencoder / "held_out.jsonl").read_text().splitlines()]
    assert lines[-1]["psnr"] > 0


def test_inspect(carrara: Command, autoencoder: Path) -> None:
    code, said = carrara("inspect", autoencoder)
    assert code == 0, said
    for word in ("latents 4x4x4", "KlConfig", "latent mean", "latent std"):
        assert word in said


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 32), (17, 23), (4, 4)])
def test_reconstruction_of_any_size(
    carrara: Command, autoencoder: Path, tmp_path: Path, height: int, width: int
) -> None:
    code, said = carrara(
        "edit", autoencoder, "reconstruct", picture(tmp_path / "a.png", height, width), "--out", tmp_path / "out"
    )
    assert code == 0, said
    with Image.open(tmp_path / "out" / "a.png") as again:
        assert again.size == (width, height)


def test_held_out_pictures_stand_in(carrara: Command, autoencoder: Path) -> None:
    for what, name in (("reconstruct", "reconstruction.png"), ("interpolate", "interpolation.png")):
        code, said = carrara("edit", autoencoder, what)
        assert code == 0, said
        assert (autoencoder / "samples" / what / name).is_file()


def test_interpolation_ends_at_the_reconstructions(carrara: Command, autoencoder: Path, tmp_path: Path) -> None:
    a, b = picture(tmp_path / "a.png", 16, 16), tmp_path / "b.png"
    Image.new("RGB", (40, 40), (200, 30, 30)).save(b)
    assert carrara("edit", autoencoder, "interpolate", a, b, "--frames", 3, "--out", tmp_path / "out")[0] == 0
    assert carrara("edit", autoencoder, "reconstruct", a, "--out", tmp_path / "again")[0] == 0
    with Image.open(tmp_path / "out" / "interpolation.png") as strip, Image.open(tmp_path / "again" / "a.png") as end:
        scale = (strip.height - 4) // 16
        first = np.asarray(strip)[2 : 2 + 16 * scale : scale, 2 : 2 + 16 * scale : scale]
        assert np.abs(first.astype(int) - np.asarray(end).astype(int)).max() <= 1


def test_evaluation(carrara: Command, autoencoder: Path) -> None:
    for _ in range(2):  # a later measurement takes the earlier one's place
        code, said = carrara("evaluate", autoencoder, "--metrics", "reconstruction")
        assert code == 0, said
    for word in ("PSNR", "SSIM", "EfficientNet-lite0", "rFID", "rKID", "latent std", "active"):
        assert word in said
    numbers = json.loads((autoencoder / "evaluation" / "reconstruction.json").read_text())
    assert numbers["n"] > 0
    assert numbers["perceptual_name"]
    assert (autoencoder / "evaluation" / "reconstruction.png").is_file()


def test_a_distilled_decoder_is_measured_and_used(carrara: Command, autoencoder: Path) -> None:
    code, said = carrara("distill", autoencoder, "--decoder", "train.steps=2", "train.batch=4", "preview.count=2")
    assert code == 0, said
    code, said = carrara("evaluate", autoencoder)
    assert code == 0, said
    assert "tiny decoder" in said


def test_diffusion_in_the_latents_of_another_run(
    carrara: Command, autoencoder: Path, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "diffusion"
    own = ("data.size=16", "train.steps=2", "train.batch=4", "preview.every=2", "preview.count=2", "sample.steps=2")
    where = f"model.first_stage.run={autoencoder}"
    code, said = carrara("train", trained / "photos", "--run", run, "model.first_stage.kind=trained", where, *own)
    assert code == 0, said
    assert "encoded" in said
    assert (run / "latents").is_dir()
    code, said = carrara("sample", run, "-n", 2, "--out", tmp_path / "out")
    assert code == 0, said
    assert carrara("replay", tmp_path / "out" / "grid.png", "--run", run)[0] == 0
    code, said = carrara("sample", run, "-n", 2, "--fast")
    assert code == 2
    assert "no distilled decoder" in said
    assert carrara("distill", run, "--decoder", "train.steps=1", "train.batch=4", "preview.count=2")[0] == 0
    code, said = carrara("sample", run, "-n", 2, "--fast", "--strip", "--out", tmp_path / "fast")
    assert code == 0, said
    assert read_recipe(tmp_path / "fast" / "grid.png")["request"]["fast"] is True
    assert "every pixel is the same" in carrara("replay", tmp_path / "fast" / "grid.png", "--run", run)[1]


@pytest.mark.slow
def test_variational_autoencoders_sample_reconstruct_interpolate_and_traverse(carrara: Command, tmp_path: Path) -> None:
    run = tmp_path / "vae"
    small = ("train.steps=3", "train.batch=8", "model.first_stage.hidden=8", "model.first_stage.latents=[3,2]")
    code, said = carrara("train", "--preset", "vae-two-layer", "--run", run, *small, "preview.count=2")
    assert code == 0, said
    assert "held-out elbo" in said or "model saved" in said
    code, said = carrara("sample", run, "-n", 3, "--out", tmp_path / "out")
    assert code == 0, said
    assert "every pixel is the same" in carrara("replay", tmp_path / "out" / "0001.png", "--run", run)[1]
    for what in ("reconstruct", "interpolate", "traverse"):
        code, said = carrara("edit", run, what)
        assert code == 0, said
    code, said = carrara("evaluate", run, "--metrics", "nll,reconstruction")
    assert code == 0, said
    for word in ("ELBO", "IWAE-64", "KL by layer", "active units", "PSNR"):
        assert word in said
    code, said = carrara("edit", run, "traverse", "--layer", 3)
    assert code == 2
    assert "the layers 1 to 2" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["edit", "RUN", "reconstruct", "SMALL"], ["smaller than the 4 pixels", "enlarge"]),
        (["edit", "RUN", "reconstruct", "FIVE.npy"], ["5 channels", "only 1, 3 and 4 convert"]),
        (["edit", "RUN", "reconstruct", "nowhere.png"], ["there is no picture"]),
        (["edit", "RUN", "reconstruct", "HUGE.png"], ["more than 64 million"]),
        (["edit", "RUN", "interpolate", "SMALL"], ["between two pictures, and 1"]),
        (["edit", "RUN", "interpolate", "--to", "dog"], ["an autoencoder draws nothing", "--frames and --out"]),
        (["edit", "RUN", "interpolate", "--seed", "3"], ["an autoencoder draws nothing"]),
        (["edit", "RUN", "interpolate", "--to-seed", "3"], ["an autoencoder draws nothing"]),
        (["edit", "RUN", "interpolate", "--refinements", "1"], ["an autoencoder draws nothing"]),
        (["edit", "RUN", "traverse"], ["only a variational autoencoder"]),
        (["edit", "RUN", "frobnicate"], ["reconstruct"]),
        (["sample", "RUN"], ["autoencoder without a prior", "train diffusion"]),
        (["sample", "RUN", "--steps", "5"], ["samples in one step", "leave steps out"]),
        (["evaluate", "RUN", "--metrics", "reconstuction"], ["Did you mean 'reconstruction'"]),
        (["evaluate", "RUN", "--metrics", "nll"], ["without a prior"]),
        (["distill", "RUN"], ["--decoder"]),
        (["distill", "nowhere", "--decoder"], ["no run 'nowhere'"]),
        (["distill", "RUN", "--steps", "4"], ["takes no steps", "--decoder"]),
        (["train", "PHOTOS", "model.first_stage.kind=trained", "model.first_stage.run=nowhere"], ["no run 'nowhere'"]),
        (["train", "PHOTOS", "--preset", "autoencoder-kl-f4", "objective.critc.start=3"], ["objective.critic"]),
        (["train", "PHOTOS", "--preset", "autoencoder-kl-f4", "data.channels=5"], ["the pictures have 3 channels"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(
    carrara: Command,
    autoencoder: Path,
    trained: Path,
    tmp_path: Path,
    arguments: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "small.png", 3, 9)
    Image.new("1", (9000, 8000)).save(tmp_path / "HUGE.png")
    np.save(tmp_path / "FIVE.npy", np.zeros((16, 16, 5), np.uint8))
    names = {"RUN": autoencoder, "SMALL": tmp_path / "small.png", "PHOTOS": trained / "photos"}
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    code, said = carrara(*[names.get(argument, argument) for argument in arguments])
    assert code == 2, said
    assert "Traceback" not in said
    for word in words:
        assert word in said
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before, "a mistake writes nothing"


def test_an_autoencoder_for_other_channels_than_the_data(carrara: Command, autoencoder: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey"
    grey.mkdir()
    for k in range(4):
        picture(grey / f"{k}.png", 16, 16, 1)
    trained = ("model.first_stage.kind=trained", f"model.first_stage.run={autoencoder}", "data.size=16")
    code, said = carrara("train", grey, *trained, "data.channels=1", "--run", tmp_path / "one")
    assert code == 2
    assert "takes pictures of 3 channels" in said
    assert "data.channels=3" in said
    code, said = carrara("train", grey, *trained, "train.steps=1", "train.batch=2", "--run", tmp_path / "two")
    assert code == 0, said
