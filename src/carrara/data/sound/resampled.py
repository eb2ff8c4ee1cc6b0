"""The samples of many sound files at one rate, made once and kept in the user's cache.

A cache is one array of 16-bit numbers: what became of each file (``FAULTY``, ``GOOD`` or ``SILENT``), then the files'
samples, one file after the other, with the channels of a time side by side. Its name is a hash of the files' contents
and of the rate, so that a cache of other files or of another rate is never read. Sounds of more than two channels are
mixed to one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from rich import get_console
from rich.progress import track

from carrara.data.base import Unreadable
from carrara.data.files import Header, content_in, explain
from carrara.data.index import Rows
from carrara.errors import UserError
from carrara.files import NEVER, BadFile, cache_folder, check_room, open_array, opened, replacing, stamp_of
from carrara.files.sound import read_sound, sound_header

FAULTY, GOOD, SILENT = 0, 1, 2
QUIET = 1
"""A sound whose samples are at most so much, of 32768, is silent."""
_SCALE = 32768.0
_MANY = 200
_VERSION = 1


def read_sound_header(path: Path) -> Header:
    """What a sound file says about itself: ``size`` is (frames, rate). Never raises: see ``Header.problem``.

    Raises:
        UserError: the package that reads sounds is missing.
    """
    stamp = NEVER
    try:
        with opened(path) as file:
            stamp, content = stamp_of(file), content_in(file)
        found = sound_header(path)
    except (BadFile, OSError) as error:
        return Header(path=path, stamp=stamp, problem=explain(path, error))
    size = (found.frames, found.rate)
    return Header(path=path, stamp=stamp, size=size, mode=found.form, channels=found.channels, content=content)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """The samples of some files.

    Attributes:
        channels: (N,) of each file, 1 or 2.
        frames: (N,) of each file at the common rate.
        states: (N,) ``FAULTY``, ``GOOD`` or ``SILENT``.
        samples: of all files, one after the other.
    """

    channels: NDArray[np.int64]
    frames: NDArray[np.int64]
    states: NDArray[np.int16]
    samples: NDArray[np.int16]

    @property
    def firsts(self) -> NDArray[np.int64]:
        """Where the samples of each file begin."""
        return np.cumsum(self.channels * self.frames) - self.channels * self.frames


def resampled(folder: Path, names: Sequence[str], rows: Rows, rate: int) -> Resampled:
    """The samples of files at a rate; made if they are not in the cache.

    Args:
        names: of the files, within the folder.
        rows: what their headers say, as of ``read_sound_header``.

    Raises:
        UserError: a package is missing, or there is no room.
    """
    channels = np.where(rows["channels"] > 2, 1, rows["channels"]).astype(np.int64)
    frames = np.maximum(1, rows["size"][:, 0].astype(np.int64) * rate // rows["size"][:, 1])
    length = len(rows) + int((channels * frames).sum())
    digest = hashlib.blake2b(repr((_VERSION, rate, length)).encode(), digest_size=12)
    digest.update(np.ascontiguousarray(rows["content"]).tobytes())
    path = cache_folder() / f"sounds-{digest.hexdigest()}.npy"
    array = _kept(path, length)
    if array is None:
        check_room(path.parent, 2 * length, "sounds at one rate", "set CARRARA_CACHE to a folder with more room")
        _make(path, length, zip([folder / name for name in names], rows["size"][:, 1].tolist(), channels.tolist(),
                                frames.tolist(), strict=True), rate, len(rows))  # fmt: skip
        array = open_array(path)
    return Resampled(channels=channels, frames=frames, states=np.array(array[: len(rows)]), samples=array[len(rows) :])


def _kept(path: Path, length: int) -> NDArray[Any] | None:
    with suppress(BadFile):
        array = open_array(path)
        if array.shape == (length,) and array.dtype == np.int16:
            return array
    return None


def _make(path: Path, length: int, files: Iterator[tuple[Path, int, int, int]], rate: int, count: int) -> None:
    """Writes a cache; what cannot be decoded is silence there."""
    quiet = count < _MANY or not get_console().is_terminal
    states = np.full(count, GOOD, np.int16)
    with replacing(path) as file:
        npy.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": (length,)})
        begin = file.tell()
        file.write(states.tobytes())
        works = track(files, "Resampling", total=count, transient=True, disable=quiet)
        for k, (source, own, channels, frames) in enumerate(works):
            try:
                parts, left, peak = decoded(source, own, rate, channels), frames, 0
                for part in parts:
                    kept = part[:left]
                    left, peak = left - len(kept), max(peak, int(np.abs(kept.astype(np.int32)).max(initial=0)))
                    file.write(kept.tobytes())
                states[k] = SILENT if peak <= QUIET else GOOD
            except Unreadable:
                states[k] = FAULTY
            ends = begin + states.nbytes + 2 * channels * frames
            file.write(b"\0" * (ends - file.tell()))
            begin += 2 * channels * frames
        file.seek(begin - 2 * (length - count))
        file.write(states.tobytes())


def decoded(path: Path, own: int, rate: int, channels: int) -> Iterator[NDArray[np.int16]]:
    """The samples (<= some, channels) of a file at another rate, a part at a time.

    Args:
        own: the file's rate.
        channels: 1 mixes all of the file's.

    Raises:
        Unreadable: with the reason.
        UserError: a package is missing.
    """
    stream = None if own == rate else _resampler(own, rate, channels)
    try:
        for block in read_sound(path):
            mixed = block if block.shape[1] == channels else block.mean(1, keepdims=True)
            yield _whole(mixed if stream is None else stream.resample_chunk(np.ascontiguousarray(mixed)), channels)
        if stream is not None:
            yield _whole(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True), channels)
    except BadFile as error:
        raise explain(path, error) from None


def _resampler(own: int, rate: int, channels: int) -> Any:
    try:
        import soxr
    except ImportError:
        raise UserError(
            "sounds are brought to another rate by the package 'soxr': pip install 'carrara[sound]'"
        ) from None
    return soxr.ResampleStream(own, rate, channels, dtype="float32", quality="HQ")


def _whole(values: NDArray[np.float32], channels: int) -> NDArray[np.int16]:
    """As 16 bits hold samples; those that resampling made louder than full scale are clipped."""
    return np.rint(values * np.float32(_SCALE)).clip(-_SCALE, _SCALE - 1).astype("<i2").reshape(-1, channels)


def as_levels(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Samples v as (v + 1) / 2, which is what a data set of sounds holds; exact."""
    return (samples.astype(np.float32) + np.float32(_SCALE)) / np.float32(2 * _SCALE)
