"""A known law of onsets is found again, and its interval holds what coarse measurements leave open."""

import math

import pytest

from carrara.evaluate import MemorisationTime, Onset, memorisation_time, onset


def exact(step: float) -> Onset:
    return Onset(step=step, low=step, high=step)


def curve(least: float, every: int, until: int) -> tuple[list[int], list[float]]:
    """A loss that falls up to a step, and rises after it."""
    steps = list(range(every, until, every))
    return steps, [0.3 + 0.1 * math.log(step / least) ** 2 for step in steps]


@pytest.mark.parametrize("power", [0.5, 0.8, 1.0, 1.3])
def test_a_law_of_powers_is_found_again_and_extrapolated(power: float) -> None:
    def law(n: int) -> float:
        return 7.0 * n**power

    found = memorisation_time((16, exact(law(16))), (32, exact(law(32))), 1024)
    assert found.step == pytest.approx(law(1024))
    assert found.power == pytest.approx(power)
    assert found.low == pytest.approx(found.step) == found.high


@pytest.mark.parametrize(("second", "power"), [(90.0, 0.5), (1000.0, 1.5)])
def test_powers_that_no_theory_has_are_bounded_and_said_to_be(second: float, power: float) -> None:
    found = memorisation_time((16, exact(100.0)), (32, exact(second)), 128)
    assert found == MemorisationTime(
        step=second * 4**power, low=second * 4**power, high=second * 4**power, power=power, bounded=True
    )


def test_a_known_onset_lies_in_its_bracket() -> None:
    found = onset(*curve(437.0, 50, 2000))
    assert found is not None
    assert (found.low, found.step, found.high) == (400, 450, 500)
    assert found.low < 437 < found.high


def test_the_interval_holds_the_truth_that_coarse_measurements_miss() -> None:
    small, large = onset(*curve(437.0, 50, 2000)), onset(*curve(874.0, 50, 4000))
    assert small is not None
    assert large is not None
    found = memorisation_time((16, small), (32, large), 256)
    assert found.low < 437 * 16 < found.high
    assert found.low < found.step < found.high


def test_a_loss_that_falls_or_rises_too_little_has_no_onset_yet() -> None:
    assert onset([], []) is None
    assert onset([10, 20, 30], [3.0, 2.0, 1.0]) is None
    assert onset([10, 20, 30], [3.0, 1.0, 1.019]) is None
    assert onset([10, 20, 30], [3.0, 1.0, 1.021]) == Onset(step=20.0, low=10.0, high=30.0)


def test_a_loss_that_rises_from_the_beginning_has_its_onset_before_the_second_measurement() -> None:
    assert onset([10, 20], [1.0, 2.0]) == Onset(step=10.0, low=0.0, high=20.0)


def test_what_is_no_curve_or_no_growing_subset_is_refused() -> None:
    for steps, losses in [([10], []), ([0, 10], [1.0, 2.0]), ([20, 10], [1.0, 2.0]), ([10], [math.nan]), ([10], [0.0])]:
        with pytest.raises(ValueError, match="onset is found"):
            onset(steps, losses)
    for n1, n2, count in [(32, 16, 64), (16, 16, 64), (16, 32, 31), (0, 16, 64)]:
        with pytest.raises(ValueError, match="subsets grow"):
            memorisation_time((n1, exact(1.0)), (n2, exact(2.0)), count)
    with pytest.raises(ValueError, match="bracket"):
        Onset(step=10.0, low=11.0, high=12.0)
