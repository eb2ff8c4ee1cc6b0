"""A run that is stopped in the middle of a step, often, ends as one that was not: with any number of loader threads."""

from collections.abc import Sequence
from functools import partial
from itertools import count, product
from pathlib import Path

import pytest
import torch
from killed_runs import contents, differences, prepare

from carrara.data import Loader
from carrara.recipe import build
from carrara.run.plan import plan
from carrara.run.session import Session

ACCUMULATE = 3
TWICE = ((2, 1), (5, 2))
FIVE_TIMES = ((0, 1), (2, 0), (3, 2), (4, 1), (5, 1))
"""Steps and micro-batches of them at which the run is stopped."""
SMALL = (
    "data.size=8",
    "data.held_out=0.3",
    "model.backbone={kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: [], head_width: 8}",
    "train.batch=6",
    f"train.accumulate={ACCUMULATE}",
    "train.steps=6",
    "train.minutes=null",
    "train.precision=float32",
    "checkpoint.every=2",
    "sample.steps=1",
    "preview.count=1",
    "preview.held_out=2",
)
SHOWN = ("preview.every=3", "preview.best=loss")
HIDDEN = ("preview.every=0",)


class Killed(BaseException):
    """The process is gone: nothing is saved any more."""


def session(photos: Path, run: Path, *changes: str) -> Session:
    (stage,) = plan(str(photos), "pixel", run, [*SMALL, *changes]).stages
    return Session(stage, torch.device("cpu"))


def killed(running: Session, step: int, micro: int) -> None:
    """Trains until a micro-batch of a step, counted from 0."""
    calls = count(running.training.clock.step * ACCUMULATE)

    def before(*_: object) -> None:
        if next(calls) == step * ACCUMULATE + micro:
            raise Killed

    running.objective.register_forward_pre_hook(before)
    with pytest.raises(Killed):
        list(running)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    prepare(root, "pixel")
    return root / "photos"


@pytest.fixture(scope="module")
def whole(photos: Path) -> dict[Sequence[str], dict[str, str]]:
    """What an undisturbed run holds, with previews and without."""
    found = {}
    for shown in (SHOWN, HIDDEN):
        run = photos.parent / str(len(shown)) / "run"
        list(session(photos, run, *shown))
        found[shown] = contents(run)
    return found


QUICK = (TWICE, 0, SHOWN), (TWICE, 1, HIDDEN), (FIVE_TIMES, 4, SHOWN)
ALL = product((TWICE, FIVE_TIMES), (0, 1, 4), (SHOWN, HIDDEN))


@pytest.mark.parametrize(
    ("moments", "workers", "shown"),
    [
        pytest.param(
            *combined,
            id=f"{len(combined[0])}-{combined[1]}-{'previews' if combined[2] is SHOWN else 'none'}",
            marks=() if combined in QUICK else pytest.mark.slow,
        )
        for combined in ALL
    ],
)
def test_stopped_in_the_middle_of_steps(
    moments: Sequence[tuple[int, int]],
    workers: int,
    shown: Sequence[str],
    photos: Path,
    whole: dict[Sequence[str], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "Loader", partial(Loader, workers=workers))
    for step, micro in moments:
        killed(session(photos, tmp_path / "run", *shown), step, micro)
    list(session(photos, tmp_path / "run", *shown))
    assert differences(tmp_path / "run", whole[shown]) == []


def test_previews_change_no_weights(whole: dict[Sequence[str], dict[str, str]]) -> None:
    weights = [{name: found[name] for name in found if name.startswith("model/")} for found in whole.values()]
    assert weights[0] == weights[1] and "model/denoiser.safetensors" in weights[0]
