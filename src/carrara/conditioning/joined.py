r"""Several wishes for one picture: what a user types with bars between.

``a red heart | a star`` asks for both at once; ``a red heart::0.7 | a star::0.3`` mixes them. The number after ``::``
is the weight w of ``sample.interpolation``'s equation (2), and 1 if none has one; below 0 it avoids. In the place of a
bar that is part of the text, type ``\|``.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from carrara.errors import UserError

_BAR = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the wishes.

    Attributes:
        text: as the model's condition takes it.
        weight: how much it counts.
    """

    text: str
    weight: float = 1.0


def joined(typed: str, names: Sequence[str] = ()) -> tuple[Part, ...]:
    """Takes a wish apart; one without a bar is a single part.

    Args:
        names: texts that mean themselves, bars and all, such as classes.

    Raises:
        UserError: a part is empty, its weight is no number, or only some have one.
    """
    texts = _BAR.split(typed)
    if typed in names or len(texts) == 1:
        return (Part(text=typed if typed in names else typed.replace(r"\|", "|")),)
    parts = [_part(text, typed) for text in texts]
    if len({weight is None for _, weight in parts}) > 1:
        raise UserError(
            f"only some parts of '{typed}' have a weight: write one after each, as in 'a heart::0.7 | a star::0.3', or "
            "none at all"
        )
    return tuple(Part(text=text, weight=1.0 if weight is None else weight) for text, weight in parts)


def _part(text: str, typed: str) -> tuple[str, float | None]:
    words, mark, number = text.strip().rpartition("::")
    words = (words if mark else number).strip().replace(r"\|", "|")
    if not words:
        raise UserError(
            f"a part of '{typed}' says nothing: bars stand between wishes, as in 'heart | star'; type \\| for a bar "
            "in a text"
        )
    return words, _weight(number, typed) if mark else None


def _weight(number: str, typed: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not abs(weight) <= 100:
        raise UserError(
            f"'{number.strip()}' after '::' in '{typed}' is no weight: write a number between -100 and 100, as in "
            "'a heart::0.7 | a star::0.3'"
        )
    return weight
