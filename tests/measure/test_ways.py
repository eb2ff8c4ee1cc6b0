"""Ways are measured where it is worth the most, and for no longer than is allowed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from carrara.measure import ways as measuring
from carrara.measure.timing import Work
from carrara.measure.ways import Measured, measure_ways
from carrara.nn import conv3, native
from carrara.objective import LossReport, Objective
from carrara.seeds import Draws
from carrara.train import TrainSettings
from carrara.types import Batch, Role

TRIAL = 6.0
"""Seconds that each takes."""


class Layers(Objective):
    """Of 64 places: a convolution of 4 channels, two of 2, one of 8; and two of 2 once more, of 16 places."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv3(width, width) for width in (4, 2, 2, 8))
        self.seen = list[int]()

    def roles(self) -> Mapping[Role, Sequence[nn.Parameter]]:
        return {"main": list(self.parameters())}

    def forward(self, batch: Batch, role: Role, draws: Draws) -> LossReport:
        self.seen.append(len(batch))
        for layer in self.layers:
            layer(batch.x.new_zeros(len(batch), layer.in_channels, 8, 8))
        for layer in self.layers[1:3]:
            layer(batch.x.new_zeros(len(batch), layer.in_channels, 4, 4))
        return LossReport(per_sample=batch.x.flatten(1).sum(1))

    def validate(self, batch: Batch, draws: Draws) -> Mapping[str, torch.Tensor]:
        return {}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of all trials so far, in which ours is twice as fast."""
    took = list[float]()

    def trial(works: Sequence[Work], rounds: int, clear: float, device: torch.device) -> dict[str, float]:
        took.append(TRIAL)
        return {work.name: 2.0 - k for k, work in enumerate(works)}

    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "missing", lambda: "")
    monkeypatch.setattr(measuring, "seconds_until_clear", trial)
    monkeypatch.setattr(measuring, "perf_counter", lambda: sum(took))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return took


def measured(batch: int, accumulate: int = 1) -> tuple[Measured, ...]:
    settings = TrainSettings(steps=1, batch=batch, accumulate=accumulate, precision="float32")
    told = Batch(x=torch.zeros(batch, 2, 8, 8), position=torch.arange(batch))
    return measure_ways(Layers(), told, settings)[0].measured


def test_what_many_layers_have_comes_first_and_then_the_largest(clock: list[float]) -> None:
    first = [(one.weight[0], one.places[0]) for one in measured(6)]
    assert first == [(2, 8), (2, 4), (8, 8)], "15 seconds are over during the third"
    assert sum(clock) == 3 * TRIAL < 20
    again = [(one.weight[0], one.places[0]) for one in measured(6)]
    assert again == [*first, (4, 8)], "what is remembered takes no time"
    assert all(one.fastest == "winograd" for one in measured(6))


def test_what_is_remembered_is_of_as_many_pictures(clock: list[float]) -> None:
    assert {one.pictures for one in measured(12, accumulate=4)} == {3}
    clock.clear()
    assert {one.pictures for one in measured(3)} == {3} and len(clock) == 1
    assert {one.pictures for one in measured(2)} == {2} and len(clock) > 1


def test_no_more_pictures_than_tell_the_ratio(clock: list[float]) -> None:
    most = 2 * measuring.PLACES
    assert {one.places: one.pictures for one in measured(2000)} == {(8, 8): most // 64, (4, 4): most // 16}


def test_a_few_pictures_tell_the_sizes(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Layers()
    monkeypatch.setattr(measuring, "deepcopy", lambda same: same)
    batch = Batch(x=torch.zeros(50, 2, 8, 8), position=torch.arange(50))
    ways, _ = measure_ways(objective, batch, TrainSettings(steps=1, batch=50, precision="float32"))
    assert objective.seen == [measuring.FEW] and {one.pictures for one in ways.measured} == {50}
