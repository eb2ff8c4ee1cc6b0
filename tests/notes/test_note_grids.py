"""What a grid is, and that everything it is turned into gives it back."""

import numpy as np
import pytest
from pieces import melody, random_grid

from carrara.notes import (
    ALL_KEYS,
    EVERY,
    Grid,
    Key,
    best_key,
    count,
    dealt,
    from_roll,
    from_tokens,
    most_at_once,
    spelled_pitch,
    to_roll,
    to_tokens,
)


def test_notes_are_those_of_the_grid() -> None:
    grid = melody((60, 4), (60, 2), (-1, 3), (62, 5))
    assert grid.notes().tolist() == [[0, 0, 4, 60], [0, 4, 2, 60], [0, 9, 5, 62]]
    assert grid.pitches[0].tolist() == [60] * 6 + [-1] * 3 + [62] * 5
    assert np.flatnonzero(grid.onsets[0]).tolist() == [0, 4, 9]


@pytest.mark.parametrize(
    ("pitches", "onsets"),
    [([60, 62], [1, 0]), ([60, 60], [0, 0]), ([-1, 60], [1, 1]), ([-2, 60], [0, 1]), ([60, 128], [1, 1])],
)
def test_what_is_no_piece_is_refused(pitches, onsets) -> None:
    with pytest.raises(ValueError):
        Grid(pitches=np.array([pitches], np.int16), onsets=np.array([onsets], np.bool_))


def test_a_window_begins_its_notes_and_knows_its_bar_lines() -> None:
    grid = melody((60, 8), (62, 8), (64, 8), pickup=4, metre=(3, 4))
    part = grid.window(6, 12)
    assert part.notes().tolist() == [[0, 0, 2, 60], [0, 2, 8, 62], [0, 10, 2, 64]]
    assert grid.bars == [4, 16] and part.bars == [10]
    assert grid.window(20, 8).pitches[0].tolist() == [64] * 4 + [-1] * 4


def test_transposing_moves_the_key() -> None:
    grid = melody(60, 64, key=Key(tonic=0))
    moved = grid.transposed(3)
    assert str(moved.key) == "Eb major" and moved.notes()[:, 3].tolist() == [63, 67]
    assert moved.transposed(-3) == grid and moved != grid
    with pytest.raises(ValueError, match="below 0"):
        grid.transposed(-61)


@pytest.mark.parametrize("seed", range(5))
def test_tokens_give_the_grid_back(seed: int) -> None:
    grid = random_grid(seed, key=Key(tonic=2, mode="minor"), metre=(3, 4), pickup=4, tempo=72.5)
    tokens = to_tokens(grid, 40, 79)
    assert tokens.shape == (4, 70) and tokens.max() < count(40, 79) == 42
    assert from_tokens(tokens, 40, 79, like=grid) == grid


def test_tokens_are_as_they_are_described() -> None:
    grid = melody((60, 2), (60, 1), (-1, 2), (62, 3))
    assert to_tokens(grid, 60, 62).tolist() == [[2, 1, 2, 0, 0, 4, 1, 1]]


def test_a_hold_that_holds_nothing_is_a_rest() -> None:
    grid = from_tokens(np.array([[1, 1, 2, 1, 0, 1, 1, 3, 1]]), 60, 61)
    assert grid.pitches[0].tolist() == [-1, -1, 60, 60, -1, -1, -1, 61, 61]


def test_pitches_and_tokens_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="not all in 61 to 70"):
        to_tokens(melody(60), 61, 70)
    with pytest.raises(ValueError, match="not all in 40 to 59"):
        to_roll(melody(60), 40, 59)
    with pytest.raises(ValueError, match="tokens are 0 to 3"):
        from_tokens(np.array([[4]]), 60, 61)


@pytest.mark.parametrize("seed", range(5))
def test_rolls_give_the_grid_back_and_so_do_noisy_ones(seed: int) -> None:
    grid = random_grid(seed)
    roll = to_roll(grid, 40, 79)
    assert roll.shape == (70, 40, 8) and set(np.unique(roll)) == {0, 255}
    assert from_roll(roll, 40) == grid
    noise = np.random.default_rng(seed).uniform(-120, 120, roll.shape)
    assert from_roll(roll + noise, 40) == grid


def test_a_roll_is_read_by_the_nearest_column() -> None:
    roll = np.zeros((3, 3, 2))
    roll[0, 1] = 140, 130  # begins at 61
    roll[1, 1] = 100, 200  # goes on
    roll[2, 2, 1], roll[2, 0, 0] = 180, 150  # a hold of another pitch: a beginning
    grid = from_roll(roll, 60)
    assert grid.pitches.tolist() == [[61, 61, 62]] and grid.onsets.tolist() == [[True, False, True]]
    assert from_roll(roll / 2, 60).pitches.tolist() == [[-1, -1, -1]]


@pytest.mark.parametrize("seed", range(5))
def test_the_reading_is_the_most_likely_one(seed: int) -> None:
    """Against all states of one step, tried one by one."""
    column = np.random.default_rng(seed).uniform(0, 255, (1, 5, 2))
    states = [np.zeros((1, 5, 2))] + [np.zeros((1, 5, 2)) for _ in range(10)]
    for k in range(10):
        states[k + 1].reshape(-1)[k] = 255
    nearest = int(np.argmin([((column - state) ** 2).sum() for state in states]))
    expected = -1 if nearest == 0 else 60 + (nearest - 1) // 2
    assert from_roll(column, 60).pitches.tolist() == [[expected]]


@pytest.mark.parametrize("seed", range(3))
def test_all_notes_in_one_pair_of_channels_are_the_same_notes(seed: int) -> None:
    grid = random_grid(seed, parts=3)
    roll = to_roll(grid, 40, 79, together=True)
    assert roll.shape == (70, 40, 2)
    again = from_roll(roll, 40, voices=(EVERY,))
    assert np.array_equal(to_roll(again, 40, 79, together=True), roll)


def test_voices_keep_the_order_of_pitches() -> None:
    given, voices, lost = dealt([(0, 4, 60), (0, 8, 72), (0, 4, 67), (4, 4, 65), (4, 4, 55)])
    assert (voices, lost) == (3, 0)
    assert sorted(given) == [(0, 0, 8, 72), (1, 0, 4, 67), (1, 4, 4, 65), (2, 0, 4, 60), (2, 4, 4, 55)]
    assert most_at_once([(0, 2, 60), (2, 2, 60), (1, 1, 62)]) == 2
    assert dealt([(0, 4, 60), (1, 1, 62)], 1)[2] == 1


def test_signatures_and_tonics_agree() -> None:
    assert [Key.of_signature(k).tonic for k in (-2, -1, 0, 1, 2)] == [10, 5, 0, 7, 2]
    assert str(Key.of_signature(0, "minor")) == "A minor"
    for key in ALL_KEYS:
        assert Key.of_signature(key.sharps, key.mode) == key and -5 <= key.sharps <= 6
        assert key.tonic in key.scale and key.moved(5).moved(7) == key


def test_pitches_are_spelled_as_in_their_key() -> None:
    assert spelled_pitch(60) == ("C", 0, 4) and spelled_pitch(61) == ("C", 1, 4) and spelled_pitch(70) == ("B", -1, 4)
    assert spelled_pitch(61, -4) == ("D", -1, 4) and spelled_pitch(68, 0) == ("G", 1, 4)
    assert spelled_pitch(71, -6) == ("C", -1, 5)
    semitones = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
    for pitch in range(128):
        for sharps in range(-6, 7):
            letter, alter, octave = spelled_pitch(pitch, sharps)
            assert 12 * (octave + 1) + semitones[letter] + alter == pitch and abs(alter) <= 2


def test_a_scale_is_in_its_key() -> None:
    durations = np.zeros(12)
    durations[[2, 4, 6, 7, 9, 11, 1]] = 1, 1, 1, 1, 1, 1, 1
    durations[[2, 6, 9]] = 3
    assert best_key(durations) == Key(tonic=2)
    durations = np.zeros(12)
    durations[[9, 11, 0, 2, 4, 5, 8]] = 3, 1, 3, 1, 3, 1, 1
    assert best_key(durations) == Key(tonic=9, mode="minor")
    with pytest.raises(ValueError, match="no key"):
        best_key(np.ones(12))
