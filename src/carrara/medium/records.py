"""What files say of how they were made, in whatever format."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from carrara import pixels
from carrara.errors import UserError
from carrara.files import Malformed, check_format, read_midi
from carrara.notes import record_of
from carrara.sounds import read_record


def _of_midi(path: Path) -> dict[str, Any]:
    try:
        found = record_of(read_midi(path))
    except Malformed as error:
        raise UserError(f"'{path}' {error}: name a file that Carrara wrote") from None
    if found is None:
        raise UserError(f"'{path}' carries no record: it was not made by Carrara, or another program saved it again")
    check_format(found, path)
    return found


RECORDED: Mapping[str, Callable[[Path], dict[str, Any]]] = {".mid": _of_midi, ".wav": read_record}
"""Who reads the record of files that are no pictures, by their endings."""


def read_about(path: Path) -> dict[str, Any]:
    """The record that a file carries.

    Raises:
        UserError: it carries none, or cannot be read.
    """
    return RECORDED.get(path.suffix.lower(), pixels.read_recipe)(path)
