"""What the runtime reads from the disk, and writes to it: its own small door, because ``carrara.files`` needs torch.

A folder may have been written by anybody: only regular files of known names are opened, none that is larger than the
card says, and each must have the checksum that the card says.
"""

import hashlib
import json
import math
import os
from io import BytesIO
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError, command

CARD = "card.json"
LONGEST_CARD = 1 << 26
LARGEST = 1 << 32
"""Bytes of a file."""


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a folder, a mapping of which nothing else is known.

    Raises:
        UserError: there is none, or it is no JSON.
    """
    path = folder / CARD
    if not path.is_file():
        raise UserError(
            f"'{folder}' holds no exported model: there is no {CARD} in it; '{command('export RUN', to='onnx')}' "
            "writes one"
        )
    try:
        found = json.loads(_bytes(path, LONGEST_CARD), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"'{path}' is damaged (it is no JSON): export the model again") from None
    if not isinstance(found, dict):
        raise UserError(f"'{path}' is damaged (it is no mapping of keys): export the model again")
    return found  # pyright: ignore[reportUnknownVariableType]


def read_whole(path: Path, size: int, sha256: str) -> bytes:
    """A file of the folder as the card describes it.

    Raises:
        UserError: it is missing, or another one.
    """
    if not path.is_file():
        raise UserError(f"'{path}' is missing: copy the whole folder, or export the model again")
    content = _bytes(path, LARGEST)
    if len(content) != size:
        raise UserError(
            f"'{path}' is damaged (it has {len(content)} bytes, and not {size}): copy it again, or export the model "
            "again"
        )
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(f"'{path}' is damaged (its checksum is another): copy it again, or export the model again")
    return content


def array_of(content: bytes, shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """The numbers of a ``.npy`` file, float32.

    Raises:
        UserError: they have another shape.
    """
    try:
        found = np.lib.format.read_array(BytesIO(content), allow_pickle=False, max_header_size=1000)
    except (ValueError, EOFError, MemoryError):
        found = None
    if found is None or found.shape != shape or found.dtype != np.float32 or not np.isfinite(found).all():
        raise UserError(f"'{name}' does not hold the {math.prod(shape)} numbers of its card: export the model again")
    return found


def write_new(path: Path, content: bytes) -> Path:
    """Writes a whole file, with a number behind its name if there is one of this name; returns where.

    Raises:
        UserError: the disk is full, or refuses.
    """
    unfinished = path.with_name(f".{path.name[:40]}.{os.getpid()}.tmp")
    numbered = (path.with_name(f"{path.stem}-{k}{path.suffix}") for k in count(2))
    try:
        unfinished.write_bytes(content)
        free = next(name for name in chain([path], numbered) if not os.path.lexists(name))
        unfinished.replace(free)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"'{path}' cannot be written ({error.strerror or error})") from None
    return free


def _bytes(path: Path, most: int) -> bytes:
    try:
        if path.stat().st_size > most:
            raise UserError(f"'{path}' has more than {most} bytes, which is too large to be read")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or error})") from None


def _no_number(name: str) -> float:
    raise ValueError(name)
