"""What other libraries tell their own developers, and nobody else needs to read."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def quiet(logger: str | None = None) -> Generator[None]:
    """A block without Python's warnings, and without what a logger says that is no error; None is the root."""
    found = logging.getLogger(logger)
    level = found.level
    found.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        found.setLevel(level)
