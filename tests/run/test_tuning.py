"""A long training measures the ways through its layers, takes the fastest ones, and keeps them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from carrara.data import batch_of
from carrara.measure import threads
from carrara.measure import ways as measuring
from carrara.measure.threads import as_before, fewer
from carrara.measure.timing import Timing, Work
from carrara.measure.ways import Measured, Ways, read_ways
from carrara.nn import Size, Upsample, calls, choose, conv3, native
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.run import tuning
from carrara.run.compilation import Note
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.train import TrainSettings, read_log

CPU = torch.device("cpu")
SMALL = (
    "data.size=8",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "train.batch=4",
    "train.minutes=null",
    "train.steps=6",
    "train.precision=float32",
    "train.warmup=1",
    "train.lr=0.02",
    "checkpoint.every=3",
    "preview.every=0",
)


@pytest.fixture
def timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No kernels, and the last of several ways is the fastest; the names of all ways that were timed."""
    seen = list[str]()

    def timings(works: Sequence[Work], rounds: int, clear: float, device: torch.device) -> dict[str, float]:
        seen.extend(work.name for work in works)
        for work in works:
            work.do()
        return {work.name: 1.0 / (k + 1) for k, work in enumerate(works)}

    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CARRARA_TUNE", raising=False)
    monkeypatch.setattr(measuring, "seconds_until_clear", timings)
    monkeypatch.setattr(native, "missing", lambda: "there is no C++ compiler g++")
    monkeypatch.setattr(threads, "fewer", lambda *_: None)
    return seen


def trained(run: Path, *changes: str, until: int | None = None) -> tuple[list[str], list[float]]:
    """The notes, and the losses."""
    (stage,) = plan("digits", "digits", run, [*SMALL, *changes]).stages
    notes = list[str]()
    for event in Session(stage, CPU):
        notes += [event.text] if isinstance(event, Note) else []
        if getattr(event, "step", 0) == until:
            break
    return notes, [line["loss"] for line in read_log(run / "log.jsonl")]


def test_the_fastest_is_taken_and_remembered(tmp_path: Path, timed: list[str]) -> None:
    first, second = (trained(tmp_path / name, "train.tune=true") for name in ("first", "second"))
    assert timed == ["in one step", "in two steps"], "once, and nothing that needs kernels"
    assert "no C++ compiler" in first[0][1] and "1 of 1 kinds of layers take another way" in first[0][-1]
    assert first == second, "the memory says the same"
    plain = trained(tmp_path / "plain", "train.tune=false")
    assert plain[0] == [] and not (tmp_path / "plain" / "ways.json").exists()
    assert plain[1] == pytest.approx(first[1], rel=1e-4) and plain[1] != first[1], "rounding, and nothing else"


def test_a_run_goes_on_as_it_began(tmp_path: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(tmp_path / "whole", "train.tune=true")
    trained(tmp_path / "cut", "train.tune=true", until=4)
    (memory,) = (tmp_path / "cache").glob("ways-*.json")
    memory.unlink()
    timed.clear()
    _, losses = trained(tmp_path / "cut", "train.tune=true")
    assert losses == whole[1] and timed == [], "its own file is enough"


@pytest.mark.parametrize("damage", ["[1", json.dumps({"machine": "another"}), "{}"])
def test_what_is_of_another_machine_or_damaged_is_measured_again(tmp_path: Path, timed: list[str], damage: str) -> None:
    trained(tmp_path / "run", "train.tune=true", until=4)
    (tmp_path / "run" / "ways.json").write_text(damage)
    notes, _ = trained(tmp_path / "run", "train.tune=true")
    mended = read_ways(tmp_path / "run" / "ways.json")
    assert "measuring" in notes[0] and mended is not None and mended.measured


def test_as_many_threads_as_are_the_fastest(tmp_path: Path, timed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept, taken again by who goes on, and given back at the end."""
    with as_before():
        torch.set_num_threads(2)
        monkeypatch.setattr(threads, "fewer", lambda *_: 1)
        (stage,) = plan("digits", "digits", tmp_path / "run", [*SMALL, "train.tune=true"]).stages
        counts = [torch.get_num_threads() for event in Session(stage, CPU) if getattr(event, "step", 0) in (1, 6)]
        assert set(counts) == {1} and torch.get_num_threads() == 2
        kept = read_ways(tmp_path / "run" / "ways.json")
        assert kept is not None and kept.threads == 1
        monkeypatch.setattr(threads, "fewer", lambda *_: pytest.fail("it was measured before"))
        notes, _ = trained(tmp_path / "run", "train.tune=true", "train.steps=8")
        assert "steps are faster on 1 of 2 threads here, and are made so" in notes


@pytest.mark.parametrize(
    ("seconds", "found"),
    [({4: 0.2, 2: 0.1, 1: 0.15}, 2), ({4: 0.2, 2: 0.1, 1: 0.05}, 1), ({4: 0.2, 2: 0.19}, None), ({4: 0.4}, None)],
)
def test_threads_are_halved_as_long_as_it_is_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], found: int | None
) -> None:
    def timings(works: Sequence[Work], rounds: int, device: torch.device) -> list[Timing]:
        for work in works:
            work.do()
        return [Timing.of(work, [seconds[int(work.name)]] * 2) for work in works]

    monkeypatch.setattr(threads, "time_in_turns", timings)
    monkeypatch.setattr(threads, "seconds_of", lambda do, device: seconds[4])
    monkeypatch.setattr(threads, "others_at_work", lambda: 0.0)
    recipe = plan("digits", "digits", tmp_path / "run", SMALL).recipe
    with as_before():
        torch.set_num_threads(4)
        objective = build.objective(recipe, build.model(recipe))
        before = [p.clone() for p in objective.parameters()]
        batch = batch_of(build.dataset(recipe), build.transform(recipe), range(4))
        assert fewer(objective, batch, recipe.train) == found
        assert torch.get_num_threads() == 4
        assert all(map(torch.equal, objective.parameters(), before)), "a copy makes the steps"
        monkeypatch.setattr(threads, "others_at_work", lambda: 1.0)
        assert fewer(objective, batch, recipe.train) is None, "what others do is not measured"


def test_kernels_that_are_gone_are_said(tmp_path: Path, timed: list[str]) -> None:
    trained(tmp_path / "run", "train.tune=true", until=4)
    kept = read_ways(tmp_path / "run" / "ways.json")
    assert kept is not None
    ours = Measured(
        kind="Convolution3",
        weight=(8, 8, 3, 3),
        places=(8, 8),
        precision="float32",
        milliseconds={"direct": 2.0, "winograd": 1.0},
    )
    measuring.keep_ways(tmp_path / "run" / "ways.json", Ways(machine=kept.machine, measured=(ours,)))
    notes, _ = trained(tmp_path / "run", "train.tune=true")
    assert "began are not here (there is no C++ compiler g++): it goes on with torch's own" in notes[0]


def test_a_memory_of_kernels_that_are_gone_is_none(tmp_path: Path, timed: list[str]) -> None:
    """The compiler may have been removed since."""
    trained(tmp_path / "first", "train.tune=true")
    (memory,) = (tmp_path / "cache").glob("ways-*.json")
    ways = read_ways(memory)
    assert ways is not None
    (one,) = ways.measured
    assert one.pictures == 4
    faster = replace(one, milliseconds={"in one step": 2.0, "in two steps, by winograd": 1.0})
    measuring.keep_ways(memory, replace(ways, measured=(faster,)))
    timed.clear()
    trained(tmp_path / "second", "train.tune=true")
    again = read_ways(tmp_path / "second" / "ways.json")
    assert timed and again is not None and not again.needs_kernels


def test_when_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARRARA_TUNE", raising=False)
    told = {
        "short": TrainSettings(minutes=9.0),
        "few": TrainSettings(steps=1999),
        "long": TrainSettings(minutes=10.0),
        "many": TrainSettings(steps=2000),
        "forbidden": TrainSettings(minutes=60.0, tune=False),
        "asked": TrainSettings(steps=2, tune=True),
        "compiled": TrainSettings(minutes=60.0, compile=True),
    }
    assert {name for name, settings in told.items() if tuning.wanted(settings, CPU)} == {"long", "many", "asked"}
    assert not tuning.wanted(told["long"], torch.device("cuda"))
    monkeypatch.setenv("CARRARA_TUNE", "0")
    assert not any(tuning.wanted(settings, CPU) for settings in told.values())


def test_the_command_turns_it_off(tmp_path: Path, carrara, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARRARA_TUNE", raising=False)
    monkeypatch.setattr(tuning, "LONG_STEPS", 2)
    code, said = carrara("train", "digits", "--run", tmp_path / "run", "--no-tune", *SMALL)
    assert code == 0 and "measuring" not in said
    assert load(tmp_path / "run" / "recipe.yaml").train.tune is False


def test_a_network_takes_a_way_where_the_size_is_known() -> None:
    network = torch.nn.Sequential(conv3(4, 8), conv3(8, 4), torch.nn.Conv2d(4, 4, 1))
    with calls(network) as met, torch.no_grad():
        network(torch.zeros(1, 4, 6, 6))
    assert [size.weight for size in met] == [(8, 4, 3, 3), (4, 8, 3, 3)]
    choose(network, {Size(kind="Convolution3", weight=(8, 4, 3, 3), places=(6, 6)): "winograd"})
    assert [layer.chosen for layer in network[:2]] == [{(6, 6): "winograd"}, {}]
    choose(network, {})
    assert not any(layer.chosen for layer in network[:2])


def test_doubling_is_the_same_in_each_way() -> None:
    layer = Upsample(4)
    x = torch.randn(2, 4, 5, 6)
    truth = layer(x, (10, 12))
    layer.chosen = {(5, 6): "in two steps"}
    assert torch.allclose(layer(x, (10, 12)), truth, atol=1e-6)


@pytest.mark.slow
def test_a_training_by_winograd_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why := native.missing():
        pytest.skip(why)
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CARRARA_TUNE", raising=False)
    monkeypatch.setattr(measuring.Measured, "fastest", property(lambda one: list(one.milliseconds)[-1]))
    _, losses = trained(tmp_path / "tuned", "train.tune=true")
    ways = read_ways(tmp_path / "tuned" / "ways.json")
    assert ways is not None and {one.fastest for one in ways.measured} == {"winograd", "in two steps, by winograd"}
    plain = trained(tmp_path / "plain", "train.tune=false")[1]
    assert losses == pytest.approx(plain, rel=1e-3) and losses != plain


def test_a_layer_that_another_library_makes_has_torchs_way_alone() -> None:
    plain = type(conv3(4, 8))(4, 2, (1, 1), (1, 1), (0, 0), bias=False)
    assert plain(torch.zeros(1, 4, 6, 6)).shape == (1, 2, 6, 6)
    assert plain.ways == ("direct",) and conv3(4, 8).ways == ("direct", "winograd")
    assert conv3(4, 8, stride=2)(torch.zeros(1, 4, 6, 6)).shape == (1, 8, 3, 3)
