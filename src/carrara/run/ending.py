"""Why a training ended before its time, for whoever looks at its folder later: ``.ended.json``.

It is there only after a mistake or a fault: who was asked to stop has stopped well, and who was killed says nothing.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from carrara.errors import UserError
from carrara.files import BadFile, NotWritten, delete, is_folder, read_as, replacing

ENDED = ".ended.json"
_LONGEST = 2000


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Why a training has ended.

    Attributes:
        message: a sentence, with marks where it names options and commands; see ``errors``.
    """

    message: Annotated[str, Field(max_length=1 << 14)]


@contextmanager
def noted(folder: Path) -> Generator[None]:
    """A block that trains in a folder: what ends it by a mistake or a fault is noted there, if it still can be."""
    delete(folder / ENDED)
    try:
        yield
    except Exception as error:
        message = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        if is_folder(folder):
            with suppress(NotWritten), replacing(folder / ENDED) as file:
                file.write(json.dumps({"format": 1, "message": message[:_LONGEST]}).encode())
        raise


def read_ended(folder: Path) -> str | None:
    """What was noted; None if the training that was last there did not end so."""
    try:
        return read_as(folder / ENDED, Ended).message
    except BadFile:
        return None
