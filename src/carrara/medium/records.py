"""What files say of how they were made, in whatever format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from carrara import pixels

RECORDED: Mapping[str, Callable[[Path], dict[str, Any]]] = {}
"""Who reads the record of files that are no pictures, by their endings."""


def read_about(path: Path) -> dict[str, Any]:
    """The record that a file carries.

    Raises:
        UserError: it carries none, or cannot be read.
    """
    return RECORDED.get(path.suffix.lower(), pixels.read_recipe)(path)
