"""Arrays from files that anybody may have written: bounded, mapped where they can be, and run nothing."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from carrara.errors import UserError
from carrara.files import BadFile
from carrara.files.arrays import is_zarr, stamp_within, stored_array, stored_arrays

VALUES = np.arange(10 * 6 * 5, dtype=np.float32).reshape(10, 6, 5)


def test_rows_are_mapped_where_nothing_is_packed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    np.savez(tmp_path / "a.npz", x=VALUES, y=np.arange(10))
    for array in (stored_array(tmp_path / "a.npy"), stored_arrays(tmp_path / "a.npz")["x"]):
        assert (array.shape, array.dtype) == (VALUES.shape, VALUES.dtype)
        assert np.array_equal(array.rows(2, 5), VALUES[2:5]) and np.array_equal(array.row(7), VALUES[7])
        assert isinstance(array._values, np.memmap)


def test_what_is_packed_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=VALUES)
    assert np.array_equal(stored_arrays(tmp_path / "a.npz")["x"].whole(), VALUES)
    monkeypatch.setattr("carrara.files.arrays.installed", lambda: 1000)
    with pytest.raises(UserError, match=r"'x.npy' of 1328 bytes that is packed, .*memory is 500: save it unpacked"):
        stored_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no zip file at all"])
def test_what_is_no_npz_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(BadFile, match=r"a\.npz' is no \.npz file that can be read"):
        stored_arrays(tmp_path / "a.npz")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=VALUES)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        content = archive.read("x.npy")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x.npy", content.replace(b"(10, 6, 5)", b"(99, 6, 5)"))
    with pytest.raises(BadFile, match="is not whole: it declares 11880 bytes of numbers, and has 1328"):
        stored_arrays(tmp_path / "b.npz")


def test_a_store_runs_nothing_but_what_unpacks_numbers(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    store = tmp_path / "a.zarr"
    zarr.create_array(store=str(store), shape=VALUES.shape, chunks=(4, 6, 5), dtype="f4", zarr_format=2)[:] = VALUES
    assert is_zarr(store) and np.array_equal(stored_arrays(store)[""].whole(), VALUES)
    told = json.loads((store / ".zarray").read_text())
    for foreign in ("pickle", "json2", "msgpack2"):
        (store / ".zarray").write_text(json.dumps({**told, "filters": [{"id": foreign}]}))
        with pytest.raises(BadFile, match=f"is packed by '{foreign}', which is not run here|no Zarr store that can"):
            stored_arrays(store)
    (store / ".zarray").write_text(json.dumps({**told, "chunks": [1 << 20, 1 << 10, 5]}))
    with pytest.raises(BadFile, match="has chunks of 21474836480 bytes, and at most"):
        stored_arrays(store)
    (store / ".zarray").write_text("{")
    with pytest.raises(BadFile, match="is no Zarr store that can be read"):
        stored_arrays(store)


def test_a_pipe_in_a_store_is_not_waited_for(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(store=str(tmp_path / "a.zarr"), data=VALUES, chunks=(4, 6, 5))
    os.mkfifo(tmp_path / "a.zarr" / "c" / "9")
    with pytest.raises(BadFile, match="is no file, and a Zarr store has files alone"):
        stored_arrays(tmp_path / "a.zarr")


def test_damaged_chunks_are_said(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(store=str(tmp_path / "a.zarr"), data=VALUES, chunks=(4, 6, 5))
    before = stamp_within(tmp_path / "a.zarr")
    for chunk in (tmp_path / "a.zarr" / "c").rglob("0"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    assert stamp_within(tmp_path / "a.zarr") != before
    with pytest.raises(BadFile, match="cannot be unpacked"):
        stored_arrays(tmp_path / "a.zarr")[""].row(1)
