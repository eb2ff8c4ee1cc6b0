"""Sound files: what their headers declare, their samples a block at a time, and the comment in a WAV.

libsndfile reads the usual formats, by what is in a file and not by its name. A header may declare anything: its numbers
are compared with bounds first, and samples are read block by block, so that no more memory is taken than a block needs,
and a file that holds less than it declares is told. A WAV is a list of chunks (RIFF: four letters, four bytes of size
from the lowest on, content, and a byte more if that is odd); a comment stands in the chunk ``LIST`` of type ``INFO``,
in the one within it that is called ``ICMT``.
"""

import math
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrara.errors import UserError
from carrara.files.reading import TEXT, BadFile, Opened, TooLarge, opened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOUND = 1 << 33
"""The largest file of a sound, in bytes."""
LONGEST_SOUND = (1 << 31) - 1
"""The most samples of all channels that a file may declare."""
FASTEST, MOST_CHANNELS = 1_000_000, 64
BLOCK = 1 << 16
"""Frames that are read at a time."""
LOUDEST = 4.0
"""A floating-point sample may be so much above full scale; what is louder is on another scale."""
SOUND_ENDINGS = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc")
_FORMATS = {"WAV", "WAVEX", "W64", "RF64", "FLAC", "OGG", "MP3", "MPEG", "AIFF"}
_CHUNKS = 1000


@dataclass(frozen=True, kw_only=True)
class SoundHeader:
    """What a sound file says of itself.

    Attributes:
        frames: how many times there is a sample of each channel.
        rate: frames a second.
        form: libsndfile's names of the container and of how samples are stored.
    """

    frames: int
    channels: int
    rate: int
    form: str

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.frames / self.rate


def sound_header(path: Path) -> SoundHeader:
    """Reads what a sound file declares.

    Raises:
        BadFile: it cannot be read, is no sound, is empty, or declares too much.
        UserError: the package is missing.
    """
    with opened(path, SOUND) as file, _sound(file, path) as sound:
        return _header(sound, path)


def read_sound(
    path: Path, first: int = 0, frames: int | None = None
) -> "Generator[NDArray[np.float32], None, SoundHeader]":
    """The samples of a file, (<= BLOCK, channels) at a time, in [-1, 1]; what is a little louder is clipped.

    Args:
        first: frames that are left out; the others before the wanted ones are not decoded, where the format allows it.
        frames: how many; None = all to the end.

    Raises:
        BadFile: as ``sound_header``; or it holds fewer than it declares, or numbers that are no samples.
        UserError: the package is missing.
    """
    import numpy as np

    with opened(path, SOUND) as file, _sound(file, path) as sound:
        header = _header(sound, path)
        left = min(header.frames - first, header.frames if frames is None else frames)
        if first:
            _explained(path, sound.seek, first)
        while left > 0:
            block: NDArray[np.float32] = _explained(path, sound.read, min(BLOCK, left), "float32", True)
            if not len(block):
                raise BadFile(path, f"is cut short: it declares {header.frames} frames, and {left} of them are missing")
            left -= len(block)
            yield _checked(block, path)
    return header


def read_comment(path: Path) -> str | None:
    """The comment of a WAV file; None if it has none.

    Raises:
        BadFile: it cannot be read, or is no WAV file.
    """
    with opened(path, SOUND) as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise BadFile(path, "is no WAV file")
        for name, size in _chunks(file, path):
            if name == b"LIST" and file.read(4) == b"INFO":
                return _comment(file.read(min(size - 4, TEXT)), path)
    return None


def _chunks(file: Opened, path: Path) -> Generator[tuple[bytes, int]]:
    """The names and sizes of the chunks of a file; it is at the content of each."""
    for _ in range(_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        start, size = file.tell(), int.from_bytes(head[4:], "little")
        yield head[:4], size
        file.seek(start + size + size % 2)
    raise BadFile(path, f"has more than {_CHUNKS} chunks")


def _comment(content: bytes, path: Path) -> str | None:
    at = 0
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        if name == b"ICMT":
            try:
                return content[at + 8 : at + 8 + size].rstrip(b"\0").decode("utf-8")
            except UnicodeDecodeError:
                raise BadFile(path, "has a comment that is no text in UTF-8") from None
        at += 8 + size + size % 2
    return None


@contextmanager
def _sound(file: Opened, path: Path) -> Generator[Any]:
    """libsndfile's view of an open file."""
    try:
        import soundfile
    except (ImportError, OSError):  # the second, where the package is there and its library is not
        raise UserError("sounds are read by the package 'soundfile': pip install 'carrara[sound]'") from None
    if not file.read(1):
        raise BadFile(path, "is empty")
    file.seek(0)
    sound = _explained(path, soundfile.SoundFile, file)
    try:
        yield sound
    finally:
        sound.close()


def _explained(path: Path, call: Any, *given: Any) -> Any:
    import soundfile

    try:
        return call(*given)
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, MemoryError) as error:
        said = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise BadFile(path, f"is no sound that can be read ({said[:100]})") from None


def _header(sound: Any, path: Path) -> SoundHeader:
    header = SoundHeader(
        frames=int(sound.frames),
        channels=int(sound.channels),
        rate=int(sound.samplerate),
        form=f"{sound.format} {sound.subtype}",
    )
    if sound.format not in _FORMATS:
        raise BadFile(path, f"is a sound of a format that is not read here ({sound.format})", "save it as WAV or FLAC")
    if header.frames < 1:
        raise BadFile(path, "holds no samples")
    if header.frames * header.channels > LONGEST_SOUND:
        raise TooLarge(path, f"declares {header.frames} frames of {header.channels} channels, which are too many")
    if not 1 <= header.rate <= FASTEST or not 1 <= header.channels <= MOST_CHANNELS:
        raise BadFile(
            path, f"declares {header.channels} channels of {header.rate} samples a second, which no sound has"
        )
    return header


def _checked(block: "NDArray[np.float32]", path: Path) -> "NDArray[np.float32]":
    import numpy as np

    peak = float(np.abs(block).max())
    if not math.isfinite(peak):
        raise BadFile(path, "holds samples that are no numbers (NaN or infinite)", "export it again")
    if peak > LOUDEST:
        raise BadFile(path, f"holds samples up to {peak:g}, where full scale is 1", "scale them to [-1, 1]")
    return block.clip(-1, 1)
