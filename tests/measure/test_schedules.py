"""What is said about schedules is true: leaks, the least T, remedies, and the two ways into noise."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.cli import main
from carrara.errors import UserError
from carrara.measure.schedules import (
    LEAK,
    end,
    ends,
    example_picture,
    find_schedule,
    kinds,
    noised_both_ways,
    noising_times,
    remedies,
    schedule_charts,
    steps_needed,
    verdict,
)
from carrara.noise import (
    Cosine,
    DiscreteSchedule,
    Linear,
    RectifiedFlow,
    ScaledLinear,
    Schedule,
    Sigmoid,
    VarianceExploding,
    prior_kl,
)
from tiny import TINY

ALL = [Linear(), ScaledLinear(), Cosine(), Sigmoid(), RectifiedFlow(), VarianceExploding()]


def typed(*arguments: object) -> int:
    with pytest.raises(SystemExit) as raised:
        main([str(argument) for argument in arguments])
    return int(raised.value.code or 0)


@pytest.mark.parametrize(
    ("schedule", "abar", "leak"),
    [
        (Linear(), 4.035830e-5, 2.0180e-5),
        (ScaledLinear(), 4.660099e-3, 2.3355e-3),
        (Cosine(), 2.428767e-9, 1.2144e-9),
    ],
    ids=repr,
)
def test_the_end_of_a_schedule(schedule: DiscreteSchedule, abar: float, leak: float) -> None:
    at = end(schedule, 1000)
    assert at.abar == pytest.approx(abar, rel=1e-6)
    assert at.leak == pytest.approx(leak, rel=1e-4)
    assert at.snr == pytest.approx(10 * math.log10(abar / (1 - abar)), abs=1e-4)


@pytest.mark.parametrize("schedule", [Linear(), ScaledLinear()], ids=repr)
def test_the_least_number_of_steps_by_brute_force(schedule: Linear | ScaledLinear) -> None:
    """KL = -ln(1 - abar) / 2 for data of unit variance, so abar must have fallen to 1 - exp(-2 LEAK)."""

    def abar(steps: int) -> float:
        if isinstance(schedule, Linear):
            betas = np.linspace(schedule.beta_start, schedule.beta_end, steps)
        else:
            betas = np.linspace(schedule.beta_start**0.5, schedule.beta_end**0.5, steps) ** 2
        return float(np.prod(1 - betas))

    wanted = -math.expm1(-2 * LEAK)
    assert steps_needed(schedule) == next(steps for steps in range(2, 5000) if abar(steps) <= wanted)


def test_few_small_betas_never_suffice() -> None:
    assert steps_needed(Linear(beta_start=1e-7, beta_end=1e-6)) is None
    assert "steps=" not in verdict(Linear(beta_start=1e-7, beta_end=1e-6))


def test_more_steps_leak_less_and_the_least_is_among_them() -> None:
    found = ends(ScaledLinear(steps=500))
    assert [at.steps for at in found] == sorted({10, 100, 500, 1000, 10_000, steps_needed(ScaledLinear())})
    assert all(a.leak > b.leak for a, b in pairwise(found))


@pytest.mark.parametrize(
    "name_and_changes",
    [("scaled_linear",), ("linear", "steps=100"), ("linear", "steps=999", "beta_end=0.015"), ("ve", "sigma_max=10")],
    ids=" ".join,
)
def test_each_remedy_alone_helps(name_and_changes: tuple[str, ...]) -> None:
    name, *changes = name_and_changes
    leaking = find_schedule(name, changes)
    assert prior_kl(leaking) > LEAK
    found = remedies(leaking)
    assert found
    for remedy in found:
        assert prior_kl(find_schedule(name, [*changes, remedy])) <= LEAK
        assert remedy in verdict(leaking)


@pytest.mark.parametrize(
    "schedule",
    [Linear(), Cosine(), Sigmoid(), RectifiedFlow(), VarianceExploding(), ScaledLinear(zero_terminal_snr=True)],
)
def test_schedules_that_end_in_noise_need_no_remedy(schedule: Schedule) -> None:
    assert remedies(schedule) == []
    assert "Its end is noise" in verdict(schedule)


def test_all_schedules_have_names_and_charts() -> None:
    assert [type(find_schedule(name)) for name in kinds()] == [type(schedule) for schedule in ALL]
    for name in kinds():
        amounts, ratio = schedule_charts(find_schedule(name), name)
        assert len(amounts.lines) == 2
        levels = [level for level in ratio.lines[0].y if math.isfinite(level)]
        assert all(a > b for a, b in pairwise(levels))
        assert amounts.picture().size >= (640, 400)


@pytest.mark.parametrize(
    "schedule", [Linear(steps=60), Cosine(steps=60), RectifiedFlow(), VarianceExploding()], ids=lambda s: s.kind
)
def test_both_ways_into_noise_have_one_law(schedule: Schedule) -> None:
    """On 16384 equal pixels the mean is alpha x0 and the deviation sigma, either way, within five standard errors."""
    x0 = torch.full((1, 1, 128, 128), 0.75)
    times, direct, stepwise = noised_both_ways(x0, schedule, noising_times(schedule, 60))
    assert times[0] == 0 and times[-1] == 1 and len(times) == len(direct) == len(stepwise)
    alpha, sigma = schedule(times)
    for x in (direct, stepwise):
        error = (x.double().mean((1, 2, 3)) - 0.75 * alpha).abs()
        assert bool((error <= 5 * sigma / 128 + 1e-6).all())
        spread = x.double().std((1, 2, 3))
        assert bool(((spread - sigma).abs() <= 5 * sigma / 181 + 1e-6).all())
    together = torch.corrcoef(torch.stack([direct[-1].flatten(), stepwise[-1].flatten()]))[0, 1]
    assert together.abs() < 5 / 128, "the chain's noise is its own"


def test_a_long_chain_is_walked_in_a_thousand_steps() -> None:
    times = noising_times(Linear(steps=5000))
    assert len(times) == 1001
    assert times[1].item() * 5000 == pytest.approx(5)
    assert len(noising_times(Linear(steps=10))) == 11
    with pytest.raises(UserError, match="at least 2"):
        noising_times(RectifiedFlow(), 0)


def test_the_picture_is_a_digit_or_the_user_s(tmp_path: Path) -> None:
    assert example_picture(None).shape == (1, 1, 32, 32)
    Image.new("RGBA", (300, 150), (255, 0, 0, 255)).save(tmp_path / "red.png")
    red = example_picture(tmp_path / "red.png")
    assert red.shape == (1, 3, 64, 128)
    assert red[0, :, 5, 5].tolist() == [1, -1, -1]


def test_the_command_draws_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert typed("inspect", "schedule", "scaled_linear", "--steps", 50, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    for words in ("abar", "SNR in dB", "this one", "leaks", "zero_terminal_snr=true", str(tmp_path / "out")):
        assert words in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}{again}.png" for name in ("amounts", "snr", "noising") for again in ("", "-2")
    }


def test_the_command_s_own_folder_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert typed("inspect", "schedule", "rectified_flow", "--steps", 5) == 0
    assert len(list((tmp_path / "runs" / "schedules" / "rectified_flow").iterdir())) == 3


def test_a_run_s_own_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    changes = ("model.schedule=sigmoid", "model.schedule.tau=0.7", "model.schedule.steps=77")
    assert typed("train", "digits", "--run", run, *TINY, "train.steps=1", *changes) == 0
    assert find_schedule(str(run)) == Sigmoid(tau=0.7, steps=77)
    assert find_schedule(str(run), ["steps=10"]) == Sigmoid(tau=0.7, steps=10)
    capsys.readouterr()
    assert typed("inspect", "schedule", run, "--out", tmp_path / "out") == 0
    assert "tau=0.7" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["linr"], "Did you mean 'linear'"),
        (["linear", "stepz=5"], "steps"),
        (["linear", "--steps", "1"], "at least 2 steps"),
        (["ve", "--steps", "1"], "at least 2 steps"),
        (["linear", "--image", "nowhere.png"], "no picture 'nowhere.png'"),
        (["linear", "--image", "notes.txt"], "cannot be used"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert typed("inspect", "schedule", *arguments) == 2
    said = capsys.readouterr()
    assert words in said.out + said.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"], "a mistake writes nothing"
