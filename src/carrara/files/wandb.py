"""Files of Weights & Biases' offline runs: records in blocks, as LevelDB's logs have them.

After 7 bytes that say what it is come blocks of 32 KiB. A piece in a block has 7 bytes of its own: CRC (4), length (2)
and kind (1). A record is one whole piece, or a first, any number of middle ones, and a last.
"""

from collections.abc import Iterator
from pathlib import Path

from carrara.files.reading import BadFile, opened

MAGIC = b":W&B"
BLOCK = 1 << 15
LARGEST = 1 << 30
_HEAD = 7
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path, most: int = 1 << 24) -> Iterator[bytes]:
    """The records of a file, up to the first that is not whole: a run may be writing it.

    Args:
        most: bytes of one record.

    Raises:
        BadFile: it is no such file, or has a record that is larger.
    """
    with opened(path, LARGEST) as file:
        if file.read(_HEAD)[: len(MAGIC)] != MAGIC:
            raise BadFile(path, "is no file of Weights & Biases")
        place, parts = _HEAD, b""
        while True:
            left = BLOCK - place % BLOCK
            if left < _HEAD:
                file.read(left)
                place += left
                continue
            head = file.read(_HEAD)
            size, kind = int.from_bytes(head[4:6], "little"), head[6] if len(head) == _HEAD else 0
            content = file.read(size)
            if kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST) or len(content) < size:
                return
            place += _HEAD + size
            parts = content if kind in (_WHOLE, _FIRST) else parts + content
            if len(parts) > most:
                raise BadFile(path, f"has a record of more than {most} bytes")
            if kind in (_WHOLE, _LAST):
                yield parts
