"""Tables as points: standardised numbers and centred categories, and back to the same columns."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from carrara.data import as_source, open_dataset
from carrara.data.rows import decoded
from carrara.data.settings import DataSettings, read_settings
from carrara.data.sources import TableSource
from carrara.errors import UserError
from carrara.medium import medium_of
from carrara.modality import Table

RNG = np.random.default_rng(0)
COLOURS = ("blue", "green", "red")


def written(path: Path, header: list[str], rows: list[list[object]], mark: str = ",") -> str:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows([header, *rows])
    return str(path)


def things(count: int = 60) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = [
        [f"thing {k}", round(RNG.normal(5, 3), 6), int(RNG.integers(-4, 9)), COLOURS[k % 3], k % 2]
        for k in range(count)
    ]
    return ["name", "length", "count", "colour", "code"], rows


def opened(path: str, **options: object) -> tuple[TableSource, np.ndarray]:
    source = TableSource(path=path, **options)
    full, _ = source.completed(source.open())
    assert isinstance(full, TableSource)
    data = full.open()
    return full, np.stack([data.pixels(k) for k in range(len(data))])


def test_numbers_are_standardised_and_categories_are_centred(tmp_path: Path) -> None:
    header, rows = things()
    full, points = opened(written(tmp_path / "a.csv", header, rows), categories=("code",))
    assert full.columns is not None
    length, count, colour, code = full.columns
    assert (length.name, length.whole, length.categories) == ("length", False, ())
    assert (count.whole, colour.categories, code.categories) == (True, COLOURS, ("0", "1"))
    assert points.shape == (60, 2 + 3 + 2) == (60, *(full.shape or ()))
    np.testing.assert_allclose(points[:, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(points[:, :2].std(0), 1, atol=1e-6)
    np.testing.assert_allclose(points[:, 2:].mean(0), 0, atol=1e-6)  # here all are as frequent
    np.testing.assert_allclose((points[:, 2:5] ** 2).mean(), 1, atol=1e-6)
    np.testing.assert_allclose((points[:, 5:] ** 2).mean(), 1, atol=1e-6)


def test_rows_come_back(tmp_path: Path) -> None:
    header, rows = things()
    full, points = opened(written(tmp_path / "a.csv", header, rows))
    assert isinstance(full.modality, Table)
    back = decoded(points, full.modality.columns)
    for row, again in zip(rows, back, strict=True):
        assert again[0] == pytest.approx(row[1], rel=1e-6, abs=1e-6)
        assert again[1:] == row[2:]
    medium = medium_of(points.shape[1:], full.modality)
    noisy = torch.from_numpy(points) + 0.01 * torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    paths = medium.write_all(noisy, tmp_path, lambda k: {})
    assert [path.name for path in paths] == ["samples.csv"]
    with paths[0].open(newline="") as file:
        read = list(csv.reader(file))
    assert read[0] == header[1:]
    assert [line[1:] for line in read[1:]] == [[str(cell) for cell in row[2:]] for row in rows]
    assert medium.grid(noisy).size == (480, 480)
    assert medium.write(noisy[0], tmp_path / "one", {}) == [tmp_path / "one.csv"]
    again = open_dataset(paths[0])  # what was written is such a table
    assert again.info.dimension == points.shape[1]


def test_what_says_nothing_is_left_out_and_told(tmp_path: Path) -> None:
    header, rows = things()
    rows[3][1], rows[7][3], rows[8][3] = "", "NA", "nan"
    data = open_dataset(written(tmp_path / "a.csv", header, rows))
    assert len(data) == 57
    assert data.info.remarks == (
        "3 columns of numbers, standardised: 'length', 'count', 'code'",
        "1 column of categories: 'colour' (3)",
        "3 of 60 rows say nothing of some column, and are left out",
        "column 'name' is left out: 60 different texts in 60 rows are names, and no categories",
    )


def test_tables_of_other_kinds_are_the_same(tmp_path: Path) -> None:
    header, rows = things()
    _, first = opened(written(tmp_path / "a.csv", header, rows))
    assert np.array_equal(opened(written(tmp_path / "a.tsv", header, rows, "\t"))[1], first)
    assert np.array_equal(opened(written(tmp_path / "b.csv", header, rows, ";"))[1], first)
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: [row[k] for row in rows] for k, name in enumerate(header)}
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    np.testing.assert_allclose(opened(str(tmp_path / "a.parquet"))[1], first, atol=1e-6)


def test_a_run_keeps_what_its_columns_were(tmp_path: Path) -> None:
    header, rows = things()
    full, points = opened(written(tmp_path / "a.csv", header, rows))
    section = {"kind": "table", "path": full.path, "columns": [vars(column) for column in full.columns or ()]}
    assert read_settings({"source": section}).source == full
    written(tmp_path / "a.csv", header, [*rows, ["new", 100.0, 3, "violet", 0], ["new too", 100.0, 3, "red", 0]])
    data = full.open()
    assert len(data) == 61 and data.info.remarks[2].startswith("1 of 62 rows")
    np.testing.assert_array_equal(data.pixels(5), points[5])
    written(tmp_path / "a.csv", header[:2], [row[:2] for row in rows])
    with pytest.raises(UserError, match="the table has no column 'count' any more"):
        full.open()


def test_a_file_is_a_table_and_a_folder_of_pictures_is_none(photos: Path) -> None:
    path = photos / "metadata.csv"
    written(path, ["file_name", "text"], [["red/0.png", "a picture"]])
    assert as_source(photos).kind == "folder"
    source = as_source(path)
    assert (source.kind, source.spatial, source.preset, source.name) == ("table", 0, "table", "metadata")
    settings = DataSettings(source=source)
    assert settings.transform() is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("a,b\n", "has no rows"),
        ("1,2\n3,4\n5,6\n", "has numbers in its first line: write the names of the columns there"),
        ("a,b\n1,\n,2\n", "no row in which every column says something"),
        ("a,b\n1,2,3\n", "line 2: it has more columns than the first line"),
        (
            "a\n" + "\n".join(f"word {k}" for k in range(30)),
            "no column of numbers or of categories: column 'a' is left",
        ),
    ],
)
def test_what_is_no_table_is_said(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        open_dataset(tmp_path / "a.csv")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ["a", "b"], [[k, k % 2] for k in range(9)])
    with pytest.raises(UserError, match="has no column 'c', but a, b"):
        TableSource(path=path, categories=("c",)).open()
    with pytest.raises(UserError, match="there is no table"):
        TableSource(path=str(tmp_path / "b.csv")).open()
