"""Songs, sounds, arrays and tables on the command line: what is in them is said, and every mistake is one sentence."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carrara.files import MidiFile, MidiTrack, midi_bytes
from carrara.files.waves import wave_bytes
from tiny import Command

RATE = 8000


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def song(path: str, notes: int = 64, *, drums: bool = False) -> None:
    """A scale of quarter notes."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    rows = np.array([(480 * k, 480, 60 + k % 12, 80) for k in range(notes)], np.int64).reshape(-1, 4)
    track = MidiTrack(notes=rows, drums=drums)
    place.write_bytes(midi_bytes(MidiFile(ticks=480, tracks=(track,), tempos=((0, 120.0),), metres=((0, 4, 4),))))


def sound(path: str, frames: int = RATE, level: float = 0.5, rate: int = RATE) -> None:
    """A tone whose greatest sample is ``level`` of full scale."""
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    wave = np.cos(2 * np.pi * 0.05 * np.arange(frames))
    place.write_bytes(wave_bytes((level * 32768 * wave).clip(-32768, 32767).astype(np.int16), rate))


def array(path: str, values: object) -> None:
    np.save(path, np.asarray(values), allow_pickle=True)


def rows_in(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def text(path: str, content: str) -> None:
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_songs_are_described_and_listed(carrara: Command) -> None:
    song("songs/a.mid")
    song("songs/b.mid", drums=True)
    text("songs/c.mid", "hello")
    code, said = carrara("inspect", "data", "songs", "--list", "found.csv", "--out", "sheets")
    assert code == 0 and "songs: 3 MIDI files, 1 can be used" in said and "has drums only (b.mid)" in said
    rows = rows_in("found.csv")
    assert [row["file"] for row in rows] == ["a.mid", "b.mid", "c.mid"]
    assert (rows[0]["notes"], rows[0]["lowest"], rows[0]["highest"]) == ("64", "60", "71")
    assert rows[1]["problem"] == "has drums only" and rows[2]["problem"] == "is no MIDI file"
    with Image.open("sheets/contact-sheet.png") as sheet:
        assert sheet.width > 100


def test_sounds_are_described_and_listed(carrara: Command) -> None:
    pytest.importorskip("soxr")
    sound("sounds/loud/a.wav", level=1.0)
    sound("sounds/loud/b.wav", level=0.5, rate=2 * RATE)
    sound("sounds/quiet/c.wav", level=0.0)
    text("sounds/quiet/d.wav", "hello")
    code, said = carrara("inspect", "data", "sounds", "--list", "found.csv")
    assert code == 0 and "sounds: 4 sounds, 3 can be trained on" in said
    assert "8000 Hz (2), 16000 Hz (1)" in said and "1 sound of other rates resampled" in said
    assert "loud (2), quiet (1)" in said and "1 reach it" in said and "1 (quiet/c.wav)" in said
    rows = {row["file"]: row for row in rows_in("found.csv")}
    assert float(rows["loud/a.wav"]["peak_db"]) == 0.0 and rows["loud/a.wav"]["classes"] == "loud"
    assert float(rows["loud/a.wav"]["mean_db"]) == pytest.approx(-3.0, abs=0.1), "a sine is 3 dB below its peak"
    assert rows["loud/b.wav"]["seconds"] == "0.5" and rows["quiet/c.wav"]["silent"] == "yes"
    assert "no sound that can be read" in rows["quiet/d.wav"]["problem"]
    assert Path("runs/data/sounds/contact-sheet.png").is_file()


def test_arrays_are_described_and_listed(carrara: Command) -> None:
    values = noise(5, 8, 8)
    values[1, 0, :3], values[2, 0, 0], values[4] = np.nan, np.inf, 1.5
    array("a.npy", values)
    code, said = carrara("inspect", "data", "a.npy", "--list", "found.csv")
    assert code == 0 and "a.npy: 5 examples of shape (8, 8, 1), float32" in said and "axes NHW" in said
    assert "3 values that are NaN" in said and "1 values that are infinite" in said and "one value everywhere" in said
    assert "This cannot be trained on" in said
    rows = rows_in("found.csv")
    assert [row["nan"] for row in rows] == ["0", "3", "0", "0", "0"] and rows[2]["infinite"] == "1"
    assert float(rows[0]["mean"]) == pytest.approx(values[0].mean(dtype=np.float64), abs=1e-7)
    assert float(rows[4]["std"]) == 0 and float(rows[4]["low"]) == 1.5


@pytest.mark.parametrize("shape", [(6, 16), (6, 8, 8), (6, 8, 8, 8), (6, 8, 8, 3)])
def test_arrays_of_any_rank_have_a_sheet(carrara: Command, shape: tuple[int, ...]) -> None:
    array("a.npy", noise(*shape))
    code, said = carrara("inspect", "data", "a.npy")
    assert code == 0 and "runs/data/a/contact-sheet.png" in said


def test_tables_are_described_and_listed(carrara: Command) -> None:
    text("t.csv", "a,b,c\n" + "".join(f"{k},{'xy'[k % 2]},{'' if k == 3 else k / 2}\n" for k in range(10)))
    code, said = carrara("inspect", "data", "t.csv", "--list", "found.csv")
    assert code == 0 and "t.csv: 10 rows of 3 columns; 9 rows can be trained on" in said
    assert "categories: x (5), y (5)" in said and "1 rows say nothing" in said
    rows = {row["column"]: row for row in rows_in("found.csv")}
    assert rows["a"]["kind"] == "whole numbers" and float(rows["a"]["mean"]) == 4.5
    assert rows["b"]["different"] == "2" and rows["c"]["missing"] == "1"


def test_what_is_described_is_not_written_into(carrara: Command) -> None:
    song("songs/a.mid")
    code, said = carrara("inspect", "data", "songs", "--list", "songs/found.csv")
    assert code == 2 and "where nothing is written" in said and not Path("songs/found.csv").exists()
    text("t.csv", "a,b\n1,2\n3,4\n")
    code, said = carrara("inspect", "data", "t.csv", "--list", "t.csv")
    assert code == 2 and "is there already" in said and Path("t.csv").read_text() == "a,b\n1,2\n3,4\n"


MISTAKES: dict[str, tuple[Callable[[], None], str, list[str]]] = {
    "an empty MIDI file": (lambda: text("m/a.mid", ""), "m", ["'a.mid' is empty", "Standard MIDI files"]),
    "a MIDI file that is none": (lambda: text("m/a.mid", "MThd" + 40 * "x"), "m", ["no MIDI file that can be read"]),
    "drums alone": (lambda: song("m/a.mid", drums=True), "m", ["has drums only", "pitched notes"]),
    "a piece of two notes": (lambda: song("m/a.mid", 2), "m", ["the longest has 8", "data.source.length=8"]),
    "an empty WAV file": (lambda: text("s/a.wav", ""), "s", ["it is empty", "WAV or FLAC"]),
    "a text called WAV": (lambda: text("s/a.wav", "hello"), "s", ["no sound that can be read", "WAV or FLAC"]),
    "a WAV file without samples": (lambda: sound("s/a.wav", 0), "s", ["holds no samples"]),
    "a sound of one sample": (lambda: sound("s/a.wav", 1), "s", ["at most 1 sample", "give longer sounds"]),
    "an array of no examples": (lambda: array("a.npy", noise(0, 8, 8)), "a.npy", ["holds no examples"]),
    "an array with an edge of 0": (lambda: array("a.npy", noise(4, 0, 8)), "a.npy", ["holds no examples"]),
    "an array of objects": (lambda: array("a.npy", [{}, None]), "a.npy", ["Python objects"]),
    "an array of texts": (lambda: array("a.npy", [["a", "b"]]), "a.npy", ["holds texts", "save numbers"]),
    "complex numbers": (lambda: array("a.npy", noise(4, 8, 8) * 1j), "a.npy", ["complex", "two channels"]),
    "infinity": (lambda: array("a.npy", noise(4, 8, 8) / 0), "a.npy", ["infinite", "make them NaN"]),
    "four axes of places": (lambda: array("a.npy", noise(2, 4, 4, 4, 4, 1)), "a.npy", ["has 6 axes", "volumes"]),
    "several arrays": (
        lambda: np.savez("a.npz", foo=noise(4, 8, 8), bar=noise(4, 8, 8)),
        "a.npz",
        ["foo (4, 8, 8), bar (4, 8, 8)", "as in data.source.array=foo"],
    ),
    "no arrays": (lambda: np.savez("a.npz"), "a.npz", ["holds no arrays"]),
    "a table of a header": (lambda: text("t.csv", "a,b\n"), "t.csv", ["has no rows"]),
    "columns of one name": (lambda: text("t.csv", "a,a\n1,2\n"), "t.csv", ["two columns called 'a'"]),
    "names alone": (
        lambda: text("t.csv", "a\n" + "".join(f"name{k}\n" for k in range(9))),
        "t.csv",
        ["9 different texts in 9 rows are names"],
    ),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("what", MISTAKES)
def test_what_cannot_be_trained_on_is_one_sentence(carrara: Command, what: str) -> None:
    make, path, words = MISTAKES[what]
    make()
    before = {place: place.stat().st_mtime_ns for place in Path().rglob("*") if "cache" not in place.parts}
    code, said = carrara("train", path, "--dry-run")
    assert code == 2 and "Traceback" not in said, said
    assert len(said.strip().splitlines()[-1:]) == 1 and all(word in said for word in words), said
    assert {place: place.stat().st_mtime_ns for place in Path().rglob("*") if "cache" not in place.parts} == before


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            ["oops", *map(str, range(20))],
            "1 cell of 21, such as 'oops', is no number: write a number there, or nothing",
        ),
        ([f"{k},5" for k in range(20)], "its numbers have decimal commas, such as '0,5': write points"),
        (["1e308", "-1e308", "1e307"], "numbers such as 1e+308 are too large to be learned"),
    ],
)
def test_a_column_that_is_left_out_says_why(carrara: Command, rows: list[str], why: str) -> None:
    text("t.csv", "a;b\n" + "".join(f"{row};{k}\n" for k, row in enumerate(rows)))
    code, said = carrara("train", "t.csv", "--dry-run")
    assert code == 0 and f"column 'a' is left out: {why}" in said


@pytest.mark.parametrize(("path", "size"), [("m", "[8,8]"), ("a.npy", "[8,8,8]"), ("a.npy", "[8,8]")])
def test_a_size_of_another_rank_is_refused(carrara: Command, path: str, size: str) -> None:
    song("m/a.mid")
    array("a.npy", noise(4, 16))
    code, said = carrara("train", path, "--dry-run", f"data.size={size}")
    assert code == 2 and "these data have 1 edge, and" in said and "Traceback" not in said


def test_a_folder_of_two_kinds_says_what_it_leaves_and_how_to_take_it(carrara: Command) -> None:
    for k in range(3):
        song(f"both/{k}.mid")
    Image.new("RGB", (8, 8)).save("both/a.png")
    _, said = carrara("train", "both", "--dry-run", "train.batch=2")
    assert "3 MIDI files of 'both', and not the 1 picture there: data.source.kind=folder takes those" in said
    code, said = carrara("inspect", "data", "both", "data.source.kind=folder")
    assert code == 0 and "both: 1 pictures" in said
    assert "both: 3 MIDI files" in carrara("inspect", "data", "both")[1]


def test_a_large_array_is_split_by_place_without_being_read(tmp_path: Path) -> None:
    """A file of 16 GiB with holes, of which only what is measured is read."""
    from carrara.data import fingerprint, split
    from carrara.data.sources.array import ArraySource

    big = np.lib.format.open_memmap("big.npy", "w+", np.float32, (1 << 10, 1 << 11, 1 << 11))
    big[3, 0, 0] = 1
    del big
    data = ArraySource(path="big.npy", low=0.0, high=1.0).open()
    train, held = split(data, 0.1)
    assert len(train) + len(held) == 1 << 10 and 50 < len(held) < 160
    assert any("too large to be read" in remark for remark in data.info.remarks)
    assert data.key(3) == "place 3" and float(data.pixels(3)[0, 0, 0]) == 1
    before = fingerprint(data)
    with Path("big.npy").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"1234")
    assert fingerprint(ArraySource(path="big.npy", low=0.0, high=1.0).open()) != before, "no stale cache is read"


def test_a_model_without_classes_is_drawn_from_without_guidance(carrara: Command) -> None:
    """The preset of sounds asks for guidance, which folders without classes cannot have."""
    for k in range(3):
        sound(f"s/{k}.wav", level=0.2 + 0.2 * k)
    tiny = ("train.steps=1", "train.batch=1", "preview.every=1", "preview.count=1", "data.size=256", "sample.steps=1")
    code, said = carrara("train", "s", "--run", "run", *tiny, "model.backbone.channels=8", "train.precision=float32")
    assert code == 0 and "guidance 1: without a condition" in said, said
    assert carrara("sample", "run", "-n", 1)[0] == 0
    code, said = carrara("edit", "run", "img2img", "s/0.wav", "--size", "256", "--steps", "4")
    assert code == 0 and "4 sounds in" in said, said
    for wrong in ("away.wav", "t.wav"):
        text("t.wav", "hello")
        code, said = carrara("edit", "run", "img2img", wrong)
        assert code == 2 and "Traceback" not in said
    assert "no WAV file" in carrara("replay", "t.wav")[1]
