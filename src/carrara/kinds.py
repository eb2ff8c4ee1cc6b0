"""How tagged unions are written in recipes and saved models.

``schedule: cosine`` is short for ``schedule: {kind: cosine}``, where more may stand: ``{kind: cosine, s: 0.01}``.

A member of a union is a frozen dataclass with a field ``kind``. To hold one, annotate a field with
``Annotated[AnySchedule, SPELLED, BY_KIND]``.
"""

from typing import Any

from pydantic import BeforeValidator, Field


def _spell_out(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


SPELLED = BeforeValidator(_spell_out)
"""Lets a bare name stand for the member with all defaults."""

BY_KIND = Field(discriminator="kind")
"""Chooses the member of the union by its ``kind``."""


def otherwise(kind: str) -> BeforeValidator:
    """As ``SPELLED``, and the ``kind`` may be left out."""

    def spell_out(value: Any) -> Any:
        spelled = _spell_out(value)
        return {"kind": kind, **spelled} if isinstance(spelled, dict) else spelled

    return BeforeValidator(spell_out)
