"""JSON and YAML from strangers: what is beyond the bounds is one sentence, and never waited for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from carrara.errors import UserError
from carrara.files import (
    BadFile,
    Malformed,
    as_kind,
    documents,
    parse_json,
    parse_yaml,
    read_as,
    read_json,
    read_lines,
    read_yaml,
)
from carrara.recipe.layers import from_arguments, from_file, from_yaml

BAD_JSON = {
    "nothing": (b"", "is no JSON"),
    "half": (b'{"a": 1', "is no JSON"),
    "two": (b"{} {}", "is no JSON"),
    "no text": (b"\xff\xfe\x00", "is no"),
    "nested lists": (b"[" * 100_000, "nested more than 64"),
    "nested lists that end": (b"[" * 100_000 + b"]" * 100_000, "nested more than 64"),
    "nested mappings": (b'{"a":' * 100_000, "nested more than 64"),
    "65 deep": (b"[" * 66 + b"]" * 66, "nested more than 64"),
    "5,000 digits": (b"1" * 5000, "a number of 5000 digits"),
    "5,000 digits, negative": (b"-" + b"1" * 5000, "digits"),
    "41 digits": (b"1" * 41, "digits"),
    "too large": (b"1e999", "too large"),
    "NaN": (b"NaN", "NaN"),
    "lone surrogate": (b'"\\ud800"', "lone surrogate"),
    "lone surrogate as a key": (b'{"\\udfff": 1}', "lone surrogate"),
}
BAD_YAML = {
    "alias bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]",
    "itself": "&a [*a]",
    "itself as a key": "a: &a {*a : 1}",
    "merge": "a: &a {b: 1}\nc:\n  <<: *a",
    "nested lists": "[" * 100_000,
    "nested blocks": "- " * 5000,
    "nested mappings": "{a: " * 5000,
    "5,000 digits": "a: " + "1" * 5000,
    "5,000 hexadecimal digits": "a: 0x" + "f" * 5000,
    "base 60": "a: 1" + ":1" * 3000,
    "code": "!!python/object/apply:os.system ['true']",
    "name of code": "a: !!python/name:os.system",
    "month 13": "a: 2020-13-45",
    "a date": "a: 2020-01-01",
    "bytes": "a: !!binary aGk=",
    "a set": "a: !!set {x}",
    "pairs": "a: !!pairs [x: y]",
    "a number as a key": "1: 2",
    "nothing as a key": "null: 2",
    "a list as a key": "? [a]\n: b",
    "zero": "a: \0",
    "surrogate": "a: \ud800",
    "two documents": "a: 1\n---\nb: 2",
    "no whole number": "a: !!int ''",
    "no number": "a: !!float ''",
    "no truth": "a: !!bool x",
    "no time": "!!timestamp 'x'",
    "another version": "%YAML 9.9\n---\na",
    "too long": "a: " + "x" * (1 << 18),
    "tabs": "a:\n\t- b",
}


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_json_is_one_sentence(tmp_path: Path, case: str) -> None:
    text, why = BAD_JSON[case]
    with pytest.raises(Malformed, match=why):
        parse_json(text)
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(BadFile, match=rf"a\.json' .*{why}"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"\xef\xbb\xbf{}", {}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[" * 64 + b"]" * 64, None),
        (b"1" * 40, int("1" * 40)),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"Infinity", math.inf),
        (b"[" + b"[]," * 5000 + b"[]]", None),
    ],
)
def test_good_json_is_read(text: bytes, value: Any) -> None:
    assert value is None or parse_json(text) == value
    parse_json(text)


@pytest.mark.parametrize("case", BAD_YAML)
def test_bad_yaml_is_one_sentence(tmp_path: Path, case: str) -> None:
    text = BAD_YAML[case]
    with pytest.raises((Malformed, yaml.MarkedYAMLError)):
        parse_yaml(text)
    with pytest.raises(UserError, match=r"^a\.yaml.*: this is not valid YAML"):
        from_yaml(text, "a.yaml")
    (tmp_path / "a.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(BadFile, match=r"a\.yaml'"):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(UserError):
        from_file(tmp_path / "a.yaml")
    with pytest.raises(UserError):
        from_arguments([f"train={text}"])


def test_a_key_that_stands_twice_is_there_twice() -> None:
    read = parse_yaml("a: 1\nb:\n  a: 2\na: 3")
    assert read.values == {"a": 3, "b": {"a": 2}}
    assert read.lines == ((("a",), 1), (("b",), 2), (("b", "a"), 3), (("a",), 4))


def test_a_path_of_an_argument_is_bounded() -> None:
    with pytest.raises(UserError, match="nested more than 64 deep"):
        from_arguments([".".join("a" * 5000) + "=1"])


def test_a_line_without_an_end_is_not_read_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "_ENDLESS", 3 * documents.LINE)
    path = tmp_path / "lines"
    path.write_bytes(b"x" * (3 * documents.LINE) + b"\n" + b"y" * (9 * documents.LINE) + b"\nlast\n")
    assert [(number, text[:1]) for number, text in read_lines(path)] == [(1, b"x"), (2, b"y")]


def test_lines_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\n\n" + b"x" * (5 << 20) + b"\nthree\r\nhalf")
    found = list(read_lines(path))
    assert [number for number, _ in found] == [1, 3, 4, 5]
    assert [line for _, line in found][::2] == [b"one", b"three"]
    assert len(found[1][1]) == 1 << 20


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A type of a document."""

    count: Annotated[int, Field(ge=0)]
    share: float = 0.5
    limit: float = field(default=1.0, metadata={"unlimited": True})
    parts: tuple[float, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict[str, Any])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "'count' wrong"),
        ({"count": -1}, "'count' wrong"),
        ({"count": None}, "'count' wrong"),
        ({"count": []}, "'count' wrong"),
        ({"count": 1 << 63}, "'count' wrong"),
        ({"count": 10**30}, "'count' wrong"),
        ({"count": 1, "share": "nan"}, "'share' wrong"),
        ({"count": 1, "share": "inf"}, "'share' wrong"),
        ({"count": 1, "share": math.inf}, "'share' wrong"),
        ({"count": 1, "limit": "nan"}, "'limit' wrong"),
        ({"count": 1, "parts": [1, "inf"]}, r"'parts\.1' wrong"),
        ({"count": 1, "rest": {"a": [{"b": math.nan}]}}, r"'rest\.a\.0\.b' wrong"),
        ([], "holds something else"),
        (None, "holds something else"),
        ("x" * 5000, "holds something else"),
    ],
)
def test_a_type_refuses_what_it_does_not_hold(tmp_path: Path, values: Any, why: str) -> None:
    with pytest.raises(Malformed, match=why) as raised:
        as_kind(values, Kind)
    assert len(str(raised.value)) < 300


def test_a_type_says_what_may_be_infinite(tmp_path: Path) -> None:
    assert as_kind({"count": 1, "limit": math.inf}, Kind).limit == math.inf
    (tmp_path / "a.json").write_text('{"count": 1, "more": 2}')
    assert read_as(tmp_path / "a.json", Kind) == Kind(count=1)
    (tmp_path / "a.json").write_text('{"count": {}}')
    with pytest.raises(BadFile, match=r"a\.json' has 'count' wrong"):
        read_as(tmp_path / "a.json", Kind)
