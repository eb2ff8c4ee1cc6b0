"""Parquet files with pictures, as ``datasets`` writes them: the same data set as a folder of the same files."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from carrara.data import Folder, inspect_folder
from carrara.data.sources.catalogue import as_source, source_at
from carrara.errors import UserError
from carrara.files import is_archive, members, read_bytes, stamp_of

FEATURES = {
    "image": {"_type": "Image"},
    "label": {"names": ["cat", "dog"], "_type": "ClassLabel"},
    "text": {"dtype": "string", "_type": "Value"},
}


def picture(number: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8 + number % 3, 3), np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def written(path: Path, rows: list[dict[str, Any]], features: object = FEATURES, group: int = 4) -> Path:
    table = pyarrow.Table.from_pylist(rows)
    said = {} if features is None else {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata(said), path, row_group_size=group)
    return path


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "image": {"bytes": picture(k, "PNG" if k % 3 else "JPEG"), "path": f"{k}.x"},
            "label": k % 2,
            "text": f"no. {k}",
        }
        for k in range(first, first + count)
    ]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))


def test_rows_are_pictures_with_captions_and_classes(tmp_path: Path) -> None:
    path = written(tmp_path / "photos.parquet", rows(0, 10))
    assert is_archive(path) and list(members(path))[::10] == ["000000000.jpg", "metadata.jsonl"]
    assert read_bytes(path / "000000007.png") == picture(7)
    assert stamp_of(path / "000000007.png")[0] == len(picture(7))
    assert not (path / "000000007.jpg").exists() and stamp_of(path / "000000007.jpg") == (0, 0, 0)
    data = as_source(path).open()
    assert isinstance(data, Folder) and len(data) == 10 and data.info.classes == ("cat", "dog")
    assert data.captions(7) == ("no. 7",) and data.columns(7)["label"].argmax() == 1
    assert inspect_folder(path).good == 10


def test_it_is_the_data_set_of_the_same_files(tmp_path: Path) -> None:
    written(tmp_path / "rows" / "train-00000-of-00002.parquet", rows(0, 9))
    written(tmp_path / "rows" / "train-00001-of-00002.parquet", rows(9, 5))
    folder = tmp_path / "files"
    folder.mkdir()
    for k, row in enumerate(rows(0, 14)):
        (folder / f"{k:02}.png").write_bytes(row["image"]["bytes"])
    packed, plain = Folder(tmp_path / "rows"), Folder(folder)
    assert [packed.key(k) for k in range(14)] == [plain.key(k) for k in range(14)]
    assert not any("class" in said and "folder" in said for said in packed.info.remarks)
    for k in range(14):
        assert np.array_equal(packed.pixels(k), plain.pixels(k))


def test_files_that_are_called_as_parts_of_a_split_are_parts_of_one(tmp_path: Path) -> None:
    written(tmp_path / "data" / "train-00000-of-00001.parquet", rows(0, 6))
    written(tmp_path / "data" / "test-00000-of-00001.parquet", rows(6, 3))
    data = Folder(tmp_path / "data")
    assert [data.held(k) for k in range(9)] == [True] * 3 + [False] * 6


def test_pictures_are_found_without_a_word_of_datasets(tmp_path: Path) -> None:
    plain = [{"jpg": picture(k), "score": float("nan") if k == 2 else k / 7, "caption": f"a {k}"} for k in range(5)]
    plain[3]["jpg"] = None
    data = Folder(written(tmp_path / "a.parquet", plain, None))
    assert len(data) == 4 and data.captions(3) == ("a 4",)
    table = written(tmp_path / "b.parquet", [{"x": 1.0, "y": 2.0}], None)
    assert not is_archive(table) and source_at(table)["kind"] == "table"


def test_what_is_no_picture_and_no_table_is_a_sentence(tmp_path: Path) -> None:
    report = inspect_folder(written(tmp_path / "a.parquet", [{"image": b"no picture"}, {"image": picture(1)}], None))
    assert report.good == 1
    whole = written(tmp_path / "b.parquet", rows(0, 8)).read_bytes()
    (tmp_path / "short.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"short\.parquet"):
        as_source(tmp_path / "short.parquet").open()


def test_sizes_are_read_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", rows(0, 4))
    assert len(members(path)) == 5
    assert len(list((tmp_path / "cache" / "parquet").iterdir())) == 1
    written(path, rows(0, 6))
    assert len(members(path)) == 7 and read_bytes(path / "000000005.png") == picture(5)


def test_it_is_loaded_in_any_order(tmp_path: Path) -> None:
    data = Folder(written(tmp_path / "a.parquet", rows(0, 8), group=2))
    assert [np.array_equal(data.pixels(k), data.pixels(k)) for k in (7, 0, 5, 2)] == [True] * 4
