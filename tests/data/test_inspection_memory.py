"""What was found in pictures is remembered: nothing is decoded twice, and an interruption loses nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from made_pictures import photo

from carrara.data import inspect_folder
from carrara.data.files import Header
from carrara.data.inspection import examining
from carrara.files import cache_folder
from tiny import Command

COUNT = 9


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The names of the files that were decoded."""
    names, decode = list[str](), examining.decode

    def watched(path: Path, header: Header) -> object:
        names.append(path.name)
        return decode(path, header)

    monkeypatch.setattr(examining, "decode", watched)
    monkeypatch.setattr(examining, "FEW", 2)
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    return names


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for k in range(COUNT):
        photo(k, 48).save(tmp_path / "photos" / f"{k}.png")
    return tmp_path / "photos"


def memory() -> Path:
    (found,) = cache_folder().glob("looks-*.npy")
    return found


def test_the_second_time_nothing_is_decoded(photos: Path, decoded: list[str]) -> None:
    first = inspect_folder(photos)
    assert sorted(decoded) == [f"{k}.png" for k in range(COUNT)]
    decoded.clear()
    assert inspect_folder(photos) == first and decoded == []
    assert {path.name for path in photos.iterdir()} == {f"{k}.png" for k in range(COUNT)}


def test_what_has_changed_is_decoded_again(photos: Path, decoded: list[str]) -> None:
    inspect_folder(photos)
    decoded.clear()
    photo(3, 48).save(photos / "5.png")
    (photos / "7.png").unlink()
    (photos / "new.png").write_bytes((photos / "1.png").read_bytes())
    report = inspect_folder(photos)
    assert sorted(decoded) == ["5.png", "new.png"]
    assert report.duplicates == (("1.png", "new.png"), ("3.png", "5.png"))


def test_what_cannot_be_read_is_tried_again(photos: Path, decoded: list[str]) -> None:
    torn = (photos / "2.png").read_bytes()
    (photos / "2.png").write_bytes(torn[: len(torn) // 2])
    assert list(inspect_folder(photos).faults["truncated"]) == ["2.png"]
    decoded.clear()
    assert list(inspect_folder(photos).faults["truncated"]) == ["2.png"] and decoded == ["2.png"]


def test_an_interrupted_one_goes_on(
    photos: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch, carrara: Command
) -> None:
    fill, filled = examining._fill, list[int]()

    def interrupted(*given: object) -> None:
        if len(filled) == 4:
            raise KeyboardInterrupt
        filled.append(len(filled))
        fill(*given)

    monkeypatch.setattr(examining, "_fill", interrupted)
    code, said = carrara("inspect", "data", photos)
    assert code == 130 and "is remembered" in said
    monkeypatch.setattr(examining, "_fill", fill)
    decoded.clear()
    report = inspect_folder(photos)
    assert sorted(decoded) == [f"{k}.png" for k in range(4, COUNT)]
    monkeypatch.setenv("CARRARA_CACHE", os.devnull)
    assert inspect_folder(photos) == report


def test_a_kill_loses_a_minute(photos: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "_EVERY", 0.0)
    kept = list[int]()
    monkeypatch.setattr(examining, "_remember", lambda _, rows: kept.append(len(rows)))
    inspect_folder(photos)
    assert kept == [*range(1, COUNT + 1), COUNT]


@pytest.mark.parametrize("place", ["header", "name", "mode", "looks", "seal", "cut", "empty", "objects", "kind"])
def test_a_damaged_memory_is_none(photos: Path, decoded: list[str], place: str) -> None:
    report = inspect_folder(photos)
    content, rows = bytearray(memory().read_bytes()), np.load(memory())
    begin = len(content) - rows.nbytes
    kind = rows.dtype
    at = {"header": 20, "name": begin, "mode": begin + kind.fields["mode"][1], "looks": begin + 200, "seal": -1}
    if place in at:
        content[
            at[place] if place != "seal" else begin + (len(rows) - 1) * kind.itemsize + kind.fields["digest"][1]
        ] ^= 255
    elif place == "cut":
        content = content[: len(content) // 2]
    memory().write_bytes({"empty": b""}.get(place, bytes(content)))
    if place == "objects":
        np.save(memory(), np.array([{}, []], object), allow_pickle=True)
    if place == "kind":
        np.save(memory(), np.zeros((3, 3)))
    decoded.clear()
    assert inspect_folder(photos) == report
    assert len(decoded) == COUNT
    decoded.clear()
    assert inspect_folder(photos) == report and decoded == [], "it is whole again"


def test_a_few_pictures_and_places_that_cannot_be_written_have_none(
    photos: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examining, "FEW", COUNT + 1)
    inspect_folder(photos)
    assert not cache_folder().exists()
    monkeypatch.setattr(examining, "FEW", 1)
    monkeypatch.setenv("CARRARA_CACHE", str(photos / "0.png"))
    assert inspect_folder(photos).good == COUNT
