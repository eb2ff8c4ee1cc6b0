"""Folders as people have them (``people.py``): what is recognised, what is said, and that a model trains on each."""

import logging
from pathlib import Path

import pytest
from people import FOLDERS, Given, markdown, opened

from carrara.errors import UserError
from tiny import TINY, Command

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
STEPS = ("train.steps=2", "checkpoint.every=2", "preview.every=0", "model.conditioner=none")
QUICK = {"classes", "split", "kohya", "coco", "numbers-as-labels", "vectors", "photos", "all-gone"}
"""A few of all kinds, which are trained on each time."""

each = pytest.mark.parametrize("given", FOLDERS, ids=lambda given: given.name)
each_or_slow = pytest.mark.parametrize(
    "given",
    [pytest.param(one, id=one.name, marks=() if one.name in QUICK else pytest.mark.slow) for one in FOLDERS],
)


def test_there_are_forty_and_each_is_another_one() -> None:
    assert len({given.name for given in FOLDERS}) == len(FOLDERS) >= 40
    assert all(given.says and not given.pictures for given in FOLDERS if given.refused)


@each
def test_what_is_recognised(given: Given, tmp_path: Path) -> None:
    place = given.make(tmp_path)
    if given.refused:
        with pytest.raises(UserError):
            opened(given, place)
        return
    data, settings = opened(given, place)
    names = [data.name(k) for k in range(len(data))]
    captions = {name: data.captions(k) for k, name in enumerate(names)}
    assert len(data) == given.pictures, names
    assert data.info.classes == given.classes
    assert sum(map(bool, captions.values())) == given.captions, captions
    if given.example is not None:
        picture, expected = given.example
        assert captions[picture] == expected
    held = [bool(data.held(k)) for k in range(len(data))]
    assert sum(held) == (given.held_out or 0)
    if given.held_out is not None:
        assert [len(part) for part in settings.parts(data)] == [given.pictures - given.held_out, given.held_out]
    assert data.info.vector_size == given.vector
    assert sum(data.map(k) is not None for k in range(len(data))) == given.maps
    if given.classes:
        assert all(data.columns(k)["label"].sum() == 1 for k in range(len(data)))


def drawn(folder: Path) -> set[Path]:
    """What `inspect data` may draw."""
    return {folder / "runs", *(folder / "runs").rglob("*")}


@each
def test_what_is_said(
    given: Given, tmp_path: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    place = given.make(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with caplog.at_level(logging.WARNING):
        inspected, report = carrara("inspect", "data", place.name, *given.options)
        trained, plan = carrara("train", place.name, *given.options, "--dry-run", "--preset", "pixel", *TINY, *STEPS)
    assert (inspected, trained) == ((2, 2) if given.refused else (0, 0)), (report, plan)
    assert "Traceback" not in report + plan
    said = report + caplog.text
    assert [words for words in given.says if words not in said] == [], said
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path not in drawn(tmp_path)}
    assert after == before, "nothing is written but a contact sheet"


@each_or_slow
def test_two_steps(given: Given, tmp_path: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = given.make(tmp_path)
    code, said = carrara("train", place.name, *given.options, "--run", "run", "--preset", "pixel", *TINY, *STEPS)
    assert code == (2 if given.refused else 0), said
    assert (tmp_path / "run" / "model" / "config.json").is_file() != given.refused


def test_the_page_has_the_table_as_it_comes_out_now() -> None:
    assert markdown() in PAGE.read_text(encoding="utf-8"), "python tests/data/people.py prints it"
