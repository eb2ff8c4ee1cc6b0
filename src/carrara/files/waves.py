"""WAV files of whole numbers, written, and what another program makes of a file, read."""

import io
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import TimeoutExpired, run
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from carrara.files.reading import BadFile, read_bytes

_LARGEST = 1 << 31
_PATIENCE = 300  # seconds


def wave_bytes(levels: NDArray[np.int16], rate: int) -> bytes:
    """A WAV file of 16 bits.

    Args:
        levels: (L,), or (L, channels).
        rate: samples a second.
    """
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setnchannels(1 if levels.ndim == 1 else levels.shape[1])
            writer.setsampwidth(2)
            writer.setframerate(rate)
            writer.writeframes(levels.astype("<i2").tobytes())
        return file.getvalue()


def converted(content: bytes, names: tuple[str, str], words: Callable[[str, str], Sequence[str]]) -> bytes | None:
    """What a program makes of a file, in a folder that is gone afterwards; None if it makes nothing.

    Args:
        content: of the file that it reads.
        names: of the file that it reads, and of the one that it writes.
        words: the command, from their paths.
    """
    with TemporaryDirectory() as folder:
        source, target = Path(folder, names[0]), Path(folder, names[1])
        source.write_bytes(content)
        try:
            done = run([*words(str(source), str(target))], capture_output=True, timeout=_PATIENCE, check=False)
            return read_bytes(target, _LARGEST) if done.returncode == 0 else None
        except (OSError, TimeoutExpired, BadFile):
            return None
