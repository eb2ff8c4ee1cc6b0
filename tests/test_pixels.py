import json

import numpy as np
import pytest
import torch
from PIL import Image

from carrara import pixels
from carrara.errors import UserError
from carrara.files import replacing


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_survives_the_way_in_and_out(dtype: type) -> None:
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1, 1)
    x = pixels.to_tensor(values)
    assert x.dtype == torch.float32 and x.min() == -1 and x.max() == 1
    assert np.array_equal(pixels.to_pixels(x, dtype), values)


def test_float_pictures_and_grey_pictures_without_channels() -> None:
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    x = pixels.to_tensor(values)
    assert x.shape == (1, 3, 4)
    assert torch.equal(x[0], torch.from_numpy(values) * 2 - 1)
    np.testing.assert_allclose(pixels.to_pixels(x, np.float32)[..., 0], values, atol=1e-7)


def test_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="not int64"):
        pixels.to_tensor(np.zeros((2, 2), np.int64))


def test_values_outside_of_the_range_are_clipped() -> None:
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0]).reshape(1, 1, 1, 5)
    assert pixels.to_uint8(x).ravel().tolist() == [0, 0, 128, 255, 255]


def test_compositing_is_linear_in_alpha() -> None:
    rgba = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [255, 0, 0, 51]]], np.uint8)
    assert pixels.composite(rgba).tolist() == [[[255, 255, 255], [255, 0, 0], [255, 204, 204]]]
    assert pixels.composite(rgba, (0, 0, 0)).tolist() == [[[0, 0, 0], [255, 0, 0], [51, 0, 0]]]
    deep = (rgba.astype(np.uint16) * 257,)
    assert np.array_equal(pixels.composite(*deep), pixels.composite(rgba).astype(np.uint16) * 257)


def test_channel_conversions() -> None:
    grey = np.full((2, 2, 1), 77, np.uint8)
    colour = pixels.with_channels(grey, 3)
    assert np.array_equal(pixels.with_channels(colour, 1), grey)
    assert np.array_equal(pixels.with_channels(pixels.with_channels(grey, 4), 1), grey)
    assert np.array_equal(pixels.with_channels(pixels.with_channels(colour, 4), 3), colour)
    with pytest.raises(ValueError, match="5 channels cannot become one of 3"):
        pixels.with_channels(np.zeros((2, 2, 5), np.uint8), 3)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGBA"), (7, "RGB")])
def test_a_grid_shows_each_sample_in_its_place(channels: int, mode: str) -> None:
    x = torch.linspace(-1, 1, 5 * channels).reshape(5, channels, 1, 1).expand(-1, -1, 4, 6)
    sheet = pixels.grid(x, columns=3, scale=2, pad=1)
    assert sheet.mode == mode and sheet.size == (3 * 13 + 1, 2 * 9 + 1)
    shown = np.atleast_3d(np.asarray(sheet))
    for k, sample in enumerate(pixels.to_uint8(x)):
        top, left = 1 + k // 3 * 9, 1 + k % 3 * 13
        assert (shown[top : top + 8, left : left + 12] == sample[0, 0, : shown.shape[2]]).all()
    assert (shown[0] == 255).all() and (shown[10:, 27:] == 255).all()


def test_labels_are_written_beside_the_samples_and_leave_them_as_they_are() -> None:
    x = torch.full((4, 1, 8, 8), -1.0)
    plain = pixels.grid(x, columns=2)
    sheet = pixels.grid(x, row_labels=["Grüße", "b"], column_labels=["t=1", "t=0"])
    margin, above = sheet.width - plain.width, sheet.height - plain.height
    assert margin > 0 and above > 0
    assert np.array_equal(np.asarray(sheet)[above:, margin:], np.asarray(plain))
    assert np.asarray(sheet)[:above].min() < 100 and np.asarray(sheet)[above:, :margin].min() < 100


def test_a_strip_has_a_row_per_sample() -> None:
    states = [torch.tensor([[-1.0], [1.0]]).reshape(2, 1, 1, 1) * scale for scale in (0.0, 0.5, 1.0)]
    sheet = np.asarray(pixels.strip(states, scale=1))
    assert sheet[2::3, 2::3].tolist() == [[128, 64, 0], [128, 191, 255]]


def test_a_saved_picture_knows_its_recipe(tmp_path) -> None:
    recipe = {"prompt": "ein Löwe 🦁", "seed": 3, "nested": {"steps": [1, 2.5]}}
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    path = pixels.save_png(image, tmp_path / "new" / "a.png", recipe)
    assert pixels.read_recipe(path) == recipe
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(image))
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_nothing_is_overwritten_unless_asked(tmp_path) -> None:
    image = Image.new("L", (2, 2))
    names = [pixels.save_png(image, tmp_path / "a.png", {"n": n}).name for n in range(3)]
    assert names == ["a.png", "a-2.png", "a-3.png"]
    assert pixels.read_recipe(tmp_path / "a.png") == {"n": 0}
    assert pixels.save_png(image, tmp_path / "a.png", {"n": 9}, overwrite=True).name == "a.png"
    assert pixels.read_recipe(tmp_path / "a.png") == {"n": 9}


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = pixels.save_png(Image.new("L", (2, 2)), tmp_path / "a.png", {"n": 1})
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        _ = 1 / 0
    assert pixels.read_recipe(path) == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_pictures_without_a_recipe_are_refused_in_a_sentence(tmp_path) -> None:
    plain = pixels.save_png(Image.new("L", (2, 2)), tmp_path / "plain.png")
    (tmp_path / "a.txt").write_text(json.dumps({}))
    Image.new("L", (2, 2)).save(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="carries no recipe"):
        pixels.read_recipe(plain)
    for name in ("a.txt", "a.jpg"):
        with pytest.raises(UserError, match="is not a PNG"):
            pixels.read_recipe(tmp_path / name)
    with pytest.raises(UserError, match="is not there"):
        pixels.read_recipe(tmp_path / "missing.png")


def test_a_long_label_takes_little_room() -> None:
    x = torch.zeros(1, 3, 8, 8)
    wide, usual = (pixels.grid(x, row_labels=[text]).width for text in ("word " * 10_000 + "\nmore", "w" * 48))
    assert wide <= usual
