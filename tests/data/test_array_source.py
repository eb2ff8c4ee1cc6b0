"""Arrays as data: what their axes and ranges are taken as, that values come back, and what is missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carrara.data import as_source, batch_of, fingerprint, open_dataset
from carrara.data.array import ArrayData, Layout, guessed_axes
from carrara.data.settings import DataSettings, read_settings
from carrara.data.sources import ArraySource
from carrara.errors import UserError
from carrara.medium.numbers import NumbersMedium
from carrara.modality import Numbers
from carrara.pixels import to_tensor

RNG = np.random.default_rng(0)


def saved(path: Path, values: np.ndarray) -> str:
    np.save(path, values)
    return str(path)


def completed(source: ArraySource) -> tuple[ArraySource, tuple[str, ...]]:
    full, why = source.completed(source.open())
    assert isinstance(full, ArraySource)
    return full, why


def written_back(source: ArraySource) -> list[np.ndarray]:
    """Every example, brought inside and written in its units."""
    full, _ = completed(source)
    data, modality = full.open(), full.modality
    assert modality is not None
    medium = NumbersMedium(modality, full.spatial)
    return [medium.values(to_tensor(data.pixels(k), full.spatial)) for k in range(len(data))]


@pytest.mark.parametrize(
    ("shape", "axes", "spatial", "example"),
    [
        ((9, 32), "NL", 1, (32, 1)),
        ((9, 32, 2), "NLC", 1, (32, 2)),
        ((9, 2, 32), "NCL", 1, (32, 2)),
        ((9, 6, 8), "NHW", 2, (6, 8, 1)),
        ((9, 6, 8, 3), "NHWC", 2, (6, 8, 3)),
        ((9, 3, 6, 8), "NCHW", 2, (6, 8, 3)),
        ((9, 5, 6, 8), "NDHW", 3, (5, 6, 8, 1)),
        ((9, 5, 6, 8, 2), "NDHWC", 3, (5, 6, 8, 2)),
        ((9, 2, 5, 6, 8), "NCDHW", 3, (5, 6, 8, 2)),
    ],
)
def test_axes_are_guessed_and_said(
    shape: tuple[int, ...], axes: str, spatial: int, example: tuple[int, ...], tmp_path: Path
) -> None:
    values = RNG.normal(size=shape).astype(np.float32)
    source = ArraySource(path=saved(tmp_path / "a.npy", values))
    data = source.open()
    assert (source.spatial, data.layout.axes, data.shape) == (spatial, axes, example)
    assert f"axes {axes} of" in data.info.remarks[0]
    assert data.info.native == example[:-1] and data.info.channels == example[-1]
    low, high = float(values.min()), float(values.max())
    assert data.range == (low, high)
    ordered = values[4] if "C" not in axes else np.moveaxis(values[4], axes.index("C") - 1, -1)
    expected = (ordered.reshape(example).astype(np.float64) - low) / (high - low)
    np.testing.assert_allclose(data.pixels(4), expected, atol=1e-7)


def test_axes_that_are_said_are_taken(tmp_path: Path) -> None:
    values = RNG.normal(size=(6, 5, 7, 9)).astype(np.float32)
    path = saved(tmp_path / "a.npy", values)
    data = ArraySource(path=path, axes="NWCH").open()
    assert data.shape == (9, 5, 7) and not data.info.remarks
    low, high = data.range
    np.testing.assert_allclose(
        data.pixels(2), (np.transpose(values[2], (2, 0, 1)) - low) / (high - low), rtol=1e-4, atol=1e-6
    )
    with pytest.raises(UserError, match=r"names 3 axes, and .* has 4"):
        ArraySource(path=path, axes="NHW").open()
    with pytest.raises(UserError, match="a file of many examples has N first"):
        ArraySource(path=path, axes="DHWC").open()
    with pytest.raises(ValueError, match="as in NHWC or CHW: 'NXY' is none of these"):
        ArraySource(path=path, axes="NXY")
    with pytest.raises(UserError, match=r"has 6 axes .*: give curves \(N, L\), pictures"):
        guessed_axes((1,) * 6, "'a'", many=True)
    assert Layout("CHW").shape((3, 5, 6)) == (5, 6, 3)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_all_numbers_of_16_bits_come_back(dtype: str, tmp_path: Path) -> None:
    ends = np.iinfo(dtype)
    values = np.arange(ends.min, ends.max + 1).astype(dtype).reshape(4, 128, 128)
    back = written_back(ArraySource(path=saved(tmp_path / "a.npy", values)))
    assert np.array_equal(np.stack(back), values) and back[0].dtype == values.dtype


@pytest.mark.parametrize("dtype", ["uint8", "int8", "bool", "int32", "float16", "float32", "float64"])
def test_values_come_back_in_their_type_and_units(dtype: str, tmp_path: Path) -> None:
    values = (300 * RNG.normal(size=(5, 8, 8))).astype(dtype)
    if dtype == "uint8":
        values = RNG.integers(10, 100, (5, 8, 8)).astype(dtype)
    back = np.stack(written_back(ArraySource(path=saved(tmp_path / "a.npy", values))))
    assert back.dtype == (np.uint8 if dtype == "bool" else dtype)
    if values.dtype.kind == "f":
        np.testing.assert_allclose(back, values, rtol=0, atol=2e-7 * float(np.ptp(values)) + (dtype == "float16") * 0.5)
    else:
        assert np.array_equal(back, values)


def test_the_range_is_declared_or_measured_and_said(tmp_path: Path) -> None:
    values = np.linspace(-2, 6, 5 * 64, dtype=np.float32).reshape(5, 8, 8)
    path = saved(tmp_path / "a.npy", values)
    full, why = completed(ArraySource(path=path))
    assert (full.low, full.high, full.missing, full.dtype, full.axes) == (-2, 6, False, "float32", "NHW")
    assert full.modality == Numbers(dtype="float32", low=-2.0, high=6.0)
    assert why[0].startswith("range -2 to 6: measured on all examples; ")
    assert completed(full) == (full, ())
    full, why = completed(ArraySource(path=path, low=-1.0, high=4.0))
    count = int(((values < -1) | (values > 4)).sum())
    assert why == (
        f"beyond the declared range: {count} values of all examples, which are learned as they are; -2 to 6 occur",
    )
    data = full.open()
    assert data.pixels(0).min() == pytest.approx(-0.2) and data.pixels(4).max() == pytest.approx(1.4)
    np.testing.assert_allclose(np.stack(written_back(full)), values, atol=1e-6)  # nothing was clipped


def test_8_bits_stay_levels(tmp_path: Path) -> None:
    values = RNG.integers(10, 20, (3, 8, 8, 3)).astype(np.uint8)
    full, why = completed(ArraySource(path=saved(tmp_path / "a.npy", values)))
    assert (full.low, full.high) == (0, 255) and "what 8 bits hold" in why[0]
    assert full.open().pixels(1).dtype == np.uint8
    assert np.array_equal(full.open().pixels(1), values[1])


def test_the_range_of_many_examples_is_measured_on_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.data.array.dataset.MEASURED", 4)
    values = np.arange(10.0)[:, None].repeat(8, 1)
    _, why = completed(ArraySource(path=saved(tmp_path / "a.npy", values)))
    assert why[0].startswith("range 0 to 7: measured on 4 examples from all over; ")


def test_files_of_a_folder_are_examples(tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    values = RNG.normal(size=(4, 5, 6, 7)).astype(np.float32)
    for k, value in enumerate(values):
        np.save(folder / f"{k}.npy", value)
    source = as_source(folder)
    assert isinstance(source, ArraySource) and source.spatial == 3 and source.name == "volumes"
    data = source.open()
    assert (len(data), data.shape, data.name(2)) == (4, (5, 6, 7, 1), "2.npy")
    np.testing.assert_allclose(np.stack(written_back(source)), values, atol=1e-6)
    np.save(folder / "4.npy", values[0, 1:])
    with pytest.raises(UserError, match=r"'.*4.npy' is float32 of shape \(4, 6, 7\), and '0.npy' float32 of shape"):
        source.open()


def test_numpys_and_zarrs_files_are_read(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    x, y = RNG.normal(size=(10, 6, 5)).astype(np.float32), RNG.integers(0, 3, 10)
    vectors = RNG.normal(size=(10, 4))
    np.save(tmp_path / "a.npy", x)
    np.savez(tmp_path / "b.npz", x=x, vectors=vectors)
    np.savez_compressed(tmp_path / "c.npz", images=x, y=y)
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(x))
    zarr.create_array(store=str(tmp_path / "e.zarr"), data=x, chunks=(4, 6, 5))
    group = zarr.open_group(str(tmp_path / "f"), mode="w")
    group.create_array("data", data=x)
    group.create_array("labels", data=y)
    zarr.create_array(store=str(tmp_path / "g.zarr"), shape=x.shape, chunks=(3, 6, 5), dtype="f4", zarr_format=2)[:] = x
    first = open_dataset(tmp_path / "a.npy")
    for name in ("a.npy", "b.npz", "c.npz", "d.npz", "e.zarr", "f", "g.zarr"):
        data = open_dataset(tmp_path / name)
        assert isinstance(data, ArrayData)
        for k in (7, 0, 9):
            assert np.array_equal(data.pixels(k), first.pixels(k)), name
            assert data.key(k) == first.key(k)
    told = open_dataset(tmp_path / "b.npz")
    assert told.info.vector_size == 4
    np.testing.assert_allclose(told.columns(3)["vector"], vectors[3], rtol=1e-6)
    for name in ("c.npz", "f"):
        data = open_dataset(tmp_path / name)
        assert data.info.classes == ("0", "1", "2")
        assert np.array_equal(data.columns(5)["label"], np.eye(3)[y[5]])
    beside = ArraySource(path=str(tmp_path / "a.npy"), vectors=saved(tmp_path / "v.npy", vectors)).open()
    assert beside.info.vector_size == 4


def test_what_is_missing_is_nan(tmp_path: Path) -> None:
    x = RNG.normal(size=(6, 8, 8)).astype(np.float32)
    mask = RNG.random((6, 8, 8)) < 0.7
    np.savez(tmp_path / "a.npz", x=x, mask=mask)
    np.save(tmp_path / "b.npy", np.where(mask, x, np.nan))
    np.savez(tmp_path / "c.npz", x=(100 * x).astype(np.int16), mask=mask)
    for name in ("a.npz", "b.npy", "c.npz"):
        source = ArraySource(path=str(tmp_path / name))
        full, why = completed(source)
        assert full.missing and full.modality is not None and full.modality.missing
        assert f"missing values: {int((~mask).sum())}, in 6 of 6 examples" in why[1]
        settings = DataSettings(source=full, size=(8, 8), channels=1)
        assert read_settings({"source": {"kind": "array", "path": str(tmp_path / name)}}).source == source
        batch = batch_of(settings.open(), settings.transform(), range(6))
        assert np.array_equal(batch.x[:, 0].isnan().numpy(), ~mask)
        wider = DataSettings(source=full, size=(10, 8), channels=1, fit="contain").transform()
        assert wider is not None
        framed = batch_of(full.open(), wider, range(6)).x[:, 0]
        assert bool(framed[:, [0, -1]].isnan().all())  # of a border nothing is known
        assert torch.equal(framed[:, 1:-1].nan_to_num(9), batch.x[:, 0].nan_to_num(9))
    data = ArraySource(path=str(tmp_path / "b.npy"), missing=False).open()
    with pytest.raises(ValueError, match=r"some of its values are NaN: .*missing"):
        data.pixels(0)


def test_known_values_alone_are_resized(tmp_path: Path) -> None:
    """A constant with holes stays that constant where enough is known; and what has no holes is resized as ever."""
    values = np.full((8, 8, 1), 0.25, np.float32)
    values[2, 3] = np.nan
    values[4:, :4] = np.nan
    from carrara.data.transforms import resize

    small = resize(values, (4, 4))
    assert np.isnan(small[2:, :2]).all() and not np.isnan(small[:2]).any() and not np.isnan(small[2:, 3]).any()
    np.testing.assert_allclose(small[~np.isnan(small)], 0.25, atol=1e-6)
    beyond = np.array([-3.0, -3, 5, 5], np.float32)[:, None]
    assert resize(beyond, (8,)).min() == -3 and resize(beyond, (8,)).max() == 5


def test_pictures_stay_pictures(tmp_path: Path) -> None:
    makers: dict[str, Callable[[], Any]] = {
        "levels": lambda: RNG.integers(0, 255, (8, 8, 3)).astype(np.uint8),
        "floats": lambda: RNG.random((8, 8)).astype(np.float32),
        "beyond": lambda: RNG.normal(size=(8, 8)).astype(np.float32),
        "signed": lambda: RNG.integers(-9, 9, (8, 8)).astype(np.int16),
        "volumes": lambda: RNG.random((5, 5, 5, 2)).astype(np.float32),
    }
    for name, make in makers.items():
        (tmp_path / name).mkdir()
        for k in range(3):
            np.save(tmp_path / name / f"{k}.npy", make())
    kinds = {name: as_source(tmp_path / name).kind for name in makers}
    assert kinds == {"levels": "folder", "floats": "folder", "beyond": "array", "signed": "array", "volumes": "array"}


def test_keys_are_remembered_of_large_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("carrara.data.array.dataset.REMEMBERED", 1)
    values = RNG.normal(size=(6, 8)).astype(np.float32)
    source = ArraySource(path=saved(tmp_path / "a.npy", values))
    whole = fingerprint(source.open())
    monkeypatch.setattr(ArrayData, "_digests", lambda self: pytest.fail("it was read again"))
    assert fingerprint(source.open()) == whole
    monkeypatch.undo()
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    saved(tmp_path / "a.npy", values[::-1])
    assert fingerprint(source.open()) != whole


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([["a", "b"]]), "holds texts, and arrays are of whole or real numbers"),
        (
            np.ones((3, 8)) * 1j,
            "holds complex numbers, and arrays are .*: give real and imaginary parts as two channels",
        ),
        (np.zeros((0, 8, 8)), r"holds no examples: its array has the shape \(0, 8, 8\)"),
        (np.ones((3, 8)), "has no range, because all values are 1: declare one by"),
        (np.full((3, 8), np.nan), "has no range, because no value is known"),
        (
            np.array([[1.0, np.inf, 2, 3]]),
            "has 1 infinite values, and values are finite: leave it out",
        ),
        (np.ones(8), r"has 1 axes \(8,\): give curves"),
        (np.array([[None, 1]]), "holds Python objects, which are not read"),
    ],
)
def test_what_is_no_array_is_said(values: np.ndarray, words: str, tmp_path: Path) -> None:
    source = ArraySource(path=str(tmp_path / "a.npy"))
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(UserError, match=words):
        source.completed(source.open())


def test_which_array_is_meant_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", one=np.ones((3, 8)), two=np.zeros((3, 8)), short=np.zeros((2, 8)))
    path = str(tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"has the arrays one \(3, 8\), .*say which are the examples, as in"):
        ArraySource(path=path).open()
    assert ArraySource(path=path, array="two", low=0.0, high=1.0).open().pixels(0).max() == 0
    with pytest.raises(UserError, match="has no array 'three', but one"):
        ArraySource(path=path, array="three").open()
    with pytest.raises(UserError, match=r"has 3 examples, and vectors of shape \(2, 8\)"):
        ArraySource(path=path, array="one", vectors="short").open()
    with pytest.raises(UserError, match=r"there is no array '.*b\.npy'"):
        ArraySource(path=str(tmp_path / "b.npy")).open()
    with pytest.raises(ValueError, match="a range goes up, and low is 2, high 1"):
        ArraySource(path=path, low=2.0, high=1.0)
    with pytest.raises(ValueError, match="a range goes up"):
        ArraySource(path=path, low=float("nan"))
