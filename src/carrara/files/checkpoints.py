"""Weights that others have written in one file, as a safetensors file.

A pickle is read by a process of its own (``unpickling``), which has no network, bounded memory and bounded time; what
it hands over is a safetensors file, and is read within bounds as any other.
"""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from carrara.files import unpickling
from carrara.files.reading import BadFile, opened, stamp_of
from carrara.files.writing import scratch

CHECKPOINT = 1 << 36
"""The largest file, in bytes."""
_ROOM = 1 << 35  # of addresses, that torch's own libraries are mapped to
_SECONDS, _PER_SECOND = 120, 1 << 24
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "OMP_NUM_THREADS")
_PICKLED = (b"PK", b"\x80")


@contextmanager
def as_safetensors(path: Path) -> Generator[Path]:
    """A file of weights as a safetensors file, which is gone afterwards if it is another.

    Raises:
        BadFile: it is no file of weights, or holds more than tensors.
    """
    with opened(path, CHECKPOINT) as file:
        start, size = file.read(9), stamp_of(file)[0]
    if not start.startswith(_PICKLED) or start[8:] == b"{":
        if start[8:] != b"{":
            raise BadFile(path, "is no file of weights: neither safetensors, nor pickled by torch")
        yield path
        return
    with scratch() as folder:
        _unpickled(path, folder / "weights.safetensors", size)
        yield folder / "weights.safetensors"


def _unpickled(path: Path, out: Path, size: int) -> None:
    """Has a file unpickled.

    Raises:
        BadFile: it holds more than tensors, or the process did not end well.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(one for one in sys.path if one)
    seconds = _SECONDS + size // _PER_SECOND
    bounds = map(str, (size, _ROOM + 4 * size, seconds))
    code = [sys.executable, "-P", "-s", unpickling.__file__, str(path.absolute()), str(out), *bounds]
    try:
        ended = subprocess.run(
            code, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise BadFile(path, f"was not read within {2 * seconds} seconds") from None
    except OSError as error:
        raise BadFile(path, f"cannot be read: no process can be started ({error.strerror})") from None
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").rpartition(unpickling.MARK)
        why = said[2].strip() if said[1] else f"cannot be read: the process that reads it ended by {ended.returncode}"
        raise BadFile(path, why)
