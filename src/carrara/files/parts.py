"""Tensors that several processes write together, each its own part, by torch's distributed checkpoint.

They are safetensors files, ``shard-00001-model-00001-of-00001.safetensors`` ..., whose headers say where in a tensor
each part lies. So nothing is pickled, and any number of processes reads what any other number wrote, each only what it
needs.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.files.reading import BadFile
from carrara.files.tensors import open_tensors

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup

PART = "shard-*.safetensors"
"""The files that the processes have written."""


def has_parts(folder: Path) -> bool:
    """Whether tensors lie in a folder in parts."""
    return next(folder.glob(PART), None) is not None


def write_parts(folder: Path, tensors: "Mapping[str, Tensor]", group: "ProcessGroup") -> None:
    """Writes what this process has of tensors, in a folder that nobody reads yet; every process of the group calls it.

    Args:
        tensors: on the CPU, the same names in each process; what is parted are ``DTensor``.

    Raises:
        OSError: the disk of one of them is full, or refuses.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer, process_group=group)
    except CheckpointException as error:
        refused = [one for one, _ in error.failures.values() if isinstance(one, OSError)]
        raise (refused[0] if refused else error) from error


def declared_parts(folder: Path) -> "dict[str, Tensor]":
    """The tensors of a folder by name, without their numbers: on the meta device.

    Raises:
        BadFile: a file is no safetensors file, or the parts of a tensor do not make a whole one.
    """
    import torch

    found: dict[str, Tensor] = {}
    for name, about in _reader(folder)[1].items():
        if not _makes_whole([(tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in about.chunks], tuple(about.size)):
            raise BadFile(folder, f"does not hold all parts of '{name}'")
        found[name] = torch.empty(about.size, dtype=about.properties.dtype, device="meta")
    return found


def read_parts(folder: Path, into: "Mapping[str, Tensor]") -> None:
    """Copies what is written into tensors, of which this process may have a part each; nothing is said to others.

    Args:
        into: of the declared names, shapes and types.

    Raises:
        BadFile: the files are damaged.
    """
    from torch.distributed.checkpoint.state_dict_loader import load

    reader, _ = _reader(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that each process reads alone
            load(dict(into), storage_reader=reader, no_dist=True)
    except Exception as error:  # torch's reader raises almost anything
        raise BadFile(folder, f"holds parts that are damaged ({' '.join(str(error).split())[:160]})") from None


def _reader(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """What torch reads the parts with, and what it knows of each tensor."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    for path in sorted(folder.glob("*.safetensors")):
        open_tensors(path)
    reader = HuggingFaceStorageReader(str(folder))
    try:
        return reader, reader.read_metadata().state_dict_metadata
    except Exception as error:  # of headers that somebody has made
        raise BadFile(folder, f"holds parts whose headers are damaged ({' '.join(str(error).split())[:160]})") from None


def _makes_whole(chunks: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], size: tuple[int, ...]) -> bool:
    """Whether parts lie one after the other along the first axis, from its begin to its end."""
    end = 0
    for offsets, sizes in sorted(chunks):
        if len(offsets) != len(size) or offsets[1:] != (0,) * len(size[1:]) or sizes[1:] != size[1:]:
            return False
        if size and offsets[0] != end:
            return False
        end += sizes[0] if size else 1
    return end == (size[0] if size else 1)
