r"""WAV files that know how they were made.

A sample v in [-1, 1] is written with 16 bits as the whole number

.. math:: n = \operatorname{clip}(\operatorname{round}(32768 v), -32768, 32767),                                  (1)

which readers take as n / 32768; or as a floating-point number, as it is. The record is JSON in the file's comment, so
that players show it. The bytes are a function of samples, rate and record alone.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from carrara.errors import UserError
from carrara.files import Malformed, check_format, parse_json, replacing
from carrara.files.sound import read_comment

_PCM, _FLOAT = 1, 3
_PROGRAM = b"carrara"


def wav_bytes(
    sound: Float[Tensor, "C L"], rate: int, record: Mapping[str, Any] | None = None, bits: Literal[16, 32] = 16
) -> bytes:
    """A sound as a WAV file.

    Args:
        sound: samples in [-1, 1]; with 16 bits, what is louder is clipped.
        rate: samples a second of each channel.
        record: JSON values, stored inside the file.
        bits: 16 are whole numbers, by equation (1), 32 are floating-point.

    Raises:
        ValueError: it would be larger than the format allows (4 GiB).
    """
    values = sound.detach().cpu().numpy().T
    code, width = (_PCM, 2) if bits == 16 else (_FLOAT, 4)
    data = (_whole(values) if bits == 16 else values.astype("<f4")).tobytes()
    channels, frames = len(sound), sound.shape[1]
    form = struct.pack("<HHIIHH", code, channels, rate, rate * channels * width, channels * width, bits)
    chunks = [_chunk(b"fmt ", form if code == _PCM else form + b"\0\0")]
    chunks += [] if code == _PCM else [_chunk(b"fact", struct.pack("<I", frames))]
    if record is not None:
        text = json.dumps(dict(record)).encode("ascii") + b"\0"
        chunks.append(_chunk(b"LIST", b"INFO" + _chunk(b"ISFT", _PROGRAM + b"\0") + _chunk(b"ICMT", text)))
    whole = b"WAVE" + b"".join([*chunks, _chunk(b"data", data)])
    if len(whole) >= 1 << 32:
        raise ValueError(f"a WAV file has less than 4 GiB, and these samples need {len(data)} bytes")
    return _chunk(b"RIFF", whole)


def save_wav(
    sound: Float[Tensor, "C L"],
    rate: int,
    path: Path,
    record: Mapping[str, Any] | None = None,
    bits: Literal[16, 32] = 16,
) -> Path:
    """Writes a sound, completely or not at all; arguments as of ``wav_bytes``.

    Raises:
        NotWritten: the disk is full, or refuses.
        ValueError: it is too large.
    """
    content = wav_bytes(sound, rate, record, bits)
    with replacing(path) as file:
        file.write(content)
    return path


def read_record(path: Path) -> dict[str, Any]:
    """Reads the record that ``save_wav`` stored.

    Raises:
        UserError: the file cannot be read, is no WAV, or has no record, or a newer version's.
    """
    text = read_comment(path)
    try:
        found = parse_json(text) if text is not None and text.lstrip()[:1] == "{" else None
    except Malformed as error:
        raise UserError(f"the record in '{path}' is damaged: it {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"'{path}' carries no record: it was not made by Carrara, or another program saved it again")
    check_format(found, path)
    return cast(dict[str, Any], found)


def _whole(values: NDArray[Any]) -> NDArray[np.int16]:
    """Equation (1)."""
    return np.clip(np.rint(values.astype(np.float64) * 32768), -32768, 32767).astype("<i2")


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
