"""What the headers of a large folder said is remembered, so that it is scanned once.

A header holds as long as its file has the size and the times of change that it had. The memory is a file in the user's
cache folder, never in the data's; where it is missing, damaged or of other files, headers are read again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from carrara.data.emoji import cache_folder
from carrara.data.files import Header, read_header, relative, scan
from carrara.pixels import replacing

FEW = 1000
"""Fewer pictures are scanned in no time, and nothing is kept about them."""
_FORMAT = 1


def headers_of(folder: Path, pictures: Sequence[Path]) -> list[Header]:
    """The headers of a folder's pictures, which are read where they are not known."""
    if len(pictures) < FEW:
        return scan(read_header, pictures, "Reading headers")
    memory = _memory(folder)
    known, stamps = _recalled(memory), [_stamp(picture) for picture in pictures]
    found = [
        _header(picture, stamp, known.get(relative(picture, folder)))
        for picture, stamp in zip(pictures, stamps, strict=True)
    ]
    fresh = iter(scan(read_header, [p for p, h in zip(pictures, found, strict=True) if h is None], "Reading headers"))
    headers = [next(fresh) if header is None else header for header in found]
    kept = {
        relative(header.path, folder): [stamp, [*header.size], header.mode, header.channels, header.content]
        for header, stamp in zip(headers, stamps, strict=True)
        if header.size and not header.problem
    }
    if kept != known:
        _remember(memory, kept)
    return headers


def _memory(folder: Path) -> Path:
    """The file in which a folder's headers are kept."""
    name = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()
    return cache_folder() / f"headers-{name}.json"


def _stamp(picture: Path) -> list[int]:
    """What changes with a file; nothing if there is none."""
    with suppress(OSError):
        found = picture.stat()
        return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]
    return []


def _header(picture: Path, stamp: list[int], row: Any) -> Header | None:
    """What is known of a picture; None if that is nothing, damaged, or of another stamp."""
    with suppress(ValueError, TypeError):
        then, (height, width), mode, channels, content = row
        if then == stamp:
            return Header(path=picture, size=(height, width), mode=mode, channels=channels, content=content)
    return None


def _recalled(memory: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(memory.read_bytes())
        if document["format"] == _FORMAT and isinstance(document["headers"], dict):
            return document["headers"]
    return {}


def _remember(memory: Path, headers: Mapping[str, Any]) -> None:
    with suppress(OSError), replacing(memory) as file:  # a memory that cannot be written is only slow
        file.write(json.dumps({"format": _FORMAT, "headers": headers}).encode())
