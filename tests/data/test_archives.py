"""Zip files as folders: what is in them is read as if it were unpacked, and nothing of a hostile one leads anywhere."""

import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from picture_files import array, write

from carrara.data import Folder, inspect_folder
from carrara.data.files import decode, read_header
from carrara.data.folder import find
from carrara.errors import UserError
from carrara.files import NEVER, BadFile, is_archive, members, opened, read_bytes, stamp_of


def packed(archive: Path, **files: bytes) -> Path:
    """A zip file of these."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return archive


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Path, Path]:
    """A folder, and a zip file of it."""
    folder = write(tmp_path / "photos", "a.png", "cat/b.jpg", "cat/ü 日本.webp", "dog/c.png")
    np.save(folder / "dog" / "d.npy", array())
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*.*")):
            file.write(path, path.relative_to(folder))
    return folder, tmp_path / "photos.zip"


def test_what_is_packed_is_as_it_was(photos: tuple[Path, Path]) -> None:
    folder, archive = photos
    names = members(archive)
    assert sorted(names) == ["a.png", "cat/b.jpg", "cat/ü 日本.webp", "dog/c.png", "dog/d.npy"]
    for name in names:
        inside, outside = read_header(archive / name), read_header(folder / name)
        assert inside.problem is None and inside.content == outside.content and inside.size == outside.size
        assert np.array_equal(decode(archive / name, inside), decode(folder / name, outside))
        assert read_bytes(archive / name) == (folder / name).read_bytes()
        assert stamp_of(archive / name)[0] == (folder / name).stat().st_size


def test_a_zip_file_is_a_data_set_like_its_folder(photos: tuple[Path, Path]) -> None:
    folder, archive = Folder(photos[0]), Folder(photos[1])
    assert [archive.name(k) for k in range(len(archive))] == [folder.name(k) for k in range(len(folder))]
    assert [archive.key(k) for k in range(len(archive))] == [folder.key(k) for k in range(len(folder))]
    assert archive.info.classes == folder.info.classes == ("cat", "dog")
    assert "photos.zip is read as it is" in archive.info.remarks[0]
    assert inspect_folder(photos[1]).good == 4


def test_only_zip_files_in_a_folder_are_read(tmp_path: Path, photos: tuple[Path, Path]) -> None:
    (tmp_path / "zips").mkdir()
    photos[1].rename(tmp_path / "zips" / "photos.zip")
    assert len(find(tmp_path / "zips").pictures) == 5
    assert Folder(tmp_path / "zips").info.classes == ("cat", "dog")


def test_zip_files_beside_pictures_are_told(photos: tuple[Path, Path], tmp_path: Path) -> None:
    found = Folder(tmp_path)
    assert all(".zip" not in found.name(k) for k in range(len(found)))
    assert any("photos.zip beside the pictures is passed over" in remark for remark in found.info.remarks)


@pytest.mark.parametrize("name", ["../out.png", "/abs.png", "C:/x.png", "a/../../out.png", "..\\out.png"])
def test_names_that_lead_out_are_not_there(name: str, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{name: b"x", "good.png": b"y"})
    assert members(archive) == ("good.png",)
    with pytest.raises(BadFile, match=r"is not there|cannot be read"):
        read_bytes(archive / name)


def test_links_are_not_there(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    assert members(tmp_path / "a.zip") == ()


def test_no_more_is_read_than_may_be(tmp_path: Path) -> None:
    archive = packed(tmp_path / "bomb.zip", **{"zeros.txt": bytes(50_000_000)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(BadFile, match="has 50000000 bytes, and such a file has at most 1000"):
        read_bytes(archive / "zeros.txt", 1000)


def test_an_archive_that_lies_about_sizes_is_damaged(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"a.txt": b"a" * 10_000})
    content = archive.read_bytes().replace((10_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(BadFile, match=r"a\.txt' (cannot be read|has)"):
        read_bytes(archive / "a.txt")


@pytest.mark.parametrize("cut", [0, 1, 30, 200])
def test_a_torn_archive_is_one_sentence(cut: int, tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"a.png": os.urandom(300)})
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"a\.zip' cannot be read: it is no zip file that is whole: .*Unpack it"):
        Folder(archive)


def test_what_is_secret_says_so(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"a.png": b"x" * 100})
    content = bytearray(archive.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + at] |= 1
    archive.write_bytes(content)
    with pytest.raises(BadFile, match="it is encrypted: unpack the archive"):
        read_bytes(archive / "a.png")


def test_what_changes_is_read_again(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", **{"a.txt": b"one"})
    assert read_bytes(archive / "a.txt") == b"one"
    packed(archive, **{"a.txt": b"three", "b.txt": b"x"})
    assert read_bytes(archive / "a.txt") == b"three" and len(members(archive)) == 2


def test_what_is_no_archive_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "d.zip").mkdir()
    assert not is_archive(tmp_path / "a.txt") and not is_archive(tmp_path / "d.zip")
    assert stamp_of(tmp_path / "a.txt" / "b") == NEVER
    with pytest.raises(BadFile, match="Not a directory"), opened(tmp_path / "a.txt" / "b"):
        pass


def test_a_zip_file_in_a_zip_file_is_not_read(tmp_path: Path) -> None:
    inner = packed(tmp_path / "inner.zip", **{"a.png": (write(tmp_path / "x", "a.png") / "a.png").read_bytes()})
    (tmp_path / "zips").mkdir()
    packed(tmp_path / "zips" / "outer.zip", **{"inner.zip": inner.read_bytes()})
    with pytest.raises(UserError, match=r"with other endings \(\.zip: unpack it\)"):
        Folder(tmp_path / "zips")


@pytest.mark.parametrize("inner", ["", "/"])
def test_zip_files_of_parts_are_a_split(inner: str, tmp_path: Path) -> None:
    for part, key in (("train", 0), ("test", 4)):
        folder = write(tmp_path / part, *(f"{name}/{k}.png" for name in ("cat", "dog") for k in range(key, key + 2)))
        within = {f"{inner and part + inner}{path.relative_to(folder)}": path for path in sorted(folder.rglob("*.png"))}
        (tmp_path / "zips").mkdir(exist_ok=True)
        packed(tmp_path / "zips" / f"{part}.zip", **{name: path.read_bytes() for name, path in within.items()})
    data = Folder(tmp_path / "zips")
    assert data.info.classes == ("cat", "dog")
    assert [data.held(k) for k in range(len(data))] == [data.name(k).startswith("test.zip/") for k in range(8)]
