"""How tagged unions are written in recipes and saved models.

``schedule: cosine`` is short for ``schedule: {kind: cosine}``, where more may stand: ``{kind: cosine, s: 0.01}``.

A member of a union is a frozen dataclass with a field ``kind``. To hold one, annotate a field with
``Annotated[AnySchedule, SPELLED, BY_KIND]``.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, cast

from pydantic import AfterValidator, AllowInfNan, BeforeValidator, Field

LARGEST_SAMPLE = 1 << 28
"""The most numbers of a sample."""


def mapping_of(value: object) -> Mapping[str, Any] | None:
    """A plain value as a section of keys; None if it is none."""
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else None


def spell_out(value: Any) -> Any:
    """A member's bare name as its section."""
    return {"kind": value} if isinstance(value, str) else value


SPELLED = BeforeValidator(spell_out)
"""Lets a bare name stand for the member with all defaults."""


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if not 1 <= len(shape) <= 4 or min(shape) < 1 or prod(shape) > LARGEST_SAMPLE:
        raise ValueError(f"a sample has 1 to 4 axes, and 1 to {LARGEST_SAMPLE} numbers")
    return shape


SHAPE = AfterValidator(_checked_shape)
"""Refuses what is no sample's shape."""

INFINITE = AllowInfNan(True)
"""Lets a number be infinite, where that has a meaning; no other number of a recipe, a request or a model may be."""

BY_KIND = Field(discriminator="kind")
"""Chooses the member of the union by its ``kind``."""


def otherwise(kind: str) -> BeforeValidator:
    """As ``SPELLED``, and the ``kind`` may be left out."""

    def with_kind(value: Any) -> Any:
        section = mapping_of(spell_out(value))
        return value if section is None else {"kind": kind, **section}

    return BeforeValidator(with_kind)


UNSAID = Field(exclude_if=lambda value: value is None)
"""Leaves a key out of what is written where it is None: of what hardly any model has."""
