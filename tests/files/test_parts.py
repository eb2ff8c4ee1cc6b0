"""Tensors in parts: read whole or as a part, and refused where the parts do not make a whole."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from carrara.files import BadFile, declared_parts, has_parts, read_parts

WHOLE = {"a/x": torch.arange(10.0).reshape(5, 2), "a/y": torch.tensor(3, dtype=torch.int64)}


def written(folder: Path, *files: dict[str, tuple[Tensor, list[int]]]) -> Path:
    """A folder as torch's distributed checkpoint writes it: in each file parts, and where they begin."""
    folder.mkdir()
    for number, parts in enumerate(files, start=1):
        said = json.dumps({name: {"saved_offsets": begin} for name, (_, begin) in parts.items()})
        path = folder / f"shard-{number:05}-model-00001-of-00001.safetensors"
        save_file({n: t.contiguous() for n, (t, _) in parts.items()}, path, metadata={"DCP_SHARDING_INFO": said})
    return folder


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    x, y = WHOLE.values()
    return written(tmp_path / "parts", {"a/x": (x[:3], [0, 0]), "a/y": (y, [])}, {"a/x": (x[3:], [3, 0])})


def test_parts_are_read_whole(parted: Path) -> None:
    declared = declared_parts(parted)
    assert has_parts(parted) and not has_parts(parted.parent)
    assert {n: (t.shape, t.dtype) for n, t in declared.items()} == {n: (t.shape, t.dtype) for n, t in WHOLE.items()}
    found = {name: torch.zeros_like(tensor, device="cpu") for name, tensor in declared.items()}
    read_parts(parted, found)
    assert all(torch.equal(found[name], WHOLE[name]) for name in WHOLE)


def test_a_part_that_is_missing_or_elsewhere_is_refused(tmp_path: Path, parted: Path) -> None:
    x = WHOLE["a/x"]
    wrong = {
        "the end": [{"a/x": (x[3:], [3, 0])}],
        "the middle": [{"a/x": (x[:1], [0, 0])}, {"a/x": (x[2:], [2, 0])}],
        "twice": [{"a/x": (x[:3], [0, 0])}, {"a/x": (x[2:], [2, 0])}],
        "far away": [{"a/x": (x, [1 << 40, 0])}],
        "before the begin": [{"a/x": (x, [-1, 0])}],
        "of other columns": [{"a/x": (x[:, :1], [0, 0])}, {"a/x": (x[:, 1:], [0, 1])}],
        "of no axis": [{"a/x": (x, [0])}],
    }
    for name, files in wrong.items():
        with pytest.raises(BadFile, match=r"a/x|headers"):
            declared_parts(written(tmp_path / name, *files))


@pytest.mark.parametrize("said", ["{", "[]", "{}", '{"a/x": 3}', '{"a/x": {"saved_offsets": ["0", 0]}}'])
def test_headers_that_say_something_else_are_refused(tmp_path: Path, said: str) -> None:
    path = tmp_path / "shard-00001-model-00001-of-00001.safetensors"
    save_file({"a/x": WHOLE["a/x"]}, path, metadata={"DCP_SHARDING_INFO": said})
    with pytest.raises(BadFile, match="headers"):
        declared_parts(tmp_path)


def test_other_files_are_refused(parted: Path) -> None:
    (parted / "shard-00003-model-00001-of-00001.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(BadFile, match="no safetensors file"):
        declared_parts(parted)
