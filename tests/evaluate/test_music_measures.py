"""Musical measures of pieces of which everything is known, and the Markov chain that is the least to be better than."""

import math
from itertools import product

import numpy as np
import pytest

from carrara.evaluate import MarkovChain, copying, musicality
from carrara.evaluate.markov import columns
from carrara.evaluate.music import (
    beats,
    chord_types,
    crossings,
    distance,
    in_key,
    in_range,
    melodic_intervals,
    note_lengths,
    parallel,
    tonal,
)
from carrara.notes import Grid, Key, painted


def voices(*rows: list[int], step: int = 4, **said) -> Grid:
    """Notes of ``step`` steps; -1 is a rest."""
    notes = [(v, k * step, step, pitch) for v, row in enumerate(rows) for k, pitch in enumerate(row) if pitch >= 0]
    pitches, onsets = painted(notes, len(rows), step * max(map(len, rows)))
    return Grid(pitches=pitches, onsets=onsets, **said)


SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def test_a_scale_is_in_its_key_and_not_in_another() -> None:
    scale = voices(SCALE)
    assert in_key(scale, Key(tonic=0)) == (32, 32)
    assert in_key(scale, Key(tonic=6)) == (2 * 4, 32)  # of F sharp major only f (e sharp) and b
    assert in_key(voices(SCALE, key=Key(tonic=6))) == (8, 32)  # what the piece says counts
    assert in_key(voices([60, 64, 67, 61, 60, 64, 67, 60])) == (28, 32)
    assert in_key(voices([-1, -1])) == (0, 0)


def test_ranges_are_of_each_voice() -> None:
    piece = voices([72, 80, 60, -1], [50, 50, 50, 70])
    assert in_range(piece, [(65, 75), (48, 60)]) == (4 * 4, 7 * 4)


def test_crossings_are_counted_when_they_begin() -> None:
    piece = voices([60, 60, 60, 60, 60, -1], [55, 62, 64, 60, 61, 62])
    assert crossings(piece) == 2


def test_known_parallels_are_found() -> None:
    fifths = voices([67, 69, 71], [60, 62, 64])
    assert parallel(fifths, 7) == 2 and parallel(fifths, 0) == 0
    octaves = voices([72, 74, 76], [48, 50, 55])  # two octaves, two octaves, and another interval
    assert parallel(octaves, 0) == 1 and parallel(octaves, 7) == 0
    assert parallel(voices([72, 72], [60, 60]), 0) == 0  # nothing moves
    assert parallel(voices([72, 76], [60, 52]), 0) == 0  # in contrary motion
    assert parallel(voices([72, 74], [60, -1]), 0) == 0
    assert parallel(voices([67, 69], [64, 65], [60, 62]), 7) == 1  # the outer voices


def test_chords_are_the_same_in_all_keys_and_positions() -> None:
    major = [voices([67], [64], [60]), voices([66 + 12], [62], [57]), voices([72], [67], [52])]
    assert len(chord_types(major)) == 1 and chord_types(major).total() == 3
    assert len(chord_types([voices([67], [64], [60]), voices([67], [63], [60])])) == 2
    assert chord_types([voices([-1, 60])]).total() == 1


@pytest.mark.parametrize(
    ("chord", "is_tonal"),
    [
        ([0, 4, 7], True),
        ([2, 5, 9], True),
        ([0, 3, 6], True),
        ([0, 4, 7, 10], True),
        ([11, 2, 5, 9], True),
        ([0, 2, 7], False),
        ([0, 1, 2, 3], False),
        ([0, 7], False),
        ([0, 4, 7, 9], True),  # a minor seventh on A
        ([0, 4, 6, 10], False),
    ],
)
def test_triads_and_sevenths_are_tonal(chord: list[int], is_tonal: bool) -> None:
    assert tonal([voices(*[[60 + step] for step in chord])]) == is_tonal


def test_beats_follow_the_metre_and_the_pickup() -> None:
    assert list(beats(voices(SCALE)))[:3] == [0, 4, 8]
    assert list(beats(voices(SCALE, metre=(6, 8), pickup=3)))[:3] == [1, 3, 5]
    assert math.isnan(tonal([voices([-1])]))


def test_intervals_and_lengths_are_counted() -> None:
    piece = voices([60, 64, -1, 67, 65], [48, 48, 50, 50, 50])
    assert melodic_intervals([piece]) == {(0, 4): 1, (0, -2): 1, (1, 0): 3, (1, 2): 1}
    pitches, onsets = painted([(0, 0, 2, 60), (0, 2, 6, 60), (0, 12, 6, 62)], 1, 18)
    assert note_lengths([Grid(pitches=pitches, onsets=onsets)]) == {0.5: 1, 1.5: 2}


def test_the_total_variation_is_one_for_strangers() -> None:
    assert distance({"a": 2, "b": 2}, {"a": 1, "b": 1}) == 0
    assert distance({"a": 1}, {"b": 5}) == 1 == distance({}, {"a": 1})
    assert distance({"a": 3, "b": 1}, {"a": 1, "b": 1}) == pytest.approx(0.25)


def test_copies_are_found_and_their_length() -> None:
    rng = np.random.default_rng(0)
    training = [voices(rng.integers(60, 72, 32).tolist(), rng.integers(40, 52, 32).tolist()) for _ in range(4)]
    copied = training[2].window(32, 48)
    found = copying([copied], training)
    assert found.nearest == (0, 0, 0) and (found.exact, found.longest) == (1, 3)
    pitches = copied.pitches.copy()
    pitches[0, 20:24] += 1  # one note of the second bar: 4 of its 32 cells
    changed = Grid(pitches=pitches, onsets=copied.onsets)
    found = copying([changed], training)
    assert found.nearest == (0, pytest.approx(4 / 32), 0)
    assert found.exact == pytest.approx(2 / 3) and found.longest == 1
    assert math.isnan(copying([voices(SCALE, metre=(3, 4))], training).nearest[0])
    own = copying([voices(rng.integers(60, 72, 32).tolist(), rng.integers(40, 52, 32).tolist())], training)
    assert own.exact == own.longest == 0 and min(own.nearest) > 0.2


def test_measures_of_a_set_are_of_all_its_steps() -> None:
    pieces = [voices([67, 69, 71, 72], [60, 62, 64, 65]), voices(SCALE, [48] * 8)]
    found = musicality(pieces, pieces, [(60, 72), (48, 65)])
    assert found.in_range == 1 and found.fifths == pytest.approx(3 / 3) and found.octaves == 0
    assert found.chords == found.intervals == found.lengths == 0 and found.crossings == 0
    with pytest.raises(ValueError, match="nothing sounds"):
        musicality([voices([-1])], pieces, [(60, 72)])


@pytest.fixture
def chain() -> MarkovChain:
    pitches, onsets = painted([(0, 0, 2, 60), (0, 2, 1, 61), (0, 4, 2, 60), (0, 6, 2, 60)], 1, 8)
    return MarkovChain([Grid(pitches=pitches, onsets=onsets)], 60, 61)


def test_probabilities_sum_to_one_after_any_history(chain: MarkovChain) -> None:
    states = [(-1,), (120,), (121,), (122,), (123,)]
    for history in [*product(states, states), ((), ()), ((), (121,)), ((121,),), ()]:
        chances = [chain.probability(column, history) for column in states]
        assert sum(chances) == pytest.approx(1) and min(chances) > 0


def test_probabilities_are_witten_and_bells(chain: MarkovChain) -> None:
    assert columns(chain._like) == [(121,), (120,), (123,), (-1,), (121,), (120,), (121,), (120,)]
    cells = {-1: 2, 120: 4, 121: 4, 122: 1, 123: 2}  # each once more than it is seen: 13
    empty = (1 + 4 * cells[123] / 13) / (8 + 4)
    after_hold = (1 + 2 * empty) / (2 + 2)
    assert chain.probability((123,), ((121,), (120,))) == pytest.approx((1 + 2 * after_hold) / (2 + 2))
    assert chain.probability((123,), ((122,), (120,))) == pytest.approx(after_hold)  # a history that never was


def test_the_nats_are_those_of_the_probabilities(chain: MarkovChain) -> None:
    piece = chain._like.window(0, 3)
    row = [(), (), *columns(piece)]
    expected = -sum(math.log(chain.probability(row[k], (row[k - 2], row[k - 1]))) for k in range(2, 5))
    assert chain.nats(piece) == pytest.approx(expected)


def test_samples_are_drawn_with_these_probabilities(chain: MarkovChain) -> None:
    pieces = chain.sample(range(2000), 3)
    firsts = [columns(piece)[0] for piece in pieces]
    chances = {state: chain.probability((state,), ((), ())) for state in (-1, 121, 123)}
    for state, chance in chances.items():
        onset = chance + (chain.probability((state - 1,), ((), ())) if state > 0 else 0)  # a hold at first begins
        assert firsts.count((state,)) / 2000 == pytest.approx(onset, abs=4 * math.sqrt(onset / 2000))


def test_a_sample_is_its_seeds_alone(chain: MarkovChain) -> None:
    one, two = chain.sample([3, 4], 40)
    assert chain.sample([4], 40) == [two] and one != two


def test_voices_must_agree() -> None:
    with pytest.raises(ValueError, match="as many voices"):
        MarkovChain([voices(SCALE), voices(SCALE, SCALE)], 60, 72)
