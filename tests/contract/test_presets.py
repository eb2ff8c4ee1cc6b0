"""One contract for everything that has a name: each preset trains and samples, each sampler works on each grid."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from analytic import SCHEDULES
from carrara.autoencoder import ConvolutionalStage
from carrara.backbone import MlpConfig
from carrara.data import batch_of
from carrara.draw import Ask, Request, finish, reconstruct, request, sample
from carrara.draw.image_input import seen
from carrara.model import Autoencoder, DiffusionModel, ModelConfig
from carrara.noise import Cosine, Schedule, V
from carrara.notes import Grid, painted, to_midi
from carrara.recipe import build
from carrara.recipe.loading import presets
from carrara.run.plan import plan
from carrara.run.session import ModelSaved, Session
from carrara.sample import GRIDS, SAMPLERS, SampleSettings
from carrara.seeds import torch_generator
from carrara.store import OpenModel, Store
from carrara.store.runs import open_classifier
from carrara.train import StepReport

SMALL = ("train.steps=2", "preview.every=0", "checkpoint.every=2", "train.precision=float32")
OPTIONS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "swissroll": (None, ("data.points=64", "train.batch=16")),
    "digits": (None, ("train.batch=4",)),
    "mean-flow": (None, ("train.batch=4",)),
    "table": ("table", ("train.batch=16",)),
    "array": ("curves", ("train.batch=4",)),
    "volume": ("volumes", ("train.batch=2", "model.backbone.channels=8", "model.backbone.head_width=8")),
    "digits-absorbing": (None, ("train.batch=4",)),
    "chorales": ("songs", ("train.batch=2", "model.backbone.width=48")),
    "sprites": ("pictures", ("train.batch=2", "data.size=16")),
    "pixel": ("pictures", ("train.batch=2", "data.size=8")),
    "ddpm-cifar": ("pictures", ("train.batch=2",)),
    "autoencoder-kl-f4": ("pictures", ("train.batch=2", "data.size=16", "model.first_stage.channels=8")),
    "autoencoder-vq-f4": ("pictures", ("train.batch=2", "data.size=16", "model.first_stage.channels=8")),
    "latent": (
        "pictures",
        ("train.batch=2", "data.size=16", "autoencoder.first_stage.channels=8", "autoencoder.train.steps=2"),
    ),
    "stable-diffusion": (
        "pictures",
        ("train.batch=2", "data.size=16", "autoencoder.first_stage.channels=8", "autoencoder.train.steps=2"),
    ),
    "openmoji-text": (
        "pictures",
        ("train.batch=2", "data.size=16", "autoencoder.first_stage.channels=8", "autoencoder.train.steps=2"),
    ),
    "classifier": ("pictures", ("train.batch=2", "data.size=16")),
    "upscale-x4": ("pictures", ("train.batch=2", "data.size=16")),
    "inpaint": ("pictures", ("train.batch=2", "data.size=8")),
    "segmentation": ("pictures", ("train.batch=2", "data.size=8")),
    "sound": (None, ("train.batch=4", "data.source.count=30", "data.size=256")),
    "sound-latent": (
        None,
        (
            *("train.batch=4", "data.source.count=30", "data.size=256", "autoencoder.train.steps=2"),
            *("autoencoder.first_stage.channels=8", "autoencoder.train.batch=4"),
        ),
    ),
    "vae": (None, ("train.batch=4", "model.first_stage.hidden=8")),
    "vae-two-layer": (None, ("train.batch=4", "model.first_stage.hidden=8")),
}
"""Where each preset's data comes from here (None: it brings its own), and what makes it small."""


def data_for(source: str | None, pictures: Path) -> str | None:
    """What a preset is trained on."""
    values = np.random.default_rng(0).normal(size=(12, 8, 8, 8)).astype(np.float32)
    match source:
        case "curves":
            values[0, 0, 0, 3] = np.nan
            np.save(path := pictures.parent / "curves.npy", values[:, :, 0, 0])
        case "volumes":
            np.save(path := pictures.parent / "volumes.npy", values)
        case "table":
            path = pictures.parent / "table.csv"
            path.write_text("\n".join(["a,b", *(f"{k / 3},{'xy'[k % 2]}" for k in range(30))]))
        case _:
            return source and str(pictures)
    return str(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of three pictures with captions and maps."""
    for name, shade in (("dark", 40), ("light", 200)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(3):
            pixels = np.full((16, 16, 3), shade + 10 * k, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{k}.png")
            Image.fromarray(pixels // 128 * 255).save(tmp_path / "pictures" / name / f"{k}.map.png")
            (tmp_path / "pictures" / name / f"{k}.txt").write_text(f"something {name}")
    return tmp_path / "pictures"


def songs(folder: Path) -> Path:
    """Three duets."""
    pytest.importorskip("symusic")
    for k in range(3):
        rows = [(voice, 4 * t, 4, 60 + 5 * voice + (t * (k + 1)) % 7) for voice in range(2) for t in range(32)]
        folder.mkdir(exist_ok=True)
        pitches, onsets = painted(rows, 2, 128)
        (folder / f"{k}.mid").write_bytes(to_midi(Grid(pitches=pitches, onsets=onsets, metre=(4, 4))))
    return folder


def test_every_preset_is_here() -> None:
    needing_a_run = {"tiny-decoder", "few-step", "fine-tuning"}  # see tests/run
    assert set(OPTIONS) | needing_a_run == set(presets())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_preset_trains_and_samples(name: str, pictures: Path, tmp_path: Path) -> None:
    source, options = OPTIONS[name]
    path = songs(tmp_path / "songs") if source == "songs" else data_for(source, pictures)
    planned = plan(source and str(path), name, tmp_path / "run", [*SMALL, *options])
    with torch_generator(0):
        events = [event for stage in planned.stages for event in Session(stage, torch.device("cpu"))]
    losses = [event.loss for event in events if isinstance(event, StepReport)]
    assert len(losses) == 2 * len(planned.stages)
    assert all(np.isfinite(losses))
    assert isinstance(events[-1], ModelSaved)

    if name == "classifier":
        assert open_classifier(tmp_path / "run").classes == ("dark", "light")
        return
    opened = Store().open(tmp_path / "run")
    model = opened.model
    if isinstance(model.first_stage, ConvolutionalStage):
        x = torch.rand(2, *model.shape) * 2 - 1
        assert reconstruct(model, x).shape == x.shape
        if isinstance(model, Autoencoder):
            return
    image = None
    if isinstance(model, DiffusionModel) and model.image is not None:
        recipe = planned.recipe
        image = seen(model, batch_of(build.dataset(recipe), build.transform(recipe), range(2)))
    wanted = request(opened, Ask(count=2, steps=2 if isinstance(model, DiffusionModel) else None))
    made = finish(sample(opened, wanted, image=image))
    assert made.shape == (2, *model.shape)
    assert bool(made.isfinite().all())


def tiny(schedule: Schedule, settings: SampleSettings) -> DiffusionModel:
    network = MlpConfig(width=8, depth=1)
    config = ModelConfig(shape=(2,), backbone=network, schedule=schedule, parameterization=V(), sample=settings)
    with torch_generator(0):
        return DiffusionModel(config).eval()


def sampled(schedule: Schedule, settings: SampleSettings) -> Tensor:
    asked = Request(wishes=(None,) * 3, seeds=(0, 1, 2), settings=settings)
    return finish(sample(OpenModel(model=tiny(schedule, settings)), asked))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_on_every_grid_and_schedule(sampler: str) -> None:
    for grid in GRIDS:
        settings = SampleSettings(sampler=SAMPLERS[sampler](), grid=GRIDS[grid](), steps=3)  # type: ignore[arg-type]
        for schedule in SCHEDULES.values() if grid in ("uniform", "karras") else [Cosine()]:
            for steps in (1, 3):
                x = sampled(schedule, replace(settings, steps=steps))
                assert x.shape == (3, 2)
                assert x.dtype == torch.float32
                assert bool(x.isfinite().all()), (grid, schedule, steps)
