"""How large a picture is, as a value and as a user says it."""

from carrara.errors import UserError

_DIGITS = 18
MOST_EDGES = 3
"""Of a volume."""
Size = tuple[int, ...]
"""(height, width) of pictures; an edge for each axis of sounds and volumes."""
SaidSize = str | int | Size
"""A size as a user says it: "96x64", one number for a square, or (height, width)."""


def read_size(said: SaidSize | None) -> Size | None:
    """(height, width) from what a user says; None stays None.

    Raises:
        UserError: it is no size.
    """
    if said is None:
        return None
    if isinstance(said, tuple):
        edges = [str(edge) for edge in said]
    else:
        edges = str(said).lower().split("x")
        edges = 2 * edges if len(edges) == 1 else edges if len(edges) <= MOST_EDGES else [""]
    if not all(edge.strip().isdecimal() and len(edge) <= _DIGITS for edge in edges):
        raise UserError(f"'{str(said)[:40]}' is no size: say height x width, as in 96x64, or one number for a square")
    return tuple(map(int, edges))


def suited(size: Size | None, spatial: int) -> Size | None:
    """A size that was said as one number, and read as a square, with as many edges as samples have; else unchanged."""
    alike = size is not None and len(size) == 2 and size[0] == size[1]
    return size[:1] * spatial if size is not None and alike and spatial else size
