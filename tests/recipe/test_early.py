"""What a model was early in its training is kept, and guides it where it has no condition."""

from pathlib import Path

import pytest
import torch

from carrara.errors import UserError
from carrara.model import DiffusionModel, read_config
from carrara.recipe import Session, collect, load, open_model, plan, request
from carrara.recipe.weaker import EARLY, weaker

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


def opened(run: Path) -> DiffusionModel:
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("early") / "run", "model.conditioner=none", "sample.guidance=1")


def test_it_is_kept_once_at_its_part_of_the_run(run: Path) -> None:
    assert read_config(run / "early")[1]["step"] == 3
    early, late = opened(run / "early"), opened(run)
    assert early.config == late.config and early.digest() != late.digest()


def test_an_interrupted_run_keeps_the_same(run: Path, tmp_path: Path) -> None:
    alone = ("model.conditioner=none", "sample.guidance=1")
    trained(tmp_path / "run", *alone, until=6)
    first = (tmp_path / "run" / "early" / "config.json").stat().st_mtime_ns
    trained(tmp_path / "run", *alone)
    assert (tmp_path / "run" / "early" / "config.json").stat().st_mtime_ns == first
    assert opened(tmp_path / "run" / "early").digest() == opened(run / "early").digest()
    assert opened(tmp_path / "run").digest() == opened(run).digest()


def test_samples_without_a_condition_are_led_away_from_it(run: Path) -> None:
    model = opened(run)
    wanted = request(model, [], 3, 0, {})
    assert (wanted.settings.guidance, wanted.settings.interval) == (3.0, (0.2, 1.0))
    assert wanted.weak == weaker(run / "early", model)
    by_hand = request(model, [], 3, 0, dict(EARLY), weak=run / "early")
    assert by_hand == wanted
    with pytest.raises(UserError, match="a negative prompt needs a model with a condition"):
        collect(model, request(model, [], 1, 0, {}, negative="dog"))
    off, further = (request(model, [], 3, 0, {"guidance": scale}) for scale in (1.0, 4.0))
    assert off.weak is None and off.settings.guidance == 1 and further.settings.guidance == 4
    led, plain = (collect(model, each).samples for each in (wanted, off))
    assert not torch.equal(led, plain)


def test_classes_guide_as_before(tmp_path: Path) -> None:
    model = opened(trained(tmp_path / "run"))
    wanted = request(model, ["3"], 2, 0, {})
    assert wanted.weak is None and wanted.settings == model.config.sample
    assert request(model, ["3"], 2, 0, {}, weak=tmp_path / "run" / "early").weak is not None


def test_a_model_without_it_samples_as_it_is(run: Path) -> None:
    model = opened(run / "model")
    assert model.early is None and request(model, [], 2, 0, {}).weak is None
    with pytest.raises(UserError, match="needs a model with a condition"):
        request(model, [], 2, 0, {"guidance": 2.0})


@pytest.mark.parametrize("part", ["0", "1", "-0.5", ".nan"])
def test_a_part_is_a_part(part: str) -> None:
    with pytest.raises(UserError, match="above 0 and below 1"):
        load("digits", [f"checkpoint.early={part}"])
