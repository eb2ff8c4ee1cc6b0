import shutil

import numpy as np
import pytest
from picture_files import array, enormous_png, picture, truncated_jpeg, write

from carrara.data import inspect_folder, suggested_size
from carrara.errors import UserError


@pytest.fixture
def sick(tmp_path):
    write(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png")
    shutil.copy(tmp_path / "cat" / "a.png", tmp_path / "dog" / "copy.png")
    picture(40, 80, key=9).convert("L").save(tmp_path / "dog" / "long.png")
    np.save(tmp_path / "dog" / "five.npy", array(8, 8, 5))
    (tmp_path / "cat" / "a.txt").write_text("a cat")
    (tmp_path / "dog" / "t.jpg").write_bytes(truncated_jpeg())
    (tmp_path / "dog" / "zero.png").write_bytes(b"")
    (tmp_path / "dog" / "huge.png").write_bytes(enormous_png(9_000))
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "bird").mkdir()
    return tmp_path


def test_everything_that_is_wrong_is_listed(sick) -> None:
    before = sorted(path.name for path in sick.rglob("*"))
    report = inspect_folder(sick)
    assert (report.count, report.good) == (10, 6)
    assert report.faults == {
        "corrupt": {"dog/gone.png": "it is not there", "dog/zero.png": "the file is empty"},
        "oversized": {"dog/huge.png": "it has 9000x9000 pixels, more than 64 million"},
        "truncated": {"dog/t.jpg": "the file is truncated"},
    }
    assert report.duplicates == (("cat/a.png", "dog/copy.png"),)
    assert report.classes == {"cat": 2, "dog": 4} and report.empty_classes == ("bird",)
    assert report.captions == 1 and len(report.without_caption) == 5
    assert report.kinds == {"RGB": 4, "L": 1, "uint8": 1}
    assert report.heights == (8, 12, 40) and report.widths == (8, 16, 80) and report.aspects == (1, 16 / 12, 2)
    assert report.others == {}
    assert before == sorted(path.name for path in sick.rglob("*"))


def test_the_report_can_be_read(sick) -> None:
    text = "\n".join(inspect_folder(sick).lines())
    for words in (
        "10 pictures",
        "6 can be trained on",
        "2 cat",
        "dog/t.jpg (the file is truncated)",
        "cat/a.png = dog/copy.png",
        "empty class  1: bird",
        "data.size=8",
    ):
        assert words in text


def test_a_healthy_folder_has_nothing_to_repair(tmp_path) -> None:
    report = inspect_folder(write(tmp_path, "a.png", "b.png"))
    assert report.good == report.count == 2 and not (report.faults or report.duplicates or report.empty_classes)
    assert list(report.findings()) == [] and not any("truncated" in line for line in report.lines())


def test_long_lists_are_shortened(tmp_path) -> None:
    for k in range(20):
        (tmp_path / f"{k:02}.png").write_bytes(b"")
    report = inspect_folder(tmp_path)
    assert report.good == 0 and report.suggested is None
    assert any("20: 00.png" in line and "and 12 more" in line for line in report.lines())


def test_a_folder_without_pictures_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="it is empty"):
        inspect_folder(tmp_path)


@pytest.mark.parametrize(
    ("native", "size"), [((8, 8), (8, 8)), ((33, 40), (32, 40)), ((1080, 1920), (64, 112)), ((3, 100), (8, 264))]
)
def test_the_suggested_size(native: tuple[int, int], size: tuple[int, int]) -> None:
    assert suggested_size(native) == size
