"""Captions beside pictures, in every way that people write them."""

import codecs
import json
import logging
from pathlib import Path

import pytest
from picture_files import write

from carrara.data import Folder, Reading
from carrara.data.folder import looks_captioned
from carrara.data.folder.beside import decoded
from carrara.files import Malformed


def captions(folder: Path, **keys: str) -> list[tuple[str, ...]]:
    data = Folder(folder, reading=Reading(**keys))
    return [data.captions(k) for k in range(len(data))]


@pytest.mark.parametrize(
    "content",
    [
        "Käse, 寿司".encode(),
        codecs.BOM_UTF8 + "Käse, 寿司".encode(),
        "Käse, 寿司".encode("utf-16"),
        codecs.BOM_UTF16_BE + "Käse, 寿司".encode("utf-16-be"),
        "Käse, 寿司 und Brot".encode("utf-16-le"),
        "Käse, 寿司 und Brot".encode("utf-16-be"),
    ],
)
def test_encodings(content: bytes) -> None:
    assert decoded(content).startswith("Käse, 寿司")


@pytest.mark.parametrize(("content", "byte"), [("Käse".encode("latin-1"), 1), (b"\xff", 0), (b"ab\x80", 2)])
def test_what_is_neither_is_told_with_the_byte(content: bytes, byte: int) -> None:
    with pytest.raises(Malformed, match=rf"neither UTF-8 nor UTF-16 \(byte {byte}\): save it as UTF-8"):
        decoded(content)


@pytest.mark.parametrize(
    "name",
    ["a.txt", "a.TXT", "a.caption", "a.Captions", "a.cap", "a.text", "a.prompt", "a.PNG.txt", "captions/a.txt"],
)
def test_endings_in_any_case_and_places(name: str, tmp_path: Path) -> None:
    write(tmp_path, "a.PNG")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("a cat\n")
    assert captions(tmp_path) == [("a cat",)] and looks_captioned(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "one\n\n  two \r\nthree", ("one", "two", "three")),
        ("a.txt", "red, cat, sitting", ("red, cat, sitting",)),
        ("a.txt", " \n ", ()),
        ("a.txt", '{"caption": "a cat", "score": 3}', ("a cat",)),
        ("a.txt", '["a cat", "a pet"]', ("a cat", "a pet")),
        ("a.txt", "[a cat] in brackets", ("[a cat] in brackets",)),
        ("a.txt", "0 0.5 0.5 0.25 0.25\n1 0.1 0.1 0.2 0.2", ()),
        ("a.txt", "7 cats", ("7 cats",)),
        ("a.tags", "red\ncat\n", ("red, cat",)),
        ("a.json", '{"tags": ["red", "cat"], "width": 3}', ("red, cat",)),
        ("a.json", '{"captions": ["a cat", "a pet"]}', ("a cat", "a pet")),
        ("a.json", '{"title": "a.png", "url": "x"}', ()),
    ],
)
def test_lines_tags_and_json(name: str, text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    (tmp_path / name).write_text(text)
    assert captions(tmp_path) == [expected]


def test_a_file_can_be_one_caption(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert captions(tmp_path, lines="one") == [("one\ntwo",)]
    assert any(
        "in 1 file each line is a caption (data.source.lines=one" in line for line in Folder(tmp_path).info.remarks
    )


def test_one_ending_goes_before_another_and_each_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    for ending in ("txt", "tags", "note"):
        (tmp_path / f"a.{ending}").write_text(f"of {ending}")
    (tmp_path / "b.json").write_text(json.dumps({"prompt": "of json"}))
    assert captions(tmp_path) == [("of txt",), ("of json",)]
    assert captions(tmp_path, captions=".tags") == [("of tags",), ()]
    assert captions(tmp_path, captions=".NOTE") == [("of note",), ()]
    assert captions(tmp_path, captions="names") == [("a",), ("b",)]
    assert captions(tmp_path, captions="none") == [(), ()]
    said = " ".join(Folder(tmp_path).info.remarks)
    assert "1 .tags beside them are not needed (data.source.captions=.tags takes them)" in said


def test_what_is_wrong_is_said_once_and_what_is_empty_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "a.png", "b.png", "c.png", "d.png")
    (tmp_path / "a.txt").write_bytes("Käse".encode("latin-1"))
    (tmp_path / "b.json").write_text('{"width": 3}')
    (tmp_path / "c.txt").write_text("")
    (tmp_path / "d.txt").write_text("a cat")
    with caplog.at_level(logging.WARNING):
        remarks = Folder(tmp_path).info.remarks
    (message,) = caplog.messages
    assert "left out 2 captions" in message and "'a.txt' is neither UTF-8" in message
    assert "'b.json' has no caption under one of the usual names" in message
    assert any("captions of 1 picture" in line and "1 file with nothing in it" in line for line in remarks)


def test_classes_beside_pictures(tmp_path: Path) -> None:
    write(tmp_path, "x/a.png", "x/b.png", "y/c.png")
    for name, label in (("x/a", "cat"), ("x/b", "dog"), ("y/c", "cat")):
        (tmp_path / f"{name}.cls").write_text(f"{label}\n")
    assert Folder(tmp_path).info.classes == ("cat", "dog")


def test_files_with_nothing_in_them_are_counted_where_there_are_no_captions(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(" \n")
    assert Folder(tmp_path).info.remarks == ("no caption is in 2 files beside pictures",)
