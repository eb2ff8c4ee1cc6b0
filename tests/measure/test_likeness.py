"""Samples beside held-out pictures: exact numbers, which a finished run has, in a sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from carrara import evaluate
from carrara.errors import UserError
from carrara.measure import likeness
from carrara.measure.health import Evidence, examine, looks
from carrara.measure.likeness import LIKENESS, Likeness, Shares, affordable
from carrara.recipe.loading import load
from carrara.run.plan import plan
from carrara.run.session import Diagnosis, Session
from carrara.store import Store

LEVELS = (-0.96, -0.94, 0.94, 0.96)
SMALL = (
    "data.size=8",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "model.conditioner=none",
    *("train.batch=64", "train.steps=4", "train.minutes=null", "train.precision=float32"),
    *("preview.every=5", "preview.count=2", "preview.held_out=20", "checkpoint.early=0.3"),
    "sample.steps=2",
)


def pictures(count: int, channels: int = 3) -> Tensor:
    """A quarter of the values each: near black, not quite, not quite white, near white."""
    return torch.tensor(LEVELS).repeat(count, channels, 4, 1)


def compared(made: Tensor, real: Tensor) -> Likeness:
    return likeness.likeness(made, real, None, step=7, led=False)


def test_shares_and_contrast_are_exact() -> None:
    found = compared(pictures(3), torch.zeros(3, 3, 4, 4))
    assert (found.black, found.white) == (Shares(made=0.25, real=0.0, error=0.0),) * 2
    assert found.real == (0, 0, 0) and found.distance is None and found.count == 3
    values = (torch.tensor(LEVELS).add(1).mul(127.5).round() / 127.5 - 1).repeat(12)
    assert found.made == pytest.approx([values.std().item()] * 3, abs=1e-6)


def test_transparency_is_no_colour() -> None:
    clear = torch.cat([torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4)], dim=1)
    found = compared(clear, clear)
    assert found.white == Shares(made=0.0, real=0.0, error=0.0) and len(found.made) == 4


def test_the_error_is_that_of_a_difference_of_means() -> None:
    black = torch.where(torch.rand(400, 16, generator=torch.Generator().manual_seed(0)) < 0.3, -1.0, 0.0)
    half = black.unflatten(1, (1, 4, 4)) * (torch.arange(400) < 200)[:, None, None, None]
    found = compared(half, torch.zeros(400, 1, 4, 4))
    each = (half <= -0.95).float().flatten(1).mean(1)
    assert found.black.error == pytest.approx(each.std().item() / 20)


class Mean(evaluate.Features):
    """The mean colour."""

    name, width, device = "mean", 3, torch.device("cpu")

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3))


def test_features_say_a_distance() -> None:
    x = torch.rand(40, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = likeness.likeness(x, torch.ones(40, 3, 4, 4), Mean(), step=1, led=True)
    assert found.distance is not None and found.distance > 1 and found.error is not None


@pytest.mark.parametrize(("images", "count"), [(16_000, 28), (1_000_000, 64), (8_000, 0)])
def test_a_short_training_draws_few_samples_or_none(images: int, count: int) -> None:
    assert affordable(64, images=images, calls=50) == count


def test_what_is_written_is_read_for_its_step_alone(tmp_path: Path) -> None:
    found = compared(pictures(3), pictures(3))
    assert likeness.read(tmp_path, 7) is None
    likeness.write(found, tmp_path)
    assert likeness.read(tmp_path, 7) == found
    assert likeness.read(tmp_path, 8) is None and likeness.read(tmp_path, None) is None
    (tmp_path / LIKENESS).write_text('{"step": 7, "count": -1}')
    assert likeness.read(tmp_path, 7) is None


def sentence(black: float, **changes: Any) -> tuple[str, str]:
    """Of samples with so much black, where the pictures have 1.1 %."""
    values: dict[str, Any] = {"made": (0.6,) * 3, "real": (0.6,) * 3, "led": False, **changes}
    found = Likeness(
        step=9,
        count=64,
        black=Shares(made=black, real=0.011, error=0.01),
        white=Shares(made=0.3, real=0.31, error=0.04),
        **values,
    )
    (finding,) = looks(Evidence(recipe=load("pixel", ["data.source=digits"]), likeness=found))
    return finding.level, str(finding)


def test_the_sentence() -> None:
    assert looks(Evidence(recipe=load("pixel", ["data.source=digits"]))) == []
    level, text = sentence(0.03)
    assert level == "good" and "3.0% (1.1%)" in text and "0.60 0.60 0.60 (0.60 0.60 0.60)" in text
    level, text = sentence(0.075)
    assert level == "warning" and text.endswith("have another black than the data: train longer.")
    level, text = sentence(0.03, made=(0.6, 0.6, 0.8), led=True, distance=0.128, error=0.004)
    assert level == "warning" and "128 ± 4" in text and "another contrast" in text and "earlier self" in text


@pytest.fixture(scope="module")
def generous() -> Iterator[None]:
    """Short trainings are compared, too, by features that cost nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "PART", 1.0)
        patch.setattr(evaluate, "extractor", Mean)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, generous: None) -> Path:
    return trained(tmp_path_factory.mktemp("likeness") / "run")


def trained(run: Path, *changes: str, until: int | None = None) -> Path:
    (stage,) = plan("digits", "pixel", run, [*SMALL, *changes]).stages
    for event in Session(stage, torch.device("cpu")):
        assert not isinstance(event, Diagnosis), event.text
        if getattr(event, "step", 0) == until:
            break
    return run


def test_a_finished_run_has_been_compared(run: Path) -> None:
    found = likeness.read(run, 4)
    assert found is not None and found.led and found.count == 20 and found.distance is not None
    texts = [finding.text for finding in examine(Store().open(run))]
    assert sum("Of 20 samples" in text for text in texts) == 1


def test_after_an_interruption_it_is_the_same(run: Path, tmp_path: Path) -> None:
    trained(tmp_path / "run", until=2)
    assert not (tmp_path / "run" / LIKENESS).exists()
    trained(tmp_path / "run")
    assert (tmp_path / "run" / LIKENESS).read_bytes() == (run / LIKENESS).read_bytes()


@pytest.mark.usefixtures("generous")
def test_without_features_there_is_no_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise UserError("not installed")

    monkeypatch.setattr(evaluate, "extractor", absent)
    found = likeness.read(trained(tmp_path / "run", "train.steps=3"), 3)
    assert found is not None and found.distance is None


@pytest.mark.usefixtures("generous")
@pytest.mark.parametrize("change", ["preview.every=0", "preview.held_out=0", "data.held_out=0", "sample.steps=50"])
def test_it_is_left_out(tmp_path: Path, change: str) -> None:
    assert not (trained(tmp_path / "run", "train.steps=2", change) / LIKENESS).exists()
