"""``carrara inspect data``: what it writes, and where it writes nothing."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from tiny import Command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes, a copy, a blank one, an empty file, and what is no picture."""
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    pictures = tmp_path / "photos"
    for k, name in enumerate(("cat/a", "cat/b", "dog/c", "dog/d")):
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.linear_gradient("L").resize((60, 50)).rotate(80 * k, expand=False).convert("RGB")
        image.save(pictures / f"{name}.png")
    (pictures / "dog" / "e.png").write_bytes((pictures / "cat" / "a.png").read_bytes())
    Image.new("RGB", (60, 50), "grey").save(pictures / "cat" / "blank.png")
    (pictures / "cat" / "zero.png").write_bytes(b"")
    (pictures / "old.psd").write_bytes(b"8BPS")
    return pictures


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_findings_are_written_as_csv(folder: Path, carrara: Command) -> None:
    before = files(folder)
    code, said = carrara("inspect", "data", "photos", "--list", "lists/found.csv")
    assert code == 0 and "findings in lists/found.csv" in said
    with Path("lists/found.csv").open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["file", "finding", "detail", "other"]
    assert ["cat/zero.png", "corrupt", "the file is empty", ""] in rows
    assert ["cat/blank.png", "blank", "", ""] in rows
    assert ["dog/e.png", "in two classes", "dog and cat", "cat/a.png"] in rows
    assert ["*.psd", "passed over"] in [row[:2] for row in rows]
    assert {(row[0], row[3]) for row in rows if row[1] in ("duplicate", "in two classes")} == {
        ("dog/e.png", "cat/a.png")
    }
    assert f"{len(rows)} findings" in said
    assert files(folder) == before, "nothing there is changed"


def test_a_list_is_never_overwritten(folder: Path, carrara: Command) -> None:
    Path("found.csv").write_text("mine")
    code, said = carrara("inspect", "data", "photos", "--list", "found.csv")
    assert code == 2 and "is there already" in said and Path("found.csv").read_text() == "mine"


def test_the_sheet_is_drawn_again_in_its_own_place_and_beside_the_old_one_in_others(
    folder: Path, carrara: Command
) -> None:
    for _ in range(2):
        assert "runs/data/photos/contact-sheet.png" in carrara("inspect", "data", "photos")[1]
        assert carrara("inspect", "data", "photos", "--out", "sheets")[0] == 0
    assert [path.name for path in Path("runs/data/photos").iterdir()] == ["contact-sheet.png"]
    assert len(list(Path("sheets").iterdir())) == 2


@pytest.mark.parametrize("option", ["--list", "--out"])
def test_nothing_is_written_among_the_pictures(folder: Path, carrara: Command, option: str) -> None:
    before = files(folder)
    code, said = carrara("inspect", "data", "photos", option, "photos/cat/new")
    assert code == 2 and "lies among the pictures" in said and option in said
    assert files(folder) == before


def test_whoever_is_in_the_folder_gets_no_sheet(
    folder: Path, carrara: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = files(folder)
    code, said = carrara("inspect", "data", ".")
    assert code == 0 and "6 can be trained on" in said and "--out FOLDER says where" in said
    assert files(folder) == before


def test_a_place_that_cannot_be_written_costs_the_sheet_alone(folder: Path, carrara: Command) -> None:
    Path("runs").write_text("a file")
    code, said = carrara("inspect", "data", "photos")
    assert code == 0 and "6 can be trained on" in said and "contact-sheet.png" not in said.replace("\n", " ")
    code, said = carrara("inspect", "data", "photos", "--out", "runs/sheets")
    assert code == 2 and "can be trained on" not in said, "it is said before the work"


def test_no_colours_where_there_is_no_terminal(folder: Path, carrara: Command) -> None:
    _, said = carrara("inspect", "data", "photos")
    assert "▀" not in said and "\x1b" not in said
    assert max(map(len, said.splitlines())) > 80, "lines are whole, for grep"


def test_keys_say_what_the_folder_is_taken_as(folder: Path, carrara: Command) -> None:
    _, said = carrara("inspect", "data", "photos", "data.source.classes=none")
    assert "classes  " not in said
    code, said = carrara("inspect", "data", "photos", "data.source=digits")
    assert code == 2 and "Traceback" not in said
