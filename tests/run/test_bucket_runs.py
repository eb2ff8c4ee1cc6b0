"""Training in aspect-ratio buckets, in pixels and in latents, by the command."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from carrara.draw import Ask, collect, request
from carrara.errors import UserError
from carrara.recipe.loading import load
from carrara.run.plan import plan, plan_distillation
from carrara.run.session import Session
from carrara.store import Store, open_model

STAGE = (
    "{first_stage: {kind: kl, channels: 8, multipliers: [1, 2], blocks: 1, latent_channels: 2, patch: 1}, "
    "objective: {kind: autoencoding, perceptual: 0}, train: {steps: 4, batch: 4, precision: float32}, "
    "preview: {every: 4, count: 4, held_out: 4}}"
)
SMALL = (
    "data.size=16",
    "data.held_out=0.2",
    "data.flip=true",
    "data.buckets=auto",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], blocks: 1, attention_levels: [1], head_width: 8}",
    "model.conditioner=none",
    "train.batch=4",
    "train.minutes=null",
    "train.decay=0",
    "train.precision=float32",
    "preview.every=4",
    "preview.count=4",
    "sample.steps=2",
)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares, and pictures that are wide and high, one of which is turned by its EXIF orientation."""
    folder = tmp_path_factory.mktemp("scans")
    exif = Image.Exif()
    exif[0x0112] = 6
    for k in range(30):
        shape = ((20, 20), (12, 40), (50, 16))[k % 3]
        picture = Image.fromarray(np.random.default_rng(k).integers(0, 255, (*shape, 3), np.uint8))
        picture.save(folder / f"{k}.jpg", **({"exif": exif} if k == 7 else {}))
    return folder


def trained(scans: Path, run: Path, *changes: str) -> Path:
    for stage in plan(str(scans), "pixel", run, [*SMALL, *changes]).stages:
        list(Session(stage, torch.device("cpu")))
    return run


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["null", STAGE], ids=["pixels", "latents"])
def test_a_run_in_buckets_ends_the_same_however_often_it_was_stopped(scans: Path, tmp_path: Path, stage: str) -> None:
    whole = trained(scans, tmp_path / "whole", f"autoencoder={stage}", "train.steps=8")
    parts = trained(scans, tmp_path / "parts", f"autoencoder={stage}", "train.steps=3")
    trained(scans, parts, f"autoencoder={stage}", "train.steps=8")
    a, b = (load_file(run / "model" / "denoiser.safetensors") for run in (whole, parts))
    assert all(torch.equal(a[name], b[name]) for name in a)
    sizes = load(whole / "recipe.yaml").data.buckets
    assert len(sizes) == 3 and (16, 16) in sizes


def test_a_model_trained_in_buckets_draws_their_sizes(scans: Path, tmp_path: Path) -> None:
    opened = Store().open(trained(scans, tmp_path / "run", "train.steps=2"))
    assert collect(opened, request(opened, Ask(count=1, size="8x32"))).values.shape == (1, 3, 8, 32)


def test_a_decoder_is_distilled_in_buckets(scans: Path, tmp_path: Path) -> None:
    run = trained(scans, tmp_path / "run", f"autoencoder={STAGE}", "train.steps=2")
    decoder = "objective.decoder={widths: [8], blocks: [1]}"
    for stage in plan_distillation(run, [decoder, "train.steps=3", "train.minutes=null", "train.batch=4"]).stages:
        list(Session(stage, torch.device("cpu")))
    assert open_model(run).fast is not None


def test_pictures_of_one_shape_train_as_they_did(scans: Path, tmp_path: Path) -> None:
    runs = [trained(scans, tmp_path / name, f"data.buckets={name}", "train.steps=3") for name in ("[[16,16]]", "[]")]
    a, b = (load_file(run / "model" / "denoiser.safetensors") for run in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("source", "changes", "says"),
    [
        ("swissroll", ["data.buckets=auto"], "the data are points"),
        ("digits", ["data.buckets=auto", "model.first_stage=vae", "objective=elbo"], "one size only"),
        ("digits", ["data.buckets=[[2, 8]]"], "at least 4 places"),
        ("digits", ["data.buckets=yes"], "data.buckets"),
    ],
)
def test_buckets_that_do_not_fit_are_refused(tmp_path: Path, source: str, changes: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        plan(source, None, tmp_path / "run", changes)
