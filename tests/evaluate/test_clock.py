"""A known law of onsets is found again, where curves are what the law says, and its interval holds their noise."""

import math
import random

import pytest

from carrara.evaluate import GapCurve, memorisation_gap, memorisation_time, onset
from carrara.evaluate.clock import GAP, LEAST

SLOPE, EACH = 0.2, 3.0
"""Of the curves: how fast the gap rises with log time after the common part, and the steps of n = 1."""


def law(n: int, power: float, common: float, level: float = GAP) -> float:
    """Equation (3)."""
    return common + EACH * n**power * math.exp((level - GAP) / SLOPE)


def curve(
    n: int, power: float, common: float, noise: float = 0.0, seed: int = 0, further: float = 1.4, growth: float = 1.1
) -> GapCurve:
    """A gap that passes each level when equation (3) says, measured a little past the last one."""
    steps, draw = [1 + common], random.Random(seed)
    while steps[-1] < further * law(n, power, common):
        steps.append(steps[-1] * growth)
    exact = (GAP + SLOPE * math.log((k - common) / (EACH * n**power)) for k in steps)
    gaps = [max(0.0, min(0.95, gap)) + noise * draw.gauss(0, 1) for gap in exact]
    return GapCurve(examples=n, steps=steps, gaps=gaps)


@pytest.mark.parametrize("n", [32, 64, 500])
def test_a_curve_is_crossed_where_it_is_known_to_be(n: int) -> None:
    found = onset(curve(n, 1.5, 0.0))
    assert found is not None
    assert found.step == pytest.approx(law(n, 1.5, 0.0), rel=1e-2)
    assert found.error == LEAST


def test_the_error_is_that_of_many_noisy_curves() -> None:
    founds = [found for seed in range(400) if (found := onset(curve(64, 1.5, 0.0, noise=0.02, seed=seed)))]
    logs = [math.log(found.step) for found in founds]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((each - mean) ** 2 for each in logs) / len(logs))
    assert len(founds) == 400
    assert mean == pytest.approx(math.log(law(64, 1.5, 0.0)), abs=0.05)
    assert spread > LEAST
    assert sum(found.error for found in founds) / len(founds) == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("power", [1.0, 1.4, 1.8])
@pytest.mark.parametrize("common", [0.0, 60.0])
def test_two_subsets_say_when_the_whole_begins(power: float, common: float) -> None:
    small, large = (curve(n, power, common) for n in (32, 64))
    found = memorisation_time(small, large, 256)
    assert found is not None
    assert found.step == pytest.approx(law(256, power, common), rel=0.06)
    assert found.power == pytest.approx(power, abs=0.05)
    assert found.common == pytest.approx(common, abs=12)
    assert found.low < law(256, power, common) < found.high


def test_steps_before_anything_is_learned_by_heart_are_no_part_of_the_power() -> None:
    """Where a law of powers alone would be far off."""
    small, large = (curve(n, 1.8, 100.0) for n in (16, 32))
    found, truth = memorisation_time(small, large, 256), law(256, 1.8, 100.0)
    assert found is not None
    assert found.step == pytest.approx(truth, rel=0.1)
    ends = [law(n, 1.8, 100.0) for n in (16, 32)]
    assert ends[1] * (ends[1] / ends[0]) ** 3 < 0.75 * truth


def test_the_interval_holds_the_truth_where_curves_are_noisy() -> None:
    held = 0
    for seed in range(100):
        small, large = (curve(n, 1.6, 20.0, noise=0.01, seed=seed + 1000 * n) for n in (32, 64))
        found = memorisation_time(small, large, 256)
        assert found is not None
        held += found.low < law(256, 1.6, 20.0) < found.high
    assert held >= 80


def test_powers_that_no_theory_has_are_bounded_and_said_to_be() -> None:
    small, large = curve(32, 1.5, 0.0), curve(64, 1.5, 0.0)
    slower = GapCurve(examples=33, steps=large.steps, gaps=large.gaps)
    found = memorisation_time(small, slower, 66)
    assert found is not None
    assert found.bounded and found.power == pytest.approx(2.5)
    same = memorisation_time(small, GapCurve(examples=64, steps=small.steps, gaps=small.gaps), 256)
    assert same is not None
    assert same.bounded and same.power == pytest.approx(1.0)


def test_a_gap_that_has_not_passed_or_was_hardly_measured_has_no_onset() -> None:
    def of(steps: list[int], gaps: list[float]) -> GapCurve:
        return GapCurve(examples=8, steps=[float(step) for step in steps], gaps=gaps)

    assert onset(of([], [])) is None
    assert onset(of([10, 20, 40, 80], [0.1, 0.2, 0.3, 0.49])) is None
    assert onset(of([10, 20], [0.4, 0.6])) is None
    assert onset(of([10, 20, 40], [0.55, 0.52, 0.5])) is None
    just = onset(of([10, 20, 40], [0.3, 0.4, 0.5]))
    assert just is not None and just.step == pytest.approx(40.0) and just.error == LEAST
    fast = onset(of([10, 20, 40, 80], [0.0, 0.0, 0.1, 0.9]))
    assert fast is not None and 40 < fast.step < 80 and fast.error > LEAST


def test_nothing_is_said_of_the_whole_before_both_subsets_have_begun() -> None:
    small, large = curve(32, 1.5, 0.0), curve(64, 1.5, 0.0, further=0.9)
    assert memorisation_time(small, large, 256) is None
    flat = GapCurve(examples=32, steps=[100.0, 200.0], gaps=[0.1, 0.6])
    assert memorisation_time(flat, curve(64, 1.5, 0.0), 256) is None


def test_the_gap_is_the_largest_of_the_noise_levels() -> None:
    held_out = {"loss@t=0.1": 2.0, "loss@t=0.5": 1.0, "elbo": 9.0, "loss@t=0.9": 0.0}
    assert memorisation_gap({"loss@t=0.1": 0.5, "loss@t=0.5": 0.9, "elbo": 1.0}, held_out) == pytest.approx(0.75)
    assert memorisation_gap({"elbo": 1.0}, held_out) is None
    assert memorisation_gap({"bound": 1.0}, {"bound": 2.0}) is None


def test_what_is_no_curve_or_no_growing_subset_is_refused() -> None:
    for steps, gaps in [([10.0], []), ([0.0, 10.0], [0.1, 0.2]), ([20.0, 10.0], [0.1, 0.2]), ([10.0], [1.5])]:
        with pytest.raises(ValueError, match=r"a curve has|gaps of a curve"):
            GapCurve(examples=8, steps=steps, gaps=gaps)
    for gap in (math.nan, -math.inf):
        with pytest.raises(ValueError, match="gaps of a curve"):
            GapCurve(examples=8, steps=[10.0], gaps=[gap])
    small, large = curve(16, 1.5, 0.0), curve(32, 1.5, 0.0)
    for first, second, count in [(large, small, 64), (small, small, 64), (small, large, 31)]:
        with pytest.raises(ValueError, match="subsets grow"):
            memorisation_time(first, second, count)
