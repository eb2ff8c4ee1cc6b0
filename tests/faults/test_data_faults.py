"""Data of strangers, and data that change: a picture or a reason; never a wait, a crash or another picture."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import hostile_pictures as hostile
import numpy as np
import pytest
import torch
from picture_files import array, encoded, picture, truncated_jpeg, write
from PIL import Image, PngImagePlugin

from carrara.data import Folder, Loader, Mapped, Transform, Unreadable, batch_of, inspect_folder
from carrara.data.files import decode, read_header
from carrara.data.folder import find, looks_captioned
from carrara.data.inspection.examining import examine
from carrara.errors import UserError
from tiny import TINY, Command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, devices and links are POSIX's")
SMALL = Transform(size=(8, 8))


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """What waits for ever fails."""

    def late(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def plug(path: Path) -> None:
    """A socket; its name may be of any length."""
    here = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)
    os.chdir(here)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def piped(path: Path) -> None:
    os.mkfifo(path.with_name(".pipe"))
    path.symlink_to(".pipe")


NO_FILES: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a link to a pipe": piped,
    "a socket": plug,
    "a device": link("/dev/zero"),
    "a terminal": link("/dev/tty"),
    "what a process says": link("/proc/self/environ"),
    "the kernel's memory": link("/proc/kcore"),
    "the kernel's news": link("/proc/kmsg"),
    "a link to nothing": link("gone"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.fixture(params=NO_FILES)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    """Puts what is no file beside two pictures."""

    def put(name: str) -> Path:
        NO_FILES[request.param](write(tmp_path, "a.png", "b.png") / name)
        return tmp_path

    return put


@pytest.mark.parametrize("ending", ["png", "webp", "npy"])
def test_no_file_is_no_picture(odd: Callable[[str], Path], ending: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = odd(f"odd.{ending}")
    data = Folder(folder)
    assert [data.name(k) for k in range(len(data))] == ["a.png", "b.png"]
    (message,) = caplog.messages
    assert f"left out 1 unreadable of 3 pictures: 'odd.{ending}' (it " in message
    report = inspect_folder(folder)
    assert (report.count, report.good, list(report.faults["corrupt"])) == (3, 2, [f"odd.{ending}"])
    with pytest.raises(Unreadable):
        decode(folder / f"odd.{ending}")


def test_no_file_is_no_caption(odd: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    folder = odd("a.txt")
    (folder / "b.txt").write_text("b")
    data = Folder(folder)
    assert (data.captions(0), data.captions(1)) == ((), ("b",))
    (message,) = caplog.messages
    assert message.startswith("left out 1 caption that cannot be read: '") and "a.txt' " in message


def test_no_file_is_no_map(odd: Callable[[str], Path]) -> None:
    data = Folder(odd("a.map.png"))
    assert len(data) == 2
    with pytest.raises(Unreadable):
        data.map(0)
    with pytest.raises(Unreadable, match="its map: it"):
        Mapped(data, [(0, 0, 0)]).columns(0)


def test_no_file_is_no_metadata(odd: Callable[[str], Path]) -> None:
    folder = odd("metadata.jsonl")
    assert not looks_captioned(folder)
    with pytest.raises(UserError, match=r"metadata\.jsonl' (is|cannot|leads)"):
        Folder(folder)


@pytest.mark.parametrize("target", [".", "..", "/", "/proc", "/proc/self", "/sys", "/dev", "/proc/self/cwd", "sub"])
def test_folders_that_lead_in_circles_or_out_of_the_world_are_passed_over(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "above" / "data"
    write(folder, "a.png", "sub/b.png", "sub/below/c.png")
    write(tmp_path, "outside.png", "above/secret.png")
    monkeypatch.chdir(folder)
    for name in ("link", "sub/link", "sub/below/link"):
        (folder / name).symlink_to(folder / target)
    assert find(folder).pictures == ["a.png", "sub/b.png", "sub/below/c.png"] or target == "sub"
    assert len(find(folder).pictures) == 3
    assert len(Folder(folder)) == 3


def test_another_folder_is_followed_once(tmp_path: Path) -> None:
    write(tmp_path, "data/a.png", "other/b.png")
    (tmp_path / "other" / "back").symlink_to(tmp_path / "data")
    for name in ("one", "two"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "other")
    assert find(tmp_path / "data").pictures == ["a.png", "one/b.png"]


def test_what_is_made_up_has_no_pictures() -> None:
    with pytest.raises(UserError, match="no pictures in '/proc'"):
        Folder("/proc")


def test_deep_folders_and_folders_named_like_pictures(tmp_path: Path) -> None:
    write(tmp_path, "x.png/a.png")
    deep = tmp_path
    for _ in range(300):
        deep = deep / "d"
    deep.mkdir(parents=True)
    picture().save(deep / "b.png")
    assert [name[-5:] for name in find(tmp_path).pictures] == ["b.png", "a.png"]


def test_a_folder_that_may_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a.png", "shut/b.png")
    looked = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith(shut):
            raise PermissionError(13, "Permission denied")
        return looked(path)

    monkeypatch.setattr(os, "scandir", refuse)
    shut = "shut"
    assert len(Folder(tmp_path)) == 1
    assert caplog.messages == ["left out 1 folders that may not be looked into: 'shut'"]
    shut = tmp_path.name
    with pytest.raises(UserError, match="get leave to read it"):
        Folder(tmp_path)


NAMES = (b"\xff\xfe.png", b"a\nb.png", b"\x1b[31m.png", b"[red].png", b"'.png", b"%s {0}.png", b"\xed\xa0\x80.png")


def test_names_of_any_bytes(tmp_path: Path, carrara: Command, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9\n")
    for k, name in enumerate(NAMES):
        for above in (b"cat\xff", b"dog\r"):
            path = folder / os.fsdecode(above) / os.fsdecode(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(key=k).save(path)
        path.with_suffix(".txt").write_text("said")
    (folder / os.fsdecode(b"cat\xff") / os.fsdecode(b"torn\xff\n.png")).write_bytes(b"")
    data = Folder(folder)
    said = [data.name(k) for k in range(len(data))] + [*data.info.classes, data.info.name, *caplog.messages]
    assert len(data) == 2 * len(NAMES) and data.info.classes == ("cat\\xff", "dog\\x0d")
    assert all(text.isprintable() and text.encode() for text in said), said
    assert all(data.pixels(k).shape == (12, 16, 3) for k in range(len(data)))
    code, printed = carrara("inspect", "data", folder)
    assert code == 0 and "caf\\xe9\\x0a: 15 pictures" in printed and "torn\\xff\\x0a.png (the file is empty)" in printed


@pytest.mark.parametrize("name", hostile.PICTURES)
def test_a_hostile_picture_is_a_picture_or_has_a_reason(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(hostile.PICTURES[name])
    assert_told(tmp_path / name)


def assert_told(path: Path) -> None:
    """A file is a picture, or it is said why it is none; and if its header says so, its pixels say so too."""
    header = read_header(path)
    try:
        pixels = decode(path)
    except Unreadable as error:
        assert str(error) and str(error).isprintable() and len(str(error)) < 300
    else:
        assert header.problem is None and pixels.shape == (*(header.size or ()), header.channels)


def test_hostile_arrays_have_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile.write_arrays(tmp_path)
    monkeypatch.setattr("builtins.eval", lambda *_: pytest.fail("it was run"))
    report = inspect_folder(tmp_path)
    assert report.good == 0 and report.count == len(hostile.ARRAYS) + 3
    assert report.faults["oversized"].keys() >= {"sparse.npy", "sparse header.npy", "16 GB in 100 bytes.npy"}


def test_arrays_of_any_version_and_order(tmp_path: Path) -> None:
    values = array()
    for version in ((1, 0), (2, 0), (3, 0)):
        for order in "CF":
            with (tmp_path / "a.npy").open("wb") as file:
                np.lib.format.write_array(file, np.array(values, order=order), version=version)  # type: ignore[call-overload]
            assert np.array_equal(decode(tmp_path / "a.npy"), values)


def files() -> Iterator[tuple[str, bytes]]:
    """A small picture of each format, with what may lie beside the pixels."""
    image, exif, about = picture(24, 20), Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112], exif[0x010E] = 6, "x" * 50
    about.add_itxt("a", "ü" * 50, zip=True)
    profile = bytes(range(200))
    yield "a.png", encoded(image, "PNG", pnginfo=about, exif=exif, icc_profile=profile)
    yield "a.jpg", encoded(image, "JPEG", exif=exif, icc_profile=profile, progressive=True)
    yield "a.webp", encoded(image, "WEBP", exif=exif.tobytes())
    yield "b.webp", encoded(image, "WEBP", save_all=True, append_images=[picture(24, 20, 3)])
    yield "a.gif", encoded(image, "GIF", save_all=True, append_images=[picture(24, 20, 3)])
    yield "a.tif", encoded(image, "TIFF", compression="tiff_lzw")
    yield "b.tif", encoded(image, "TIFF", exif=exif)
    yield "a.bmp", encoded(image, "BMP")
    array_file = BytesIO()
    np.save(array_file, array(24, 20))
    yield "a.npy", array_file.getvalue()


FILES = dict(files())


@pytest.mark.parametrize("name", FILES)
def test_files_that_end_anywhere(name: str, tmp_path: Path) -> None:
    content = FILES[name]
    for end in range(0, len(content), min(100, len(content) // 20)):
        (tmp_path / name).write_bytes(content[:end])
        assert_told_or_torn(tmp_path / name)


@pytest.mark.parametrize("name", FILES)
def test_files_with_wrong_bytes(name: str, tmp_path: Path) -> None:
    rng, content = np.random.default_rng(0), np.frombuffer(FILES[name], np.uint8)
    for _ in range(60):
        changed = content.copy()
        places = rng.integers(0, len(content), rng.integers(1, 6))
        changed[places] = rng.integers(0, 256, len(places))
        (tmp_path / name).write_bytes(changed.tobytes())
        assert_told_or_torn(tmp_path / name)


def assert_told_or_torn(path: Path) -> None:
    """As ``assert_told``, where what a header says of the size need not be so."""
    read_header(path)
    try:
        assert decode(path).ndim == 3
    except Unreadable as error:
        assert str(error) and str(error).isprintable() and len(str(error)) < 300


GONE = {
    "above": {"file_name": "../outside.png"},
    "within and above": {"file_name": "sub/../../outside.png"},
    "absolute": {"file_name": "/etc/hostname"},
    "a folder": {"file_name": "sub"},
    "the folder": {"file_name": "."},
    "a zero": {"file_name": "a.png\0"},
    "a long name": {"file_name": "a" * 5000},
}
"""Lines that name what is no picture of the folder."""
PLAIN = {
    "map of nothing": {"file_name": "a.png", "map": ""},
    "text null": {"file_name": "a.png", "text": None},
    "text of lists": {"file_name": "a.png", "text": [["a"]]},
    "label of numbers": {"file_name": "a.png", "label": [1, 2]},
}
"""Lines that say little, and are read."""
LINES = {
    "map above": {"file_name": "a.png", "map": "../outside.png"},
    "map absolute": {"file_name": "a.png", "map": "/etc/hostname"},
    "map in a circle": {"file_name": "a.png", "map": "up/outside.png"},
    "map that is no picture": {"file_name": "a.png", "map": "metadata.jsonl"},
    "map that is hidden": {"file_name": "a.png", "map": ".hidden.png"},
    "no name": {"file_name": ""},
    "a name of names": {"file_name": ["a.png"]},
    "nothing": None,
    "text true": {"file_name": "a.png", "text": True},
    "text too long": {"file_name": "a.png", "text": "a" * 70_000},
    "label of things": {"file_name": "a.png", "label": {"a": 1}},
    "vector true": {"file_name": "a.png", "vector": [True]},
    "vector text": {"file_name": "a.png", "vector": "a b"},
    "vector null": {"file_name": "a.png", "vector": [None]},
    "vector of vectors": {"file_name": "a.png", "vector": [[1]]},
    "vector too large": {"file_name": "a.png", "vector": [1e39]},
    "vector of long numbers": {"file_name": "a.png", "vector": [10**39]},
    "vector too wide": {"file_name": "a.png", "vector": [0] * 70_000},
}
TEXTS = {
    "NaN": b'{"file_name": "a.png", "vector": [NaN]}',
    "infinity": b'{"file_name": "a.png", "vector": [-Infinity]}',
    "1e999": b'{"file_name": "a.png", "vector": [1e999]}',
    "many digits": b'{"file_name": "a.png", "label": ' + b"9" * 5000 + b"}",
    "deep": b'{"file_name": "a.png", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and open": b"[" * 500_000,
    "half a letter": b'{"file_name": "a.png", "text": "\\ud800"}',
    "no UTF-8": b'{"file_name": "a.png", "text": "\xff"}',
    "UTF-16": '{"file_name": "a.png"}'.encode("utf-16"),
    "10 MB": b'{"file_name": "a.png", "text": "' + b"a" * 10_000_000 + b'"}',
    "10 MB of nothing": b"\0" * 10_000_000,
    "two in a line": b'{"file_name": "a.png"} {"file_name": "b.png"}',
    "half": b'{"file_name": "a.png", "te',
}


@pytest.mark.parametrize("case", [*LINES, *TEXTS])
def test_hostile_metadata_are_refused_with_the_line(case: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "data", "a.png", "b.png", "sub/c.png", ".hidden.png")
    write(tmp_path, "outside.png")
    (folder / "up").symlink_to(tmp_path)
    line = json.dumps(LINES[case]).encode() if case in LINES else TEXTS[case]
    (folder / "metadata.jsonl").write_bytes(b'{"file_name": "b.png"}\r\n\r\n' + line)
    with pytest.raises(UserError) as error:
        Folder(folder)
    assert "line 3: " in error.value.message and error.value.message.isprintable() and len(str(error.value)) < 600


@pytest.mark.parametrize("case", GONE)
def test_metadata_name_nothing_that_the_folder_does_not_show(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path / "data", "a.png", "b.png", "sub/c.png", ".hidden.png")
    write(tmp_path, "outside.png")
    rows = [{"file_name": "b.png", "text": "b"}, {**GONE[case], "text": "c"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = Folder(folder)
    assert [data.captions(k) for k in range(3)] == [(), ("b",), ()]
    (message,) = caplog.messages
    assert message.startswith("left out 1 row of metadata.jsonl: line 2: there is no picture '")
    assert message.isprintable() and len(message) < 200


@pytest.mark.parametrize("case", PLAIN)
def test_lines_that_say_little_are_read(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (write(tmp_path, "a.png") / "metadata.jsonl").write_text(json.dumps(PLAIN[case]))
    assert len(Folder(tmp_path)) == 1 and not caplog.messages


def test_rows_of_one_picture_are_captions_of_it(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    rows = [{"file_name": "a.png", "text": "x"}, {"file_name": "./a.png", "text": ["y", "x"], "label": 3}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = Folder(tmp_path)
    assert data.captions(0) == ("x", "y") and data.info.classes == ("3",)


@pytest.mark.parametrize("content", [b"", b"\n\r\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"])
def test_empty_metadata_say_nothing(content: bytes, tmp_path: Path) -> None:
    (write(tmp_path, "a.png") / "metadata.jsonl").write_bytes(content)
    assert len(Folder(tmp_path)) == 1 and not Folder(tmp_path).info.captions


def test_metadata_as_other_systems_write_them(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "x/ü.png")
    text = '\ufeff{"file_name": "a.png", "text": "ä\\u00df"}\r\n{"file_name": "x/ü.png", "text": ["a", "b"], "x": null}'
    (tmp_path / "metadata.jsonl").write_bytes(text.encode())
    assert looks_captioned(tmp_path)
    assert [Folder(tmp_path).captions(k) for k in range(2)] == [("äß",), ("a", "b")]


def test_more_classes_than_can_be_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    rows = [{"file_name": name, "label": [f"{name} {k}" for k in range(40_000)]} for name in ("a.png", "b.png")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match="80000 classes"):
        Folder(tmp_path)


def test_captions_of_any_bytes_and_not_of_any_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a.png", "b.png", "c.png", "d.png", "e.png")
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\0")
    (tmp_path / "b.txt").write_bytes(b"b" * 65_536)
    (tmp_path / "c.txt").write_bytes(b"c" * 65_537)
    with (tmp_path / "d.txt").open("wb") as file:
        file.truncate(1 << 34)
    data = Folder(tmp_path)
    assert [len(text) for k in range(5) for text in data.captions(k)] == [65_536]
    (message,) = caplog.messages
    assert "left out 3 captions" in message and "c.txt' has 65537 bytes" in message and looks_captioned(tmp_path)
    assert "'a.txt' is neither UTF-8 nor UTF-16 (byte 3): save it as UTF-8" in message


def corrupt(folder: Path) -> Path:
    """40 pictures of which 2 cannot be read: one by its header, one by its pixels."""
    write(folder, *[f"{k:02}.png" for k in range(38)])
    (folder / "17.png").write_bytes(b"no picture")
    (folder / "30x.jpg").write_bytes(truncated_jpeg())
    picture(key=99).save(folder / "99.png")
    return folder


def shown(loader: Loader, steps: int, start: int = 0) -> torch.Tensor:
    batches = loader.batches(start)
    found = torch.cat([batch.x for batch in islice(batches, steps)])
    batches.close()
    return found


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_the_order_is_the_same_however_broken_files_are_met(
    memory: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = corrupt(tmp_path)
    found: list[torch.Tensor] = []
    Folder(folder)
    assert [text[:60] for text in caplog.messages] == ["left out 1 unreadable of 40 pictures: '17.png' (not a .png f"]
    for workers in (0, 1, 4):
        caplog.clear()
        data = Folder(folder)
        found.append(shown(Loader(data, SMALL, 8, seed=3, memory=memory, workers=workers), 15))
        again = Loader(data, SMALL, 8, seed=3, memory=memory, workers=workers)
        assert torch.equal(shown(again, 6, start=9), found[0][72:]), "as after an interruption"
        assert caplog.messages == ["'30x.jpg' cannot be used (the file is truncated): '31.png' takes its place"]
    assert all(torch.equal(found[0], other) for other in found)
    (folder / "30x.jpg").unlink()
    whole = batch_of(Folder(folder), SMALL, range(38)).x
    assert {x.numpy().tobytes() for x in found[0]} == {x.numpy().tobytes() for x in whole}


def test_a_training_with_broken_files_ends_well(
    tmp_path: Path, carrara: Command, caplog: pytest.LogCaptureFixture
) -> None:
    code, said = carrara("train", corrupt(tmp_path / "p"), "--run", tmp_path / "run", *TINY, "train.steps=12")
    assert code == 0, said
    assert sorted(caplog.messages) == [
        "'30x.jpg' cannot be used (the file is truncated): '31.png' takes its place",
        "left out 1 unreadable of 40 pictures: '17.png' (not a .png file inside)",
    ]


def rewritten(path: Path) -> None:
    picture(key=77).save(path)


def replaced(path: Path) -> None:
    picture(key=77).save(path.with_suffix(".tmp"), "PNG")
    path.with_suffix(".tmp").rename(path)


def backdated(path: Path) -> None:
    """Another content of the same size and date."""
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-40] + bytes(40))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def into_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGED = r"not what it was when this began: run the same command again"
CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "rewritten": (rewritten, CHANGED),
    "replaced": (replaced, CHANGED),
    "backdated": (backdated, CHANGED),
    "touched": (lambda path: os.utime(path, ns=(1, 1)), CHANGED),
    "emptied": (lambda path: path.write_bytes(b""), CHANGED),
    "gone": (Path.unlink, "it is not there any more"),
    "a folder": (into_folder, "it is a folder"),
    "a pipe": (into_pipe, "it is a pipe"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_that_changes_is_named_and_not_trained_on(
    change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = Folder(write(tmp_path, *[f"{k}.png" for k in range(6)]))
    loader = Loader(data, SMALL, 6, seed=0, memory=0, workers=0)
    before = {x.numpy().tobytes() for x in loader.at(0).x}
    alter, words = CHANGES[change]
    alter(tmp_path / "3.png")
    after = [loader.at(k).x for k in (1, 2, 1)]
    assert {x.numpy().tobytes() for x in after[0]} < before and torch.equal(after[0], after[2])
    (message,) = caplog.messages
    assert message.startswith("'3.png' cannot be used (") and words in message and "'4.png' takes its place" in message


def test_a_map_that_changes_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "a.png", "a.map.png", "b.png", "b.map.png")
    data = Mapped(Folder(tmp_path), [(0, 0, 0)])
    rewritten(tmp_path / "a.map.png")
    assert Loader(data, SMALL, 2, seed=0, workers=0).at(0).columns["map"].shape == (2, 8, 8)
    assert "'a.png' cannot be used (its map: it is not what it was" in caplog.text


def test_links_and_leave_to_read_are_no_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A copy of the data by hard links changes what the file system remembers of each."""
    data = Folder(write(tmp_path, "a.png", "b.png"))
    os.link(tmp_path / "a.png", tmp_path / "copy")
    (tmp_path / "b.png").chmod(0o600)
    assert np.array_equal(data.pixels(0), array(key=0)) and np.array_equal(data.pixels(1), array(key=1))
    assert not caplog.messages


def test_data_that_are_gone_end_in_a_sentence(tmp_path: Path) -> None:
    data = Folder(write(tmp_path / "p", "a.png", "b.png"))
    (tmp_path / "p").rename(tmp_path / "q")
    with pytest.raises(UserError, match=r"none of the 2 examples can be used: '[ab]\.png' .*not there any more"):
        Loader(data, SMALL, 2, seed=0, workers=0).at(0)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_loader_has_its_threads_and_ends_them(workers: int, tmp_path: Path) -> None:
    def count() -> int:
        return sum("carrara-loader" in thread.name for thread in threading.enumerate())

    data = Folder(write(tmp_path, *[f"{k}.png" for k in range(5)]))
    batches = Loader(data, SMALL, 2, seed=0, workers=workers).batches()
    found = [next(batches).x for _ in range(9)]
    assert (count() > 0) == (workers > 0) and count() <= workers
    batches.close()
    assert count() == 0
    alone = Loader(data, SMALL, 2, seed=0, workers=0)
    assert all(torch.equal(x, alone.at(k).x) for k, x in enumerate(found))


def test_reasons_keep_no_pixels(tmp_path: Path) -> None:
    """A report on thousands of torn pictures does not hold them."""
    (tmp_path / "a.jpg").write_bytes(truncated_jpeg())
    header = read_header(tmp_path / "a.jpg")
    assert header.problem is None
    problem = examine(tmp_path, ["a.jpg"]).problems["a.jpg"]
    assert problem is not None and problem.__traceback__ is problem.__context__ is problem.__cause__ is None
