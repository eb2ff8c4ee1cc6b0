"""Tensors from strangers: what a header declares is compared before there is memory for it."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from carrara.files import BadFile, open_array, open_tensors, read_pickled, read_tensors, shapes

Header = dict[str, Any]
ONE: Header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}


def written(path: Path, header: Any, data: bytes = bytes(24), length: int | None = None) -> Path:
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def changed(**changes: Any) -> Header:
    return {"a": {**ONE["a"], **changes}}


LIES = {
    "larger shape": changed(shape=[10**6, 10**6]),
    "negative shape": changed(shape=[-2, 3]),
    "huge shape": changed(shape=[2**62, 2**62]),
    "no shape": changed(shape=None),
    "a word as a shape": changed(shape="x"),
    "fractions": changed(shape=[1.5, 4]),
    "beyond the end": changed(data_offsets=[0, 2400]),
    "backwards": changed(data_offsets=[24, 0]),
    "another type": changed(dtype="F64"),
    "no type": changed(dtype="X7"),
    "a list": [],
    "null": None,
    "a number": 5,
    "no JSON": b"{",
    "deep": b"[" * 100_000,
    "overlapping": {**ONE, "b": ONE["a"]},
    "a gap": {"a": {**ONE["a"], "shape": [1, 3], "data_offsets": [12, 24]}},
}


@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie_are_refused(tmp_path: Path, lie: str) -> None:
    path = written(tmp_path / "a.safetensors", LIES[lie])
    for read in (open_tensors, shapes, read_tensors):
        with pytest.raises(BadFile, match=r"a\.safetensors' is damaged"):
            read(path)


@pytest.mark.parametrize("length", [0, 1, 10**6, 1 << 40, (1 << 64) - 1])
def test_headers_of_another_length_are_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "a.safetensors", ONE, length=length)
    with pytest.raises(BadFile, match="is damaged"):
        open_tensors(path)


@pytest.mark.parametrize("size", [0, 3, 8, 20, 60])
def test_what_is_cut_is_refused(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "a.safetensors", ONE)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BadFile, match="is damaged"):
        read_tensors(path)


def test_what_is_wanted_is_compared_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(2, 3)}, path)
    assert shapes(path) == {"a": (2, 3)}
    assert torch.equal(read_tensors(path, {"a": torch.zeros(2, 3)})["a"], torch.ones(2, 3))
    for like, why in (
        ({"a": torch.zeros(3, 2)}, r"of shape \(2, 3\), and the shape here is \(3, 2\)"),
        ({"a": torch.zeros(2, 3), "b": torch.zeros(1)}, "does not hold 'b'"),
        ({}, "holds 'a', which nothing here is called"),
    ):
        with pytest.raises(BadFile, match=why):
            read_tensors(path, like)


class Evil:
    """Whoever reads it runs it."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize("how", ["pickle", "torch", "torch, old", "noise", "nothing"])
def test_pickles_that_run_are_refused(tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pth"
    match how:
        case "pickle":
            path.write_bytes(pickle.dumps(Evil()))
        case "torch" | "torch, old":
            torch.save({"a": Evil()}, path, _use_new_zipfile_serialization=how == "torch")
        case _:
            path.write_bytes(b"PK\x03\x04 noise" * (how == "noise"))
    with pytest.raises(BadFile, match="holds no weights that can be read safely"):
        read_pickled(path)
    assert not Path("ran").exists()


def test_a_sparse_array_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2147483648,), }".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    with pytest.raises(BadFile, match="declares 17179869184 bytes"):
        open_array(path)
    with path.open("r+b") as file:
        file.truncate(128 + (1 << 34))  # 16 GiB that are nowhere
    with pytest.raises(BadFile, match="declares 17179869184 bytes of numbers, and 4294967296 can be read"):
        open_array(path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9" + "9" * 300 + ",), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 'x', }",
        "{'descr': '<f8'}",
        "__import__('os')",
        "(" * 5000,
        "",
    ],
)
def test_arrays_with_strange_headers_are_refused(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(64))
    with pytest.raises(BadFile, match=r"a\.npy'"):
        open_array(path)


def test_a_good_array_stays_on_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3))
    read = open_array(tmp_path / "a.npy")
    assert isinstance(read, np.memmap) and read.tolist() == [[0, 1, 2], [3, 4, 5]]
