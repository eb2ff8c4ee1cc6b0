import json
import logging
import os

import numpy as np
import pytest
from picture_files import array, picture, truncated_jpeg, write

from carrara.data import Folder, Reading
from carrara.errors import UserError


def metadata(folder, *rows: object) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


def test_a_flat_folder_has_no_classes(tmp_path) -> None:
    folder = Folder(write(tmp_path / "photos", "b.png", "a.png", "ü 日本.png"))
    assert [folder.name(k) for k in range(len(folder))] == ["a.png", "b.png", "ü 日本.png"]
    assert np.array_equal(folder[1].pixels, array(key=0)) and np.array_equal(folder[0].pixels, array(key=1))
    assert (folder.info.name, folder.info.channels, folder.info.native) == ("photos", 3, (12, 16))
    assert folder.info.classes == () and folder[0].columns == {}
    with pytest.raises(IndexError):
        folder[3]


def test_a_sub_folder_is_a_class_with_all_that_is_below_it(tmp_path) -> None:
    folder = Folder(write(tmp_path, "cat/1.png", "cat/old/2.png", "dog/1.png"))
    assert folder.info.classes == ("cat", "dog")
    assert [example.columns["label"].tolist() for example in folder] == [[1, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize("names", [("all/1.png", "all/2.png"), ("cat/1.png", "dog/1.png", "one.png", "two.png")])
def test_sub_folders_that_do_not_divide_the_pictures_are_no_classes(tmp_path, names) -> None:
    assert Folder(write(tmp_path, *names)).info.classes == ()


@pytest.mark.parametrize(
    "names",
    [("100APPLE", "101APPLE"), ("skin_images_part_1", "skin_images_part_2"), ("Photos from 2021", "Photos from 2022")],
)
def test_heaps_of_cameras_and_downloads_are_no_classes(tmp_path, names) -> None:
    folder = Folder(write(tmp_path, *(f"{name}/{k}.png" for name in names for k in range(2))))
    assert folder.info.classes == () and "are no classes" in folder.info.remarks[0]


@pytest.mark.parametrize("names", [("100_lake", "100_tree"), ("cat_part", "dog_part")])
def test_classes_that_look_like_heaps(tmp_path, names) -> None:
    assert len(Folder(write(tmp_path, *(f"{name}/1.png" for name in names))).info.classes) == 2


def test_a_class_without_a_picture_to_train_on_is_said(tmp_path) -> None:
    write(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/images/4.png")
    assert "; of images there is none to train on;" in Folder(tmp_path).info.remarks[1]


def test_captions_lie_beside_pictures(tmp_path) -> None:
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_text("ein Löwe\n", encoding="utf-8")
    folder = Folder(tmp_path)
    assert [example.captions for example in folder] == [("ein Löwe",), ()]
    assert folder.info.captions


def test_metadata_give_captions_labels_and_vectors(tmp_path) -> None:
    write(tmp_path, "a.png", "x/b.png", "c.png")
    metadata(
        tmp_path,
        {"file_name": "a.png", "text": "one", "label": "cat", "vector": [1, 2.5]},
        {"file_name": "x/b.png", "label": ["cat", "hat"], "vector": [0, -1]},
        "",
        {"file_name": "c.png", "vector": [3, 3]},
    )
    folder = Folder(tmp_path)
    assert folder.info.classes == ("cat", "hat") and folder.info.vector_size == 2
    by_name = {folder.name(k): folder[k] for k in range(3)}
    assert by_name["a.png"].captions == ("one",)
    labels = {name: example.columns["label"].tolist() for name, example in by_name.items()}
    assert labels == {"a.png": [1, 0], "x/b.png": [1, 1], "c.png": [0, 0]}
    assert by_name["x/b.png"].columns["vector"].tolist() == [0, -1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "line 1: not a JSON object"),
        (['["a.png"]'], "row 1: not a JSON object"),
        ([{"file_name": 7}], "line 1: there is no picture '7' in the folder"),
        ([{"file_name": "a.png"}, {"file_name": None}], 'line 2: no name of a picture under "file_name", but None'),
        (['{"file_name": "a.png", "vector": [NaN]}'], "line 1: not a JSON object"),
        ([{"text": "a"}], "line 1: no column names pictures of the folder (there are text)"),
        (
            [{"file_name": "y.png"}, {"file_name": "z.png"}],
            "line 1: there is no picture 'y.png' in the folder, nor",
        ),
        ([{"file_name": "a.png", "label": 3.5}], 'line 1: "label" is a name'),
        ([{"file_name": "a.png", "vector": ["1"]}], 'line 1: "vector" is a list of numbers'),
        ([{"file_name": "a.png", "text": 1}], 'line 1: "text" is a caption'),
        ([{"file_name": "a.png", "vector": [1]}], "'b.png' has 0 numbers, and others have 1"),
    ],
)
def test_wrong_metadata_are_refused_with_the_line(tmp_path, rows, message: str) -> None:
    write(tmp_path, "a.png", "b.png")
    metadata(tmp_path, *rows)
    with pytest.raises(UserError) as error:
        Folder(tmp_path)
    assert message in str(error.value)


def test_unreadable_files_are_left_out_with_a_warning(tmp_path, caplog) -> None:
    write(tmp_path, "a.png", "c.png")
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "d.png").symlink_to(tmp_path / "gone.png")
    with caplog.at_level(logging.WARNING):
        folder = Folder(tmp_path)
    assert [folder.name(k) for k in range(len(folder))] == ["a.png", "c.png"]
    (message,) = caplog.messages
    assert "left out 2 unreadable of 4" in message and "'b.png' (the file is empty)" in message


def test_a_file_is_no_folder(tmp_path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a\.tar' is a file: give the folder with the pictures, or a zip file"):
        Folder(tmp_path / "a.tar")


def test_nothing_to_read_is_explained(tmp_path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        Folder(tmp_path / "missing")
    with pytest.raises(UserError, match=r"no pictures in .* it is empty; Carrara reads \.png"):
        Folder(tmp_path)
    for name in ("a.txt", "b.mp4", "c.mp4"):
        (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=r"found 3 files with other endings \(\.mp4: video: .*, \.txt\)"):
        Folder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 1 pictures .* 'a.png': the file is empty"):
        Folder(tmp_path)


def test_what_would_be_read_by_a_package_or_another_program_is_said(tmp_path, caplog) -> None:
    write(tmp_path, "a.png")
    for name in ("a.nef", "b.nef", "c.psd", "notes.md"):
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        Folder(tmp_path)
    assert caplog.messages == [
        "left out 2 .nef: raw pictures of a camera: export them as PNG or JPEG",
        "left out 1 .psd: pictures with layers: export them as PNG or JPEG",
    ]


def test_pictures_without_a_class_are_counted(tmp_path) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    metadata(tmp_path, {"file_name": "a.png", "label": "cat"})
    assert "2 pictures without a class, 1 with one" in Folder(tmp_path).info.remarks


def test_the_size_is_the_median(tmp_path) -> None:
    for k, (height, width) in enumerate([(10, 30), (20, 20), (90, 10)]):
        picture(height, width).save(tmp_path / f"{k}.png")
    assert Folder(tmp_path).info.native == (20, 20)


def test_keys_depend_on_content_alone(tmp_path) -> None:
    write(tmp_path, "a.png", "b.png")
    os.link(tmp_path / "a.png", tmp_path / "c.png")
    (tmp_path / "t.jpg").write_bytes(truncated_jpeg())
    a, b, c, _ = (Folder(tmp_path).key(k) for k in range(4))
    assert a == c != b


def test_a_run_among_the_pictures_is_none_of_them(tmp_path) -> None:
    write(tmp_path, "a.png", "b.png", "runs/photos/samples/step-1.png", "runs/other/c.png")
    (tmp_path / "runs" / "photos" / "recipe.yaml").write_text("seed: 0")
    data = Folder(tmp_path)
    assert [data.name(k) for k in range(len(data))] == ["a.png", "b.png", "runs/other/c.png"]
    assert any("runs/photos: run of Carrara's" in remark for remark in data.info.remarks)
    (tmp_path / "recipe.yaml").write_text("mine")
    assert len(Folder(tmp_path)) == 3, "a recipe beside one's pictures makes no run of them"


def test_masks_of_other_programs_are_no_pictures(tmp_path) -> None:
    write(tmp_path, "a.png", "a_mask.png", "b.jpg", "b-masklabel.png", "face_mask.png")
    data = Folder(tmp_path)
    assert [data.name(k) for k in range(len(data))] == ["a.png", "b.jpg", "face_mask.png"]
    assert any(remark.startswith("2 pictures called as the mask") for remark in data.info.remarks)
    (tmp_path / "list.txt").write_text("a.png\na_mask.png\n")
    listed = Folder(tmp_path, reading=Reading(only=str(tmp_path / "list.txt")))
    assert [listed.name(k) for k in range(len(listed))] == ["a.png", "a_mask.png"]


def test_a_list_takes_what_lies_beside_images(tmp_path) -> None:
    write(tmp_path, "images/a.png", "masks/a.png")
    assert len(Folder(tmp_path)) == 1
    (tmp_path / "list.txt").write_text("images/a.png\nmasks/a.png\n")
    assert len(Folder(tmp_path, reading=Reading(only=str(tmp_path / "list.txt")))) == 2
