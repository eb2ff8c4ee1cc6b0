"""What the axes of an array are, by letters: N examples, D H W or L places, C channels; ``NHWC`` is many pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError, option

FEW = 4
"""So many or fewer places along an axis are taken for channels."""
PLACES = {"L": 1, "HW": 2, "DHW": 3}
_GUESSES = {
    1: ("L", "L", "L"),
    2: ("LC", "CL", "HW"),
    3: ("HWC", "CHW", "DHW"),
    4: ("DHWC", "CDHW", "DHWC"),
}
"""Of an example with so many axes: if the last has few places, or the first, or neither."""


@dataclass(frozen=True)
class Layout:
    """The axes of a stored array.

    Args:
        axes: their letters, in order.

    Raises:
        ValueError: they are none.
    """

    axes: str

    def __post_init__(self) -> None:
        letters = self.axes.removeprefix("N")
        places = "".join(sorted(letters.replace("C", "", 1), key="DLHW".find))
        if places not in PLACES or len(set(letters)) < len(letters) or not set(letters) <= set("LDHWC"):
            raise ValueError(
                f"axes are N for examples, if there are many, which comes first; L, HW or DHW for places; and C for "
                f"channels, as in NHWC or CHW: '{self.axes[:20]}' is none of these"
            )

    @property
    def many(self) -> bool:
        """Whether the first axis is that of examples."""
        return self.axes[:1] == "N"

    @property
    def own(self) -> str:
        """The axes of an example."""
        return self.axes.removeprefix("N")

    @property
    def spatial(self) -> int:
        """How many of them are places."""
        return len(self.own.replace("C", ""))

    def ordered(self, example: NDArray[Any]) -> NDArray[Any]:
        """An example as (*N, C)."""
        order = [self.own.index(letter) for letter in "DLHWC" if letter in self.own]
        moved = example.transpose(order)
        return moved if "C" in self.own else moved[..., None]

    def shape(self, stored: Sequence[int]) -> tuple[int, ...]:
        """Of an example as (*N, C), from that of the array; nothing is read."""
        own = stored[self.many :]
        edges = [own[self.own.index(letter)] for letter in "DLHW" if letter in self.own]
        return (*edges, own[self.own.index("C")] if "C" in self.own else 1)


def guessed_axes(shape: Sequence[int], what: str, *, many: bool) -> str:
    """What the axes of an array probably are.

    Channels are last if the last axis is short, or else first if the first is; places are what else there is.

    Args:
        what: the array, as a sentence begins.
        many: whether the first axis is that of examples.

    Raises:
        UserError: it has too few or too many of them.
    """
    own = tuple(shape[many:])
    if len(own) not in _GUESSES:
        kinds = (
            "curves (N, L), pictures (N, H, W) or volumes (N, D, H, W)" if many else "a curve, a picture or a volume"
        )
        raise UserError(f"{what} has {len(shape)} axes {tuple(shape)}: give {kinds}, with channels or without")
    last, first, neither = _GUESSES[len(own)]
    return "N" * many + (last if own[-1] <= FEW else first if own[0] <= FEW else neither)


def other_axes(axes: str) -> str:
    """What the axes might be instead; nothing if there is only one way."""
    many, own = axes.startswith("N"), axes.removeprefix("N")
    return next(("N" * many + other for other in _GUESSES[len(own)] if other != own), "")


def checked_axes(axes: str, shape: Sequence[int], what: str, *, many: bool) -> Layout:
    """The axes that somebody says.

    Raises:
        UserError: the array has others.
    """
    layout = Layout(axes)
    if layout.many != many:
        first = "a file of many examples has N first" if many else "each file is an example, so there is no N"
        raise UserError(f"{option('data.source.axes', axes)}: {first}, as in {'NHWC' if many else 'HWC'}")
    if len(axes) != len(shape):
        raise UserError(f"{option('data.source.axes', axes)} names {len(axes)} axes, and {what} has {len(shape)}")
    return layout


def transposed(values: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """What says of places that they are known, (*N) or (*N, C), as it goes with examples (*N, C)."""
    return np.broadcast_to(values[..., None] if values.ndim == len(shape) - 1 else values, tuple(shape))
