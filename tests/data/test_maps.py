"""Maps beside pictures: found, numbered, moved as their pictures are, and refused in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from carrara.conditioning import LayoutMap
from carrara.conditioning.images import palette
from carrara.data import Folder, Loader, Mapped, Transform, batch_of, maps_of, numbered
from carrara.data.emoji import layout
from carrara.errors import UserError
from carrara.pixels import to_uint8
from carrara.run.plan import plan

COLOURS = ((0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0))


def drawing(seed: int, size: tuple[int, int] = (12, 16)) -> NDArray[np.uint8]:
    """Pixels of four colours."""
    return np.array(COLOURS, np.uint8)[np.random.default_rng(seed).integers(0, 4, size)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures that are their own maps."""
    path = tmp_path / "mapped"
    path.mkdir()
    for k in range(3):
        Image.fromarray(drawing(k)).save(path / f"{k}.png")
        Image.fromarray(drawing(k)).save(path / f"{k}.map.png")
    return path


def test_maps_are_no_pictures(folder: Path) -> None:
    Image.fromarray(drawing(9)).save(folder / "treasure.map.png")
    data = Folder(folder)
    assert [data.name(k) for k in range(len(data))] == ["0.png", "1.png", "2.png", "treasure.map.png"]
    assert data.info.maps
    assert np.array_equal(data.map(1), drawing(1))
    assert data.map(3) is None


def test_metadata_name_maps(folder: Path) -> None:
    (folder / "maps").mkdir()
    Image.fromarray(drawing(7)).save(folder / "maps" / "other.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png", "map": "maps/other.png"}))
    data = Folder(folder)
    assert len(data) == 3
    assert np.array_equal(data.map(0), drawing(7))
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png", "map": 3}))
    with pytest.raises(UserError, match='"map" is the name of a picture'):
        Folder(folder)


@pytest.mark.parametrize("fit", ["cover", "stretch"])
def test_a_map_goes_where_its_picture_goes(folder: Path, fit: str) -> None:
    data = Mapped(Folder(folder), COLOURS)
    transform = Transform(size=(8, 12) if fit == "cover" else (12, 16), fit=fit, crop="random", flip=True)  # type: ignore[arg-type]
    same = Transform(size=(12, 16), crop="random", flip=True)
    batch = Loader(data, same, 16, seed=0).at(3)
    assert batch.columns["map"].shape == (16, 12, 16)
    assert np.array_equal(np.array(COLOURS)[batch.columns["map"].numpy()], to_uint8(batch.x))
    assert Loader(data, transform, 4, seed=0).at(0).columns["map"].shape == (4, *transform.size)


def test_random_crops_of_both_are_the_same(tmp_path: Path) -> None:
    Image.fromarray(drawing(0, (12, 40))).save(tmp_path / "0.png")
    Image.fromarray(drawing(0, (12, 40))).save(tmp_path / "0.map.png")
    data = Mapped(Folder(tmp_path), COLOURS)
    batch = Loader(data, Transform(size=(12, 12), crop="random", flip=True), 16, seed=0).at(0)
    assert np.array_equal(np.array(COLOURS)[batch.columns["map"].numpy()], to_uint8(batch.x))
    assert len({x.numpy().tobytes() for x in batch.x}) > 8


def test_borders_have_no_colour(folder: Path) -> None:
    data = Mapped(Folder(folder), COLOURS)
    numbers = batch_of(data, Transform(size=(16, 16), fit="contain"), [0]).columns["map"][0].numpy()
    assert np.all(numbers[[0, 1, 14, 15]] == 255)
    assert np.array_equal(np.array(COLOURS)[numbers[2:14]], drawing(0))


def test_the_nearest_colour_counts() -> None:
    colours = np.array([[[3, 0, 4], [250, 10, 10]], [[0, 0, 200], [0, 0, 255]]], np.uint8)
    assert numbered(colours, COLOURS)[..., 0].tolist() == [[0, 3], [1, 1]]


def test_faults_are_told_in_a_sentence(folder: Path) -> None:
    assert palette(maps_of(Folder(folder))) == COLOURS
    (folder / "2.map.png").unlink()
    with pytest.raises(UserError, match=r"'2\.png' has no map.*2\.map\.png"):
        list(maps_of(Folder(folder)))
    Image.fromarray(drawing(2, (6, 6))).save(folder / "2.map.png")
    with pytest.raises(UserError, match=r"the map of '2\.png' is 6x6 and the picture 16x12"):
        list(maps_of(Folder(folder)))
    (folder / "2.map.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"the map of '2\.png' cannot be read"):
        list(maps_of(Folder(folder)))
    soft = (np.arange(12 * 16 * 3) % 256).astype(np.uint8).reshape(12, 16, 3)
    Image.fromarray(soft).save(folder / "2.map.png")
    with pytest.raises(UserError, match="more than 64 colours"):
        palette(maps_of(Folder(folder)))


def test_recipes_that_see_are_completed_or_refused(folder: Path, photos: Path, tmp_path: Path) -> None:
    planned = plan(str(folder), "segmentation", tmp_path / "run", [])
    assert planned.recipe.model.image == LayoutMap(colours=COLOURS)
    assert "image: 4 colours of the data's maps" in planned.reasons
    with pytest.raises(UserError, match=r"no maps: put cat\.map\.png beside"):
        plan(str(photos), "segmentation", tmp_path / "run", [])
    with pytest.raises(UserError, match=r"18x18 cannot be reduced by .*such as 20"):
        plan(str(photos), "upscale-x4", tmp_path / "run", ["data.size=18"])
    with pytest.raises(UserError, match="the data are points"):
        plan("swissroll", "swissroll", tmp_path / "run", ["model.image=masked"])
    with pytest.raises(UserError, match="trains none"):
        plan("digits", "vae", tmp_path / "run", ["model.image=masked"])


def test_maps_are_looked_at_even_if_their_colours_are_given(folder: Path, tmp_path: Path) -> None:
    given = ["model.image.colours=[[0, 0, 0], [255, 0, 0]]"]
    planned = plan(str(folder), "segmentation", tmp_path / "run", given)
    assert planned.recipe.model.image == LayoutMap(colours=((0, 0, 0), (255, 0, 0)))
    (folder / "2.map.png").unlink()
    with pytest.raises(UserError, match=r"'2\.png' has no map"):
        plan(str(folder), "segmentation", tmp_path / "run", given)


def test_emoji_have_rough_maps_of_what_their_lines_surround() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[16:48, 16:48] = (0, 0, 0, 255)
    rgba[17:47, 17:47] = (252, 234, 43, 255)
    rgba[4:8, 8:12] = (0, 0, 0, 255)
    found = layout(rgba)
    assert np.all(found[16:48, 16:48] == (252, 234, 43))
    assert np.all(found[4:8, 8:12] == 0)
    assert len(palette([found])) == 3 and np.all(found[:4] == 255)
