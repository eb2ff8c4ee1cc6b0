"""Chorales and folders of MIDI files as data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from carrara.data import Loader, batch_of, split
from carrara.data.base import DataInfo
from carrara.data.chorales import Chorale, _is_copy, _with_copies
from carrara.data.pieces import Piece, Pieces, classes_of, shifts_within, window_starts
from carrara.data.songs import describe
from carrara.data.sources import ChoralesSource, SongsSource, as_source
from carrara.data.transforms import Transform
from carrara.errors import UserError
from carrara.files import MidiFile, MidiTrack, midi_bytes
from carrara.modality import Notes
from carrara.notes import EVERY, Grid, Key, from_roll, from_tokens, from_unit, painted, to_midi

pytest.importorskip("symusic")


def piece(bars: int = 8, seed: int = 0, voices: int = 2, **said) -> Grid:
    rng = np.random.default_rng(seed)
    rows = [(v, 4 * k, 4, int(rng.integers(60, 72))) for v in range(voices) for k in range(4 * bars)]
    pitches, onsets = painted(rows, voices, 16 * bars)
    return Grid(pitches=pitches, onsets=onsets, **said)


def pieces(form: str = "tokens", shifts: tuple[int, ...] = (-2, 0, 3)) -> Pieces:
    grids = [
        piece(8, 0, key=Key(tonic=0), metre=(4, 4)),
        piece(6, 1, key=Key(tonic=9, mode="minor"), metre=(3, 4), pickup=4, name="b"),
    ]
    modality = Notes(form=form, voices=("high", "low"), lowest=55, highest=78)
    info = DataInfo(name="test", channels=2, native=(32,), classes=classes_of(grids))
    return Pieces(info, [Piece(grid=g, key=str(k), shifts=shifts) for k, g in enumerate(grids)], modality, 32)


def test_windows_begin_at_bars_in_every_key() -> None:
    data = pieces()
    starts = [0, 16, 32, 48, 64, 80, 96], [4, 16, 28, 40, 52, 64]
    assert len(data) == 3 * sum(map(len, starts))
    assert data.key(0) == "0" and data.key(len(data) - 1) == "1"
    source = piece(8, 0)
    second = data.grid(3 * 1 + 2)  # the second bar, three semitones up
    assert np.array_equal(second.pitches, source.pitches[:, 16:48] + 3)
    assert data.name(5) == "test, bar 2, +3 semitones" and data.name(3 * 7 + 1) == "b, bar 1"


def test_labels_are_key_mode_and_metre_and_move_with_the_piece() -> None:
    data = pieces()
    assert data.info.classes[:3] == ("key C", "key C#", "key D") and data.info.classes[12:] == (
        "major",
        "minor",
        "3/4",
        "4/4",
    )

    def said(k: int) -> list[str]:
        return [data.info.classes[place] for place in np.flatnonzero(data.columns(k)["label"].variants[0])]

    assert said(0) == ["key Bb", "major", "4/4"] and said(1) == ["key C", "major", "4/4"]
    assert said(len(data) - 1) == ["key C", "minor", "3/4"]


@pytest.mark.parametrize("form", ["tokens", "roll"])
def test_examples_are_the_music(form: str) -> None:
    data = pieces(form)
    example = data[4]
    tokens = example.pixels.T * 25  # K - 1, of 24 pitches
    assert form == "roll" or np.abs(tokens - np.rint(tokens)).max() < 1e-5
    read = (
        from_tokens(from_unit(example.pixels.T, 55, 78), 55, 78) if form == "tokens" else from_roll(example.pixels, 55)
    )
    grid = data.grid(4)
    assert np.array_equal(read.pitches, grid.pitches) and np.array_equal(read.onsets, grid.onsets)
    assert (
        example.pixels.shape
        == ((32, 2) if form == "tokens" else (32, 24, 4))
        == (*data.native(4), len(example.pixels.T))
    )
    batch = batch_of(data, Transform(size=data.native(0), channels=example.pixels.shape[-1]), [4, 0])
    largest = 1 if form == "tokens" else 255
    expected = torch.from_numpy(example.pixels * np.float32(2 / largest) - 1).movedim(-1, 0)
    torch.testing.assert_close(batch.x[0], expected)


def test_a_piece_is_on_one_side_of_the_split() -> None:
    train, held = split(pieces(), 0.5)
    assert len(train) and len(held)
    assert not {train.key(k) for k in range(len(train))} & {held.key(k) for k in range(len(held))}


def test_with_turns_an_epoch_shows_a_window_of_each_piece() -> None:
    data = pieces()
    loader = Loader(data, Transform(size=(32,), channels=2), 2, 0, turns=True, workers=0)
    names = {loader.names([2 * step + k])[0].split(",")[0] for step in range(4) for k in range(2)}
    assert names == {"test", "b"}
    assert len({tuple(loader.names([2 * s, 2 * s + 1])) for s in range(12)}) > 6


def test_silent_windows_and_short_pieces() -> None:
    pitches, onsets = painted([(0, 0, 16, 60), (0, 64, 16, 60)], 1, 80)
    grid = Grid(pitches=pitches, onsets=onsets)
    assert window_starts(grid, 16) == [0, 64]
    assert window_starts(replace(grid.window(0, 12)), 16) == [0]


def test_shifts_keep_every_voice_in_its_range() -> None:
    pitches, onsets = painted([(0, 0, 4, 70), (0, 4, 4, 75), (1, 0, 8, 50)], 2, 8)
    grid = Grid(pitches=pitches, onsets=onsets)
    assert shifts_within(grid, [(68, 76), (45, 60)]) == (-2, -1, 0, 1)
    assert shifts_within(grid, [(71, 76), (45, 60)]) == ()


def chorale(name: str, grid: Grid) -> Chorale:
    notes = tuple(int(number) for note in grid.notes() for number in note)
    return Chorale(
        name=name, notes=notes, steps=grid.steps, tonic=0, mode="major", metre=(4, 4), pickup=0, moved=0
    )  # fmt: skip


def test_copies_are_found_in_other_keys() -> None:
    one = piece(8, 3, voices=4)
    other = [
        chorale("a", one),
        chorale("b", one.transposed(-3)),
        chorale("c", piece(8, 4, voices=4)),
        chorale("c-x", one),
    ]
    assert [kept.copy_of for kept in _with_copies(other)] == ["a", "a", "c", "a"]
    assert other[0].grid.pitches.tolist() == one.pitches.tolist()
    assert not _is_copy(one, one.window(0, 64))


def test_what_a_source_is_follows_from_its_keys() -> None:
    assert ChoralesSource().shape == (4, 64) and ChoralesSource(length=32).spatial == 1
    roll = ChoralesSource(form="roll")
    assert roll.shape == (8, 64, 48) and roll.spatial == 2 and roll.modality.voices[0] == "Soprano"
    assert str(as_source("chorales")) == "chorales"


@pytest.mark.slow
def test_the_corpus_is_as_it_is_described(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    music21 = pytest.importorskip("music21")
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path))
    data = ChoralesSource(transpose=False).open()
    again = ChoralesSource(transpose=False).open()
    assert len(data) == len(again) > 4000 and (data.pixels(17) == again.pixels(17)).all()
    assert "410 chorales; 18 of 96726 notes" in data.info.remarks[0]
    assert len({data.key(k) for k in range(len(data))}) > 370
    first = next(k for k in range(len(data)) if data.name(k) == "bwv269, bar 1")
    score = music21.corpus.parse("bach/bwv269")
    bars = [part.getElementsByClass("Measure")[1] for part in score.parts]
    assert data.grid(first).pitches[:, 0].tolist() == [bar.flatten().notes[0].pitch.midi for bar in bars]


def write(path, *tracks: MidiTrack, **said) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi_bytes(MidiFile(ticks=480, tracks=tracks, **said)))


def track(*notes: tuple[int, int, int], drums: bool = False) -> MidiTrack:
    return MidiTrack(notes=np.array([(s * 120, n * 120, p, 80) for s, n, p in notes], np.int64), drums=drums)


@pytest.fixture
def duets(tmp_path):
    for k in range(5):
        (tmp_path / "songs" / "more").mkdir(parents=True, exist_ok=True)
        (tmp_path / "songs" / "more" / f"{k}.mid").write_bytes(to_midi(piece(6, k, metre=(4, 4))))
    (tmp_path / "songs" / "broken.mid").write_bytes(b"MThd nothing")
    write(tmp_path / "songs" / "drums.midi", track((0, 4, 40), drums=True))
    (tmp_path / "songs" / "read me.txt").write_text("no music")
    return tmp_path / "songs"


def test_a_folder_of_tracks_becomes_tokens_of_voices(duets) -> None:
    source = as_source(duets)
    assert isinstance(source, SongsSource) and source.modality is None and source.shape is None
    data = source.open()
    complete, why = source.completed(split(data, 0.2)[0])
    assert complete == replace(source, form="tokens", voices=2, per_quarter=4, lowest=60, highest=71)
    assert complete.shape == (2, 64) and len(why) == 4 and "5 of 5 files" in why[1]
    assert len(data) == 5 * 3 and data.info.classes == ("4/4",)
    assert "2 of 7 MIDI files are left out" in data.info.remarks[0] and "drums only" in data.info.remarks[0]
    assert (complete.open().pixels(3) == data.pixels(3)).all()


def test_chords_make_a_roll_of_all_notes(tmp_path) -> None:
    for k in range(3):
        notes = [(4 * t, 4, 60 + k + t % 5 + step) for t in range(24) for step in (0, 4, 7)]
        write(tmp_path / f"{k}.mid", track(*notes))
    source = SongsSource(path=str(tmp_path))
    data = source.open()
    complete, why = source.completed(data)
    assert isinstance(complete, SongsSource) and complete.form == "roll" and complete.voices == 0
    assert complete.modality and complete.modality.voices == (EVERY,) and complete.shape == (2, 64, 16)
    assert data.pixels(0).shape == (64, 16, 2) and any("all notes are together" in reason for reason in why)
    column = data.pixels(0)[0].max(-1) > 0
    assert (np.flatnonzero(column) + complete.modality.lowest).tolist() == [60, 64, 67]


def test_the_grid_is_the_coarsest_that_fits(tmp_path) -> None:
    thirds = MidiTrack(notes=np.array([(160 * k, 160, 60 + k % 7, 80) for k in range(90)], np.int64))
    write(tmp_path / "a.mid", thirds)
    data = SongsSource(path=str(tmp_path)).open()
    assert data.modality.per_quarter == 6


def test_voices_can_be_asked_for(tmp_path) -> None:
    notes = [(4 * t, 4, 60 + step) for t in range(24) for step in (0, 4, 7)]
    write(tmp_path / "a.mid", track(*notes))
    data = SongsSource(path=str(tmp_path), form="tokens").open()
    assert data.modality.voices == ("Voice 1", "Voice 2", "Voice 3")
    assert data.grid(0).pitches[:, 0].tolist() == [67, 64, 60]
    with pytest.raises(UserError, match="fits 2 voices"):
        SongsSource(path=str(tmp_path), form="tokens", voices=2).open()
    with pytest.raises(ValueError, match="form=roll"):
        SongsSource(path=str(tmp_path), form="tokens", voices=0)


def test_folders_without_music_are_one_sentence(tmp_path) -> None:
    with pytest.raises(UserError, match="there are no MIDI files"):
        SongsSource(path=str(tmp_path)).open()
    with pytest.raises(UserError, match="there is no folder"):
        SongsSource(path=str(tmp_path / "away")).open()
    write(tmp_path / "a.mid", track())
    with pytest.raises(UserError, match="has no notes"):
        SongsSource(path=str(tmp_path)).open()


def test_a_folder_is_described(duets) -> None:
    found = describe(duets)
    assert found.lines[0] == "7 MIDI files, 5 can be used"
    assert any("has drums only" in line and "drums.midi" in line for line in found.lines)
    assert "tracks: 2 in 5 files" in found.lines and "metres: 4/4 in 5 files" in found.lines
    assert len(found.rows) == 7 and found.rows[2]["notes"] == 48 and "problem" in found.rows[0]
