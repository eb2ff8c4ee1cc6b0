"""Tables beside pictures, under any of the usual names of files and columns."""

import csv
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from picture_files import write

from carrara.data import Folder, Reading, split
from carrara.data.folder.columns import FILE, LABEL, TEXT
from carrara.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"file_name": "a.png", "text": "a cat", "label": 3},
    {"file_name": "b.png", "text": "a dog, small", "label": 10},
]


def put(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes rows in the format of a file's ending."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))


def told(folder: Path, **keys: str) -> dict[str, tuple[tuple[str, ...], list[str]]]:
    """The captions and the classes of each picture."""
    data = Folder(folder, reading=Reading(**keys))
    found = {}
    for k in range(len(data)):
        weights = data.columns(k).get("label", [])
        labels = (
            [name for name, weight in zip(data.info.classes, weights, strict=True) if weight] if len(weights) else []
        )
        found[data.name(k)] = (data.captions(k), labels)
    return found


EXPECTED = {"a.png": (("a cat",), ["3"]), "b.png": (("a dog, small",), ["10"])}


@pytest.mark.parametrize("name", ["metadata", "captions", "labels", "anything"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "ndjson", "json", "parquet"])
def test_formats(name: str, ending: str, tmp_path: Path) -> None:
    put(write(tmp_path, "a.png", "b.png") / f"{name}.{ending}", ROWS)
    assert told(tmp_path) == EXPECTED


@pytest.mark.parametrize("column", [*FILE, "Image Path", "FILE-NAME", "whatever"])
def test_columns_of_names(column: str, tmp_path: Path) -> None:
    rows = [{column: row["file_name"], "text": row["text"], "label": row["label"]} for row in ROWS]
    put(write(tmp_path, "a.png", "b.png") / "metadata.csv", rows)
    assert told(tmp_path) == EXPECTED


@pytest.mark.parametrize("column", TEXT)
def test_columns_of_captions(column: str, tmp_path: Path) -> None:
    put(write(tmp_path, "a.png") / "x.csv", [{"file": "a.png", column: "a cat"}])
    assert told(tmp_path) == {"a.png": (("a cat",), [])}


@pytest.mark.parametrize("column", LABEL)
def test_columns_of_classes(column: str, tmp_path: Path) -> None:
    put(write(tmp_path, "a.png") / "x.csv", [{"file": "a.png", column: "cat"}])
    assert told(tmp_path) == {"a.png": ((), ["cat"])}


@pytest.mark.parametrize(
    "document",
    [
        {"a.png": "a cat"},
        {"a": {"caption": "a cat", "tags": "x"}},
        {"a.png": ["a cat"]},
        [{"filename": "a.png", "sentences": [{"raw": "a cat", "tokens": []}]}],
        {"images": [{"id": 3, "file_name": "a.png"}], "annotations": [{"image_id": 3, "caption": "a cat", "id": 1}]},
        {"data": [{"image": {"path": "somewhere/a.png"}, "text": "a cat"}]},
    ],
)
def test_documents(document: Any, tmp_path: Path) -> None:
    (write(tmp_path, "a.png") / "captions.json").write_text(json.dumps(document))
    assert told(tmp_path) == {"a.png": (("a cat",), [])}


def test_labels_as_stylegan_has_them(tmp_path: Path) -> None:
    write(tmp_path, "00000/a.png", "00000/b.png")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [["00000/a.png", 6], ["00000/b.png", 2]]}))
    assert Folder(tmp_path).info.classes == ("2", "6")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [["00000/a.png", [1, 2]], ["00000/b.png", [0, 0.5]]]}))
    assert Folder(tmp_path).info.vector_size == 2


@pytest.mark.parametrize(
    "name",
    [
        *("x/a.png", "./x/a.png", "a.png", "a", "A.PNG", "images/x/a.png", "/home/me/x/a.png"),
        *(r"C:\data\x\a.png", "https://host.example/x/a.png?size=3"),
    ],
)
def test_names_are_found(name: str, tmp_path: Path) -> None:
    put(write(tmp_path, "x/a.png", "x/b.png") / "t.csv", [{"file": name, "text": "a cat"}])
    assert told(tmp_path)["x/a.png"] == (("a cat",), [])


def test_numbers_name_padded_pictures(tmp_path: Path) -> None:
    put(write(tmp_path, "0007.png", "0010.png") / "t.csv", [{"id": 7, "text": "x"}, {"id": 10, "text": "y"}])
    assert told(tmp_path) == {"0007.png": (("x",), []), "0010.png": (("y",), [])}


def test_a_name_of_several_is_of_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "x/a.png", "y/a.png", "b.png")
    put(tmp_path / "t.csv", [{"file": "a.png", "text": "x"}, {"file": "b.png", "text": "y"}])
    with caplog.at_level(logging.WARNING):
        Folder(tmp_path)
    assert "line 2: several pictures are called 'a.png': write their folders too" in caplog.text


def test_tables_of_parts_lie_in_these(tmp_path: Path) -> None:
    write(tmp_path, "train/a.png", "train/b.png", "test/a.png")
    put(tmp_path / "train" / "metadata.csv", ROWS)
    put(tmp_path / "test" / "metadata.csv", [{"file_name": "a.png", "text": "another", "label": 3}])
    data = Folder(tmp_path)
    assert [data.captions(k) for k in range(3)] == [("another",), ("a cat",), ("a dog, small",)]
    assert [data.held(k) for k in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    "values", [("train", "val", "test"), ("0", "1", "2"), (0, 1, 2), ("Training", "valid", "eval2")]
)
def test_a_column_is_a_split(values: tuple[Any, ...], tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    rows = [{"image": f"{name}.png", "split": value} for name, value in zip("abc", values, strict=True)]
    put(tmp_path / "metadata.csv", rows)
    data = Folder(tmp_path)
    training, held_out = split(data, 0.05)
    assert [training.name(k) for k in range(len(training))] == ["a.png"]
    assert held_out.name(0) == "b.png"
    assert len(data) == (3 if values[2] == "eval2" else 2), "the test's part is left out, where there is another"
    assert (len(data) == 3) != ("and 1 picture of other parts left out" in data.info.remarks[0])
    whole = Folder(tmp_path, reading=Reading(split="none"))
    assert len(whole) == 3 and not any(whole.held(k) for k in range(3))


def test_pictures_of_one_name_are_of_the_part_that_their_table_is_called_by(tmp_path: Path) -> None:
    write(tmp_path, "train/1.png", "train/2.png", "test/1.png", "test/2.png")
    put(tmp_path / "trainLabels.csv", [{"id": 1, "label": "frog"}, {"id": 2, "label": "truck"}])
    frog, truck = ((), ["frog"]), ((), ["truck"])
    assert {name: one for name, one in told(tmp_path).items() if one[1]} == {"train/1.png": frog, "train/2.png": truck}


@pytest.mark.parametrize("text", ["0,5 1,25", "0,5; 1,25", "-0,5\t1,0"])
def test_points_that_are_commas_are_refused(text: str, tmp_path: Path) -> None:
    put(write(tmp_path, "a.png") / "metadata.csv", [{"file": "a.png", "vector": text}])
    with pytest.raises(UserError, match=r'line 2: "vector" is a list .* \(has commas for points: write 0\.5\)'):
        Folder(tmp_path)


def test_a_table_of_texts_may_be_called_captions(tmp_path: Path) -> None:
    (write(tmp_path, "x/a.png", "x/b.png") / "captions.txt").write_text(
        "image,caption\na.png,a cat\na.png,a small cat\n"
    )
    assert told(tmp_path) == {"x/a.png": (("a cat", "a small cat"), []), "x/b.png": ((), [])}
    write(tmp_path, "x/captions.png")
    (tmp_path / "captions.txt").rename(tmp_path / "x" / "captions.txt")
    assert told(tmp_path)["x/captions.png"][0] == ("image,caption", "a.png,a cat", "a.png,a small cat")


def test_a_wrong_row_of_any_table_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (write(tmp_path, "a.png", "b.png") / "results.csv").write_text("file|comment\na.png|a cat\nb.png|a dog|small\n")
    with caplog.at_level(logging.WARNING):
        assert told(tmp_path) == {"a.png": (("a cat",), []), "b.png": ((), [])}
    assert "left out 1 row of results.csv: line 3: it has more columns than the first line" in caplog.text


def test_all_errors_at_once(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    lines = ['{"file_name": "a.png"}', "{oops", '{"file_name": "b.png", "label": 0.5}', *['{"text": "x"}'] * 30]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,x,y\n")
    with pytest.raises(UserError) as error:
        Folder(tmp_path)
    first, *listed, last = error.value.message.split("\n")
    assert first == "33 things are wrong in the metadata:" and len(listed) == 20 and last == "  and 13 more"
    assert listed[0].endswith(
        "metadata.jsonl, line 2: not a JSON object (it is no JSON (expecting property name "
        "enclosed in double quotes in line 1, character 2))"
    )
    assert 'line 3: "label" is a name, a whole number, or a list of these, not 0.5' in listed[1]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.csv", "id,breed\na,pug\n", "none of its columns is known (breed): call captions"),
        ("x.csv", "a.png,pug\nb.png,pug\n", "its first line names no columns"),
        ("x.csv", "one,two\n1,2\n", "no column names pictures of the folder"),
        ("x.csv", "file,text,text\na.png,1,2\n", "has two columns called 'text'"),
        ("sample_submission.csv", "id,label\na,0\n", "answers to be handed in are no classes"),
        ("x.json", '{"images": [], "annotations": [{"bbox": [1]}]}', "annotations that are no captions, such as boxes"),
        ("x.csv", "", "it has no rows"),
        ("x.csv", "file,text\na.png,x,y\n", "line 2: it has more columns than the first line"),
        (
            "x.jsonl",
            '{"file": "a.png", "label": 0.5}',
            '"label" is a name, a whole number, or a list of these, not 0.5',
        ),
        ("x.json", '{"x": {"p": "a.png"}, "y": {"q": []}}', "it names pictures, and none of its columns is known"),
    ],
)
def test_tables_that_say_nothing_are_told(name: str, text: str, why: str, tmp_path: Path) -> None:
    (write(tmp_path, "a.png", "b.png") / name).write_text(text)
    data = Folder(tmp_path)
    assert not data.info.captions and not data.info.classes
    assert any(name in remark and "is passed over" in remark and why in remark for remark in data.info.remarks)


def test_one_table_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    for name in ("x", "y"):
        put(tmp_path / f"{name}.csv", [{"file": "a.png", "text": f"of {name}"}])
    assert told(tmp_path) == {"a.png": (("of x",), [])}
    assert told(tmp_path, metadata="y.csv") == {"a.png": (("of y",), [])}
    assert told(tmp_path, metadata="none") == {"a.png": ((), [])}
    with pytest.raises(UserError, match=r"data\.source\.metadata is 'z\.csv', and there is no such file"):
        told(tmp_path, metadata="z.csv")


def test_the_first_line_may_say_what_is_between_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (write(tmp_path, "a.png") / "t.csv").write_bytes(b"sep=;\r\nfile;text\r\na.png;a, b\r\nz.png;c\r\n")
    with caplog.at_level(logging.WARNING):
        assert told(tmp_path) == {"a.png": (("a, b",), [])}
    assert "line 4: there is no picture 'z.png'" in caplog.text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_other_systems_write_them(encoding: str, tmp_path: Path) -> None:
    text = "Filename;Caption;\r\na.png;Käse;\r\n;;\r\n"
    (write(tmp_path, "a.png") / "t.csv").write_bytes(text.encode(encoding))
    assert told(tmp_path) == {"a.png": (("Käse",), [])}


def test_a_table_with_the_ends_of_lines_of_old_systems(tmp_path: Path) -> None:
    (write(tmp_path, "a.png") / "t.csv").write_bytes(b"file,text\ra.png,a cat\r")
    assert told(tmp_path) == {"a.png": (("a cat",), [])}


@pytest.mark.parametrize("name", ["metadata.csv", "t.csv"])
def test_a_first_line_that_is_far_too_long_is_told(name: str, tmp_path: Path) -> None:
    (write(tmp_path, "a.png") / name).write_text("a" * 300_000 + ",b\na.png,x\n")
    if name == "t.csv":
        assert any("is no CSV file (field larger" in remark for remark in Folder(tmp_path).info.remarks)
        return
    with pytest.raises(UserError, match=r"metadata\.csv' is no CSV file \(field larger"):
        Folder(tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(write(tmp_path, "a.png", "b.png") / "metadata.parquet", ROWS)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(
        UserError, match=r"needs the package 'pyarrow': pip install 'carrara\[parquet\]', or save it as CSV"
    ):
        Folder(tmp_path)


def test_pictures_in_a_table_are_not_read_from_it(tmp_path: Path) -> None:
    image = pyarrow.array([{"bytes": b"x" * 100, "path": "a.png"}])
    pyarrow.parquet.write_table(
        pyarrow.table({"image": image, "text": ["a cat"]}), write(tmp_path, "a.png") / "t.parquet"
    )
    assert told(tmp_path) == {"a.png": (("a cat",), [])}
