"""What leaves this machine does not say where things lie on it: of a path from a root, its last name stays."""

import re
from io import BytesIO
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, cast

from PIL import Image

_PLACE = re.compile(r"(?P<before>(?:[\w-]{2,}:)?)(?P<place>(?:/|~[/\\]|[A-Za-z]:[/\\]|\\\\).*)", re.DOTALL)
"""A path, alone or after a word and a colon, as in ``clip:/models/clip``."""


def without_places(value: Any, found: dict[str, str]) -> Any:
    """Plain values in which each path from a root is its last name.

    Args:
        found: gets the paths, with what they have become.
    """
    match value:
        case str():
            return _named(value, found)
        case dict():
            items = cast(dict[str, Any], value).items()
            return {key: without_places(below, found) for key, below in items}
        case list():
            return [without_places(below, found) for below in cast(list[Any], value)]
        case _:
            return value


def png(image: Image.Image) -> bytes:
    """A picture without its record, which names the run's folder."""
    content = BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _named(text: str, found: dict[str, str]) -> str:
    match = _PLACE.fullmatch(text)
    if match is None:
        return text
    place = match["place"]
    windows = "\\" in place or place[1:2] == ":"
    name = (PureWindowsPath(place) if windows else PurePosixPath(place)).name or "folder"
    found[place] = name
    return match["before"] + name
