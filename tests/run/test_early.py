"""What a model was early in its training is kept, and guides it where it has no condition."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from carrara.draw import Ask, collect, request
from carrara.errors import UserError
from carrara.model import read_config
from carrara.recipe.loading import load
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import OpenModel, Store
from carrara.store.rivals import EARLY_GUIDANCE

SMALL = (
    "data.size=8",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "train.batch=4",
    "train.steps=8",
    "train.precision=float32",
    "preview.every=0",
    "checkpoint.every=4",
    "checkpoint.early=0.3",
    "sample.steps=3",
)


def trained(run: Path, *changes: str, until: int | None = None) -> Path:
    (stage,) = plan("digits", "digits", run, [*SMALL, *changes]).stages
    for event in Session(stage, torch.device("cpu")):
        if getattr(event, "step", 0) == until:
            break
    return run


def opened(run: Path) -> OpenModel:
    return Store().open(run)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("early") / "run", "model.conditioner=none", "sample.guidance=1")


def test_it_is_kept_once_at_its_part_of_the_run(run: Path) -> None:
    assert read_config(run / "early")[1]["step"] == 3
    early, late = opened(run / "early").model, opened(run).model
    assert early.config == late.config and early.digest() != late.digest()


def test_an_interrupted_run_keeps_the_same(run: Path, tmp_path: Path) -> None:
    alone = ("model.conditioner=none", "sample.guidance=1")
    trained(tmp_path / "run", *alone, until=6)
    first = (tmp_path / "run" / "early" / "config.json").stat().st_mtime_ns
    trained(tmp_path / "run", *alone)
    assert (tmp_path / "run" / "early" / "config.json").stat().st_mtime_ns == first
    assert opened(tmp_path / "run" / "early").model.digest() == opened(run / "early").model.digest()
    assert opened(tmp_path / "run").model.digest() == opened(run).model.digest()


def test_samples_without_a_condition_are_led_away_from_it(run: Path) -> None:
    early = opened(run)
    wanted = request(early, Ask(count=3))
    assert (wanted.settings.guidance, wanted.settings.interval) == (3.0, (0.2, 1.0))
    assert wanted.weak == early.weaker(run / "early")
    by_hand = request(early, Ask(count=3, weak=run / "early", **EARLY_GUIDANCE))
    assert by_hand == wanted
    with pytest.raises(UserError, match="a negative prompt needs a model with a condition"):
        collect(early, request(early, Ask(count=1, negative="dog")))
    off, further = (request(early, Ask(count=3, guidance=scale)) for scale in (1.0, 4.0))
    assert off.weak is None and off.settings.guidance == 1 and further.settings.guidance == 4
    led, plain = (collect(early, each).values for each in (wanted, off))
    assert not torch.equal(led, plain)


def test_classes_guide_as_before(tmp_path: Path) -> None:
    classes, ask = opened(trained(tmp_path / "run")), Ask(prompts=("3",), count=2)
    wanted = request(classes, ask)
    assert wanted.weak is None and wanted.settings == classes.model.settings()
    assert request(classes, replace(ask, weak=tmp_path / "run" / "early")).weak is not None


def test_a_model_without_it_samples_as_it_is(run: Path) -> None:
    alone = opened(run / "model")
    assert alone.model.early is None and request(alone, Ask(count=2)).weak is None
    with pytest.raises(UserError, match="needs a model with a condition"):
        request(alone, Ask(count=2, guidance=2.0))


@pytest.mark.parametrize("part", ["0", "1", "-0.5", ".nan"])
def test_a_part_is_a_part(part: str) -> None:
    with pytest.raises(UserError, match=r"above 0 and below 1|a finite number"):
        load("digits", [f"checkpoint.early={part}"])
