"""How large a JPEG XL says it is. Its reader decodes a picture when it opens it, so that must be known before.

A codestream begins with FF 0A and a size of variable length, in bits from the lowest on (ISO/IEC 18181-1). It lies in
the file as it is, or in the boxes ``jxlc`` or ``jxlp`` of a container (18181-2).
"""

from io import BufferedReader, BytesIO

_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
_HEAD = 16  # bytes, more than the longest size has
_BOXES = 1000
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def is_jpegxl(head: bytes) -> bool:
    """Whether a reader of JPEG XL would look at a file that begins so."""
    return head[:2] == _CODESTREAM or head[4:7] == b"JXL"


def size_inside(file: BufferedReader | BytesIO) -> tuple[int, int] | None:
    """(width, height) without what turns it; None if the file does not say so. The file is at its beginning again."""
    try:
        head = file.read(len(_SIGNATURE))
        stream = _boxed(file) if head == _SIGNATURE else head + file.read(_HEAD)
    finally:
        file.seek(0)
    return _size(stream[len(_CODESTREAM) :]) if stream.startswith(_CODESTREAM) else None


def _boxed(file: BufferedReader | BytesIO) -> bytes:
    """The beginning of the codestream in a container, all of it if it is short; nothing if the boxes are odd."""
    stream = b""
    for _ in range(_BOXES):
        start, head = file.tell(), file.read(8)
        size, kind = int.from_bytes(head[:4]), head[4:]
        if len(stream) >= _HEAD or not head:
            return stream
        size = int.from_bytes(file.read(8)) if size == 1 else size
        if kind in (b"jxlc", b"jxlp"):
            file.read(4 if kind == b"jxlp" else 0)  # the part's number
            stream += file.read(max(0, min(_HEAD, start + size - file.tell())) if size else _HEAD)
        if not size:  # it goes on to the end
            return stream
        if size < 8:
            break
        file.seek(start + size)
    return b""


def _size(stream: bytes) -> tuple[int, int]:
    bits, at = int.from_bytes(stream[:_HEAD], "little"), 0

    def read(count: int) -> int:
        nonlocal at
        value, at = bits >> at & (1 << count) - 1, at + count
        return value

    small = read(1)

    def edge() -> int:
        return 8 * (1 + read(5)) if small else 1 + read((9, 13, 18, 30)[read(2)])

    height, ratio = edge(), read(3)
    if not ratio:
        return edge(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height
