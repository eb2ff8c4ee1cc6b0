"""Which field of a request is wrong, so that a page can mark it.

A mistake says what is wrong, and seldom in which field: it may come of a part of Carrara that knows nothing of fields.
So it is tried. A field is to blame that alone makes the same mistake, or else one without which there is none.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from carrara.errors import UserError

Attempt = Callable[[dict[str, Any]], object]
"""Does what failed with fewer fields; what it gives does not matter."""


@contextmanager
def blaming(name: str) -> Generator[None]:
    """A mistake in here is a field's, unless it knows better."""
    try:
        yield
    except UserError as error:
        error.param = error.param or name
        raise


@contextmanager
def searching(given: Mapping[str, Any], attempt: Attempt) -> Generator[None]:
    """A mistake in here is one of these fields': the one that is found by trying."""
    try:
        yield
    except UserError as error:
        if error.param is None:
            error.param = _found(error, given, attempt)
        raise


def _found(error: UserError, given: Mapping[str, Any], attempt: Attempt) -> str | None:
    alone = (name for name, value in given.items() if _mistake(attempt, {name: value}) == error.message)
    without = (
        left for left in given if _mistake(attempt, {name: v for name, v in given.items() if name != left}) is None
    )
    return next(alone, None) or next(without, None)


def _mistake(attempt: Attempt, said: dict[str, Any]) -> str | None:
    try:
        attempt(said)
    except UserError as error:
        return error.message
    return None
