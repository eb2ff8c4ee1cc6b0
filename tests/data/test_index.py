"""A large folder is scanned once, and what changes in it is seen."""

import os
import pickle
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from carrara.data import Folder, index
from carrara.data.files import Header, read_header


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The names of the files whose headers were read."""
    names: list[str] = []

    def watched(path: Path) -> Header:
        names.append(path.name)
        return read_header(path)

    monkeypatch.setattr(index, "read_header", watched)
    monkeypatch.setattr(index, "FEW", 2)
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    return names


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "p").mkdir()
    for k in range(4):
        save(tmp_path / "p" / f"{k}.png", k)
    return tmp_path / "p"


def save(path: Path, value: int, size: int = 5) -> None:
    Image.fromarray(np.full((size, 6, 3), value, np.uint8)).save(path)


def opened(folder: Path, read: list[str]) -> list[tuple[str, str, tuple[int, int]]]:
    """What is known about the pictures, before which nothing was read."""
    read.clear()
    data = Folder(folder)
    return [(data.name(k), data.key(k), data.native(k)) for k in range(len(data))]


def test_the_second_time_nothing_is_read(pictures: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(pictures, read)
    assert sorted(read) == ["0.png", "1.png", "2.png", "3.png"]
    assert opened(pictures, read) == first
    assert read == []
    monkeypatch.chdir(pictures)
    assert opened(Path(), read) == first, "the same folder by another name"
    assert read == []
    assert {path.name for path in pictures.iterdir()} == {"0.png", "1.png", "2.png", "3.png"}, (
        "nothing is written there"
    )


def test_changes_are_seen(pictures: Path, read: list[str]) -> None:
    opened(pictures, read)
    save(pictures / "1.png", 77, size=9)
    (pictures / "2.png").unlink()
    save(pictures / "4.png", 4)
    found = opened(pictures, read)
    assert sorted(read) == ["1.png", "4.png"]
    assert [name for name, _, _ in found] == ["0.png", "1.png", "3.png", "4.png"]
    assert found[1][2] == (9, 6)


def test_another_content_of_the_same_size_and_date_is_seen(pictures: Path, read: list[str]) -> None:
    before = opened(pictures, read)
    old = (pictures / "1.png").stat()
    content = (pictures / "1.png").read_bytes()
    (pictures / "1.png").write_bytes(content[:-20] + bytes(20))
    os.utime(pictures / "1.png", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert opened(pictures, read)[1][1] != before[1][1]


def test_broken_files_are_looked_at_each_time(pictures: Path, read: list[str]) -> None:
    (pictures / "9.png").write_bytes(b"no picture")
    opened(pictures, read)
    assert len(opened(pictures, read)) == 4
    assert read == ["9.png"]


def test_what_is_known_is_not_written_again(pictures: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (pictures / "9.png").write_bytes(b"no picture")
    opened(pictures, read)
    monkeypatch.setattr(index, "_remember", lambda *_: pytest.fail("nothing has changed"))
    opened(pictures, read)


def test_a_longer_name_makes_room(pictures: Path, read: list[str]) -> None:
    opened(pictures, read)
    save(pictures / ("ü" * 40 + ".png"), 9)
    assert opened(pictures, read)[-1][0] == "ü" * 40 + ".png"
    assert read == ["ü" * 40 + ".png"]
    (pictures / ("ü" * 40 + ".png")).unlink()
    assert len(opened(pictures, read)) == 4
    assert read == []


def test_a_user_without_a_home_has_the_memory_among_temporary_files(
    pictures: Path, read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CARRARA_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    first = opened(pictures, read)
    assert len(read) == 4
    assert (opened(pictures, read), read) == (first, [])
    assert len(list((tmp_path / "temporary").rglob("headers-*.npy"))) == 1


def saved(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


DAMAGES = {
    "nothing": b"",
    "no numbers": b"[]",
    "what could run code": pickle.dumps([1]),
    "another kind of file": saved(np.zeros(4)),
    "other fields": saved(np.zeros(4, [("name", "S5"), ("size", "<i4", 2)])),
    "an archive": b"PK\x05\x06" + bytes(18),
    "a broken archive": b"PK\x03\x04" + bytes(18),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_memory_is_only_slow(pictures: Path, read: list[str], damage: str) -> None:
    first = opened(pictures, read)
    (memory,) = (pictures.parent / "cache").iterdir()
    memory.write_bytes(DAMAGES[damage])
    assert opened(pictures, read) == first
    assert len(read) == 4


def test_half_a_memory_is_only_slow(pictures: Path, read: list[str]) -> None:
    first = opened(pictures, read)
    (memory,) = (pictures.parent / "cache").iterdir()
    memory.write_bytes(memory.read_bytes()[:-100])
    assert opened(pictures, read) == first
    assert len(read) == 4


def test_a_memory_that_cannot_be_kept_is_only_slow(
    pictures: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures.parent / "file").touch()
    monkeypatch.setenv("CARRARA_CACHE", str(pictures.parent / "file"))
    assert opened(pictures, read) == opened(pictures, read)


def test_few_pictures_leave_no_trace(pictures: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FEW", 5)
    opened(pictures, read)
    assert not (pictures.parent / "cache").exists()


@pytest.mark.parametrize("every", [30.0, -1.0])
def test_an_interrupted_scan_goes_on(
    pictures: Path, read: list[str], monkeypatch: pytest.MonkeyPatch, every: float
) -> None:
    """By Ctrl-C; and where a process is killed, what was remembered until then is there."""
    monkeypatch.setattr("carrara.data.files._A_TASK", 1)
    monkeypatch.setattr(index, "EVERY", every)
    watched, remember, remembered = index.read_header, index._remember, list[int]()

    def interrupted(path: Path) -> Header:
        if path.name == "2.png":
            raise KeyboardInterrupt
        return watched(path)

    def counted(memory: Path, rows: NDArray[Any]) -> None:
        remembered.append(len(rows))
        remember(memory, rows)

    monkeypatch.setattr(index, "read_header", interrupted)
    monkeypatch.setattr(index, "_remember", counted)
    with pytest.raises(KeyboardInterrupt):
        Folder(pictures)
    assert remembered == ([2] if every > 0 else [1, 2, 2])
    monkeypatch.setattr(index, "read_header", watched)
    assert len(opened(pictures, read)) == 4
    assert sorted(read) == ["2.png", "3.png"]
