"""A data set by its name: a folder, or a built-in one."""

from pathlib import Path

from carrara.data.base import Dataset
from carrara.data.builtin import digits, swissroll
from carrara.data.emoji import openmoji
from carrara.data.folder import Folder
from carrara.errors import UserError, close_match

BUILTIN = ("digits", "openmoji", "swissroll")


def open_dataset(
    source: str | Path,
    *,
    size: int | None = None,
    skin_tones: bool = False,
    points: int = 20_000,
    thickness: float = 0.02,
) -> Dataset:
    """Opens a folder of pictures or a built-in data set, whose names come first: ``./digits`` is always a folder.

    Args:
        size: the edge of OpenMoji's pictures; None = 32.
        skin_tones: OpenMoji's skin-tone variants too.
        points: of the Swiss roll.
        thickness: of the Swiss roll, where its coordinates have a standard deviation of about one.

    Raises:
        UserError: there is no such data set, or nothing readable in it.
    """
    match str(source):
        case "digits":
            return digits()
        case "openmoji":
            return openmoji(size or 32, skin_tones)
        case "swissroll":
            return swissroll(points, thickness)
        case name if Path(name).is_dir():
            return Folder(name)
        case name if Path(name).exists():
            raise UserError(f"'{name}' is a file: give the folder with the pictures")
        case name:
            options = f"built-in data are {', '.join(BUILTIN)}"
            raise UserError(f"there is no folder '{name}', and {options}.{close_match(name, BUILTIN)}")
