"""Grids as MIDI, MusicXML, sound and pictures, read again by others where there are some."""

import io
import wave
from dataclasses import replace

import numpy as np
import pytest
from pieces import melody, random_grid

from carrara.files import Malformed, MidiFile, MidiTrack, midi_bytes, midi_in, read_midi
from carrara.notes import COLOURS, Key, from_midi, picture, record_of, samples, to_midi, to_musicxml, wav_bytes

pytest.importorskip("symusic")
SATB = ("Soprano", "Alto", "Tenor", "Bass")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"key": Key(tonic=3, mode="minor"), "metre": (3, 4), "pickup": 4, "tempo": 72.5, "voices": SATB, "name": "A b"},
        {"metre": (4, 4), "pickup": 3, "tempo": 90.0},
        {"metre": (6, 8), "per_quarter": 12, "tempo": 133.33},
        {"per_quarter": 7},
    ],
)
def test_midi_gives_the_grid_back(said) -> None:
    for seed in range(3):
        grid = random_grid(seed, **said)
        found = from_midi(midi_in(to_midi(grid)), per_quarter=grid.per_quarter)
        assert found.grid == (replace(grid, tempo=grid.tempo)) and found.moved == found.lost == 0
        assert found.notes == len(grid.notes())


def test_a_silent_voice_and_rests_at_the_end_stay() -> None:
    grid = random_grid(1).window(0, 90)
    pitches, onsets = grid.pitches.copy(), grid.onsets.copy()
    pitches[2], onsets[2] = -1, False
    grid = replace(grid, pitches=pitches, onsets=onsets, voices=SATB)
    assert from_midi(midi_in(to_midi(grid))).grid == grid


def test_the_record_is_read_back_exactly() -> None:
    about = {"prompt": 'C major + "é" \n ♯', "seed": 7, "guidance": 1.5, "nested": {"a": [1, None]}}
    assert record_of(midi_in(to_midi(melody(60), about))) == about
    assert record_of(midi_in(to_midi(melody(60)))) is None


def track(*notes, drums: bool = False, name: str = "") -> MidiTrack:
    return MidiTrack(notes=np.array(notes, np.int64).reshape(-1, 4), drums=drums, name=name)


def test_notes_between_the_steps_are_moved_and_counted() -> None:
    midi = MidiFile(ticks=480, tracks=(track((0, 130, 60, 80), (170, 200, 62, 80), (480, 5, 64, 80)),))
    found = from_midi(midi_in(midi_bytes(midi)))
    assert found.grid.notes().tolist() == [[0, 0, 1, 60], [0, 1, 2, 62], [0, 4, 1, 64]]
    assert (found.notes, found.moved, found.lost) == (3, 3, 0)


def test_chords_of_a_track_become_voices_and_tracks_can_be_dealt_anew() -> None:
    midi = MidiFile(ticks=4, tracks=(track((0, 4, 60, 9), (0, 4, 64, 9), name="Piano"), track((0, 8, 67, 9))))
    grid = from_midi(midi_in(midi_bytes(midi))).grid
    assert grid.voices == ("Piano 1", "Piano 2", "") and grid.pitches[:, 0].tolist() == [64, 60, 67]
    found = from_midi(midi, voices=2)
    assert found.grid.pitches[:, 0].tolist() == [67, 64] and found.lost == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"hello world, this is no MIDI", "is no MIDI file"),
        (b"MThd" + b"\0" * 30, "cannot be read|can be read"),
        (to_midi(melody(60, 62))[:-9], "can be read"),
    ],
)
def test_what_is_no_midi_is_one_sentence(content: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        midi_in(content)


def test_drums_and_nothing_are_told_apart(tmp_path) -> None:
    drums = midi_in(midi_bytes(MidiFile(ticks=4, tracks=(track((0, 4, 40, 9), drums=True),))))
    with pytest.raises(Malformed, match="drums only"):
        from_midi(drums)
    with pytest.raises(Malformed, match="no notes"):
        from_midi(midi_in(midi_bytes(MidiFile(ticks=4, tracks=(track(),)))))
    long = MidiFile(ticks=1, tracks=(track((100_000, 4, 40, 9)),))
    with pytest.raises(Malformed, match="has 400016 steps"):
        from_midi(midi_in(midi_bytes(long)))
    path = tmp_path / "a.mid"
    path.write_bytes(to_midi(melody(60)))
    assert read_midi(path).ticks == 480
    with pytest.raises(ValueError, match="at most 10"):
        read_midi(path, 10)


def test_broken_bytes_never_end_in_anything_else() -> None:
    good, rng = to_midi(random_grid()), np.random.default_rng(0)
    for _ in range(300):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), 6):
            bad[place] = rng.integers(256)
        try:
            from_midi(midi_in(bytes(bad)))
        except Malformed as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "said",
    [
        {"key": Key(tonic=9), "metre": (4, 4), "pickup": 4, "voices": SATB, "name": "Chorale & <more>"},
        {"key": Key(tonic=3, mode="minor"), "metre": (3, 4), "tempo": 72.0},
        {"metre": (6, 8)},
    ],
)
def test_another_program_reads_the_same_notes_from_musicxml(said) -> None:
    music21 = pytest.importorskip("music21")
    grid = random_grid(3, **said)
    score = music21.converter.parseData(to_musicxml(grid, {"seed": 1}), format="musicxml")
    assert len(score.parts) == 4
    if grid.voices:
        assert [part.partName for part in score.parts] == list(SATB)
    found = []
    for voice, part in enumerate(score.parts):
        for note in part.stripTies().flatten().notes:
            found.append([voice, int(note.offset * 4), int(note.quarterLength * 4), note.pitch.midi])
    assert found == grid.notes().tolist()
    measures = score.parts[0].getElementsByClass("Measure")
    assert [measure.offset * 4 for measure in measures][1:4] == [b for b in grid.bars if b][:3]
    if grid.key:
        signature = score.parts[0].flatten().getElementsByClass("KeySignature")[0]
        assert signature.sharps == grid.key.sharps and signature.mode == grid.key.mode


def test_accidentals_are_those_that_the_bar_needs() -> None:
    grid = melody((66, 4), (65, 4), (65, 4), (66, 4), (65, 4), (66, 4), key=Key(tonic=7), metre=(4, 4))
    text = to_musicxml(grid)
    signs = [line.strip() for line in text.splitlines() if "<accidental>" in line]
    kinds = [sign.removeprefix("<accidental>").removesuffix("</accidental>") for sign in signs]
    assert kinds == ["natural", "sharp", "natural", "sharp"]


def test_a_tone_has_its_frequency_and_its_length() -> None:
    sound = samples(melody((69, 16), tempo=60.0), 22_050)
    assert sound.dtype == np.float32 and len(sound) == int((4 + 0.07) * 22_050) + 1
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert spectrum.argmax() * 22_050 / len(sound) == pytest.approx(440, abs=0.5)
    assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-6)


def test_sound_is_the_same_to_the_bit_and_never_clips() -> None:
    grid = random_grid(4)
    first = samples(grid, 22_050)
    assert first.tobytes() == samples(grid, 22_050).tobytes()
    assert np.abs(first).max() <= 0.9 + 1e-6
    assert not samples(melody((-1, 8)), 22_050).any()


def test_a_repeated_note_is_heard_as_two() -> None:
    two = samples(melody((60, 4), (60, 4), tempo=60.0), 22_050)
    at = int(22_050 * 1.0)
    assert np.abs(two[at - 30 : at + 30]).max() < 0.35 * np.abs(two[at - 4000 : at - 2000]).max()


def test_a_wav_file_holds_the_samples() -> None:
    sound = samples(melody(60, 64), 22_050)
    with wave.open(io.BytesIO(wav_bytes(sound, 22_050))) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (22_050, 1, 2)
        levels = np.frombuffer(reader.readframes(reader.getnframes()), "<i2")
    assert np.abs(levels / 32767 - sound).max() < 1e-4


def test_a_picture_has_the_voices_colours_and_gaps() -> None:
    image = np.asarray(picture(random_grid(2, parts=2, steps=32), step=10, pitch=8)).astype(int)
    for colour in COLOURS[:2]:
        assert (np.abs(image - colour).sum(-1) < 12).sum() > 100
    assert not (np.abs(image - COLOURS[2]).sum(-1) < 12).any()
    row = np.asarray(picture(melody((60, 4), (60, 4)), step=10, pitch=8)).astype(int)[6 + 2 * 8 + 4]
    blue = np.abs(row - COLOURS[0]).sum(-1) < 30
    assert blue[30:65].sum() >= 30 and not blue[69] and blue[74:104].all()
