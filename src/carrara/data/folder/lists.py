"""Lists of the pictures of a folder that are to be taken, and no others."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from carrara.data.folder.columns import FILE, name_in, plain
from carrara.data.folder.layout import counted
from carrara.data.folder.listing import TABLES, Listing, ending_of
from carrara.data.folder.reading import Reading
from carrara.data.folder.tables import TABLE, rows_of
from carrara.errors import UserError
from carrara.files import BadFile, read_text, shown


def listed(path: Path) -> dict[str, str]:
    """The pictures of a list, a table or a name a line: what is said of the content of each, by its name.

    Raises:
        UserError: it cannot be read, or lists nothing.
    """
    found: dict[str, str] = {}
    if ending_of(path.name) in TABLES:
        for row in rows_of(path):
            if (name := name_in(row.values, _column(row.values))) is not None:
                found[name] = str(row.values.get("content") or "")
    else:
        found = dict.fromkeys(filter(None, map(str.strip, read_text(path, TABLE).splitlines())), "")
    if not found:
        raise BadFile(path, "lists no pictures", "give a name in each line, or a table with a column file_name")
    return found


def restricted(listing: Listing, reading: Reading) -> tuple[Listing, list[str]]:
    """What is left of a listing where a list says what to take, and what to say of it.

    Raises:
        UserError: the list cannot be read, or has no picture of the folder.
    """
    if reading.only == "all":
        return listing, []
    names, takes_all = listed(Path(reading.only)), "data.source.only=all takes all"
    kept = [name for name in listing.pictures if shown(name) in names]
    if not kept:
        raise UserError(f"the list '{shown(reading.only)}' has no picture of the folder: {takes_all}")
    others, missing = len(listing.pictures) - len(kept), len(names) - len(kept)
    text = f"{counted(len(kept), 'picture')} by the list {shown(reading.only)}, and not {counted(others, 'other')}"
    text += f"; {missing} of the list are not there" if missing else ""
    return replace(listing, pictures=kept), [f"{text}; {takes_all}"]


def _column(row: Mapping[str, object]) -> str:
    """The column that has the names."""
    return next((key for key in row if plain(key) in FILE), next(iter(row), ""))
