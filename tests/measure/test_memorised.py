"""A model that learned sixteen pictures by heart, and one that did not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.data import digits
from carrara.measure import MeasureSettings, measure_run
from carrara.run.plan import plan
from carrara.run.session import Session

NETWORK = (
    "model.backbone={kind: unet, channels: 32, multipliers: [1, 2], blocks: 1, attention_levels: [1], head_width: 32}"
)
SETTINGS = (
    "data.size=8",
    NETWORK,
    "model.conditioner=none",
    "train.minutes=null",
    "train.optimizer=muon",
    "train.lr=2.0e-3",
    "train.ema_half_life=2000",
    "preview.every=0",
    "sample.guidance=1",
)


def verdict(source: str, run: Path, *changes: str) -> str:
    (stage,) = plan(source, "digits", run, [*SETTINGS, *changes]).stages
    list(Session(stage, torch.device("cpu")))
    ((found, _),) = measure_run(run, "memorisation", torch.device("cpu"), MeasureSettings(samples=200))
    return str(found.data["verdict"])


@pytest.mark.slow
def test_sixteen_pictures_by_heart_are_called_memorised_and_a_sound_run_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    for k in range(64):
        Image.fromarray(np.asarray(digits().pixels(k))[..., 0]).save(folder / f"{k}.png")
    few = ("train.batch=16", "train.steps=1000", "data.held_out=0.75")
    assert verdict(str(folder), tmp_path / "by-heart", *few) == "memorised"
    assert verdict("digits", tmp_path / "sound", "train.steps=1000", "data.held_out=0.2") == "sound"
