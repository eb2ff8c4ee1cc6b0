"""What is on the disk may be anything: only regular files are opened, and only so much of them is read."""

import os
import socket
from pathlib import Path

import pytest

from carrara.files import BadFile, is_folder, is_regular, open_picture, open_tensors, opened, read_bytes, read_text

NO_FILES = (
    "fifo",
    "link to a fifo",
    "device",
    "link to a device",
    "folder",
    "socket",
    "nothing",
    "circle",
    "long",
    "nul",
)


def no_file(kind: str, folder: Path) -> Path:
    """Something that is no regular file."""
    path = folder / "there"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "link to a fifo":
            os.mkfifo(folder / "fifo")
            path.symlink_to(folder / "fifo")
        case "device":
            return Path("/dev/zero")
        case "link to a device":
            path.symlink_to("/dev/tty")
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as there:
                there.bind(os.path.relpath(path))
        case "circle":
            path.symlink_to(path)
        case "long":
            return folder / ("x" * 5000)
        case "nul":
            return folder / "a\0b"
        case _:
            pass
    return path


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_and_never_waited_for(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = no_file(kind, tmp_path)
    assert not is_regular(path)
    assert is_folder(path) == (kind == "folder")
    for read in (read_bytes, read_text, open_tensors):
        with pytest.raises(BadFile, match=r"is a |is not there|cannot be read"):
            read(path)
    with pytest.raises(BadFile), open_picture(path):
        pass


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, 100) == b"x" * 100
    with pytest.raises(BadFile, match="has 100 bytes, and such a file has at most 99"):
        read_bytes(path, 99)
    os.truncate(path, 1 << 36)  # sparse: 64 GiB that are nowhere
    with pytest.raises(BadFile, match="has 68719476736 bytes"):
        read_bytes(path)


def test_a_file_that_grows_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at its size and the reading."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    real = os.fdopen

    def grown(descriptor: int, mode: str) -> object:
        path.write_bytes(b"x" * 1000)
        return real(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", grown)
    with opened(path) as file:
        assert len(file.read()) == 1000
    path.write_bytes(b"x" * 10)
    with pytest.raises(BadFile, match="and such a file has at most 20"):
        read_bytes(path, 20)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
def test_files_of_the_system_that_say_no_size_are_bounded_too() -> None:
    assert read_bytes(Path("/proc/self/status"))
    with pytest.raises(BadFile, match="at most 10"):
        read_bytes(Path("/proc/self/status"), 10)


def test_text_is_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf\xc3\xa4")
    assert read_text(path) == "ä"
    path.write_bytes(b"a\xff")
    with pytest.raises(BadFile, match="is no text in UTF-8"):
        read_text(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"")
    path.chmod(0)
    with pytest.raises(BadFile, match="cannot be read"):
        read_bytes(path)
