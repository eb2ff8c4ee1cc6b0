"""What a picture's record says, checked: anybody may have written it.

A record never leads to a run that its reader did not mean. One that ships is known by its name; any other must lie
below the current folder, beside the picture or above it, or in the folder that the user names.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from carrara.draw.request import Request, read_request
from carrara.errors import UserError, option
from carrara.files import Malformed, as_kind
from carrara.medium import Size
from carrara.store.runs import shipped

Name = Annotated[str, Field(min_length=1, max_length=1024)]
Place = Annotated[int, Field(strict=True, ge=1, le=1 << 20)] | None
_UNNAMEABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff]")
_NUMBER = 1000
"""What a number of an edit may be, if no edge of its picture is larger."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a picture of Carrara's carries, as far as it is looked at.

    Attributes:
        run: where the model was.
        weights: its digest.
        picture: what is to be seen.
        request: what was drawn, as JSON; see ``Request``.
        edit: what was done to which pictures, as JSON; see ``Verb``.
        row, column: which one of an edit's results it is, from 1; None is all of them.
        result: which one of an autoencoder's, from 0.
    """

    run: Name
    weights: Name
    picture: Literal["grid", "strip", "sample", "edit"] | None = None
    request: Mapping[str, Any] | None = None
    edit: Mapping[str, Any] | None = None
    row: Place = None
    column: Place = None
    result: Annotated[int, Field(strict=True, ge=0, le=1 << 20)] | None = None

    @property
    def place(self) -> dict[str, int]:
        """Which one of several results it is, as far as it says."""
        known = {"row": self.row, "column": self.column, "result": self.result}
        return {name: value for name, value in known.items() if value is not None}

    @property
    def rivals(self) -> Iterator[tuple[str, str]]:
        """The other places that the request names, and what is there."""
        asked = self.request or {}
        named = [(asked.get("weak"), "a weaker model")]
        named += [(asked.get(name), "a classifier") for name in ("guide", "found")]
        added = asked.get("adapters")
        named += [(one, "an adapter") for one in (added if isinstance(added, list | tuple) else ())]
        for one, what in named:
            match one:
                case {"run": str(place)} | {"file": str(place)}:
                    yield place, what
                case _:
                    pass


def read_record(image: Path, about: Mapping[str, Any]) -> Record:
    """A picture's record.

    Raises:
        UserError: it is damaged, or of another version.
    """
    try:
        record = as_kind(about, Record)
    except Malformed as error:
        raise not_understood(image, error) from None
    if None in (about.get("request", ""), about.get("edit", "")):
        raise not_understood(image)
    return record


def not_understood(image: Path, why: object = None) -> UserError:
    """What to say of a record that does not hold what is looked for in it."""
    reason = f" (it {why})" if isinstance(why, Malformed) else ""
    only = "only samples and edits can be replayed"
    return UserError(f"the recipe in '{image}' is of another kind or version{reason}: {only}")


def requested(image: Path, record: Record) -> Request:
    """The request of a record.

    Raises:
        UserError: it has none, or that is damaged, or of another version.
    """
    try:
        return read_request(as_kind(record.request, dict[str, Any]))
    except Malformed as error:
        raise not_understood(image, error) from None


def step_of(image: Path) -> int | None:
    """The step of a training that a preview is of, by its name; None of other pictures."""
    found = re.fullmatch(r"step-(\d{1,12})", image.stem)
    return int(found[1]) if found else None


def check_place(image: Path, run: str, named: Path | None, what: str) -> None:
    """Refuses to open a folder that only a record names.

    Args:
        run: the folder.
        named: the folder that the user names, if one is.
        what: is in the folder, as ``the model``.

    Raises:
        UserError: it is none of those that a record may lead to.
    """
    if _UNNAMEABLE.search(run):
        raise UserError(f"the recipe in '{image}' is damaged: it names a folder that can be none")
    if shipped(Path(run)) is not None:
        return
    above = [Path(), image.parent, *([] if named is None else [named])]
    target, picture = _absolute(Path(run)), _absolute(image)
    if target in picture.parents[:-1] or any(_lies_below(target, _absolute(folder)) for folder in above):
        return
    how = f"name it with {option('run')}" if named is None else "begin in a folder above it"
    raise UserError(
        f"'{image}' was made by {what} in '{run}', which lies neither below this folder nor beside the picture: {how}, "
        "if you know whose it is"
    )


def check_extent(image: Path, asked: Sequence[Size], size: Size) -> None:
    """Refuses to draw more than a picture shows.

    Args:
        asked: the sizes of what would be drawn side by side.
        size: the picture's own.

    Raises:
        UserError: that is more than there is room for on the picture.
    """
    room = size[0] * size[1]
    needed = sum(edges[0] * edges[1] for edges in asked if len(edges) == 2)
    if needed > room:
        raise UserError(
            f"the recipe in '{image}' asks for {needed:,} pixels, and the picture has {room:,}: it is not this one's"
        )


def check_edit(image: Path, edit: Mapping[str, Any], size: Size) -> None:
    """Refuses an edit whose numbers are larger than its picture, (height, width), could show.

    Raises:
        UserError: one is.
    """
    for name, value in edit.items():
        texts = re.findall(r"\d+", value) if name in ("canvas", "margins", "box") and isinstance(value, str) else ()
        values = value if isinstance(value, list) else [value, *map(_small, texts)]
        numbers = [one for one in values if isinstance(one, int | float)]
        if not name.endswith("seed") and any(not abs(number) <= max(_NUMBER, *size) for number in numbers):
            raise UserError(f"the recipe in '{image}' has {name} wrong, which the picture cannot show: it is damaged")


def _small(digits: str) -> int:
    return int(digits[:20])


def _absolute(path: Path) -> Path:
    """Without dots, links left as they are: what a user has linked, a user has meant."""
    return Path(os.path.normpath(path.absolute()))


def _lies_below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
