"""Where the command prints, and how it writes messages for a shell.

What is printed may have names in it that anybody chose. So nothing in it is read as markup, and what would steer a
terminal is written out.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, final

from rich.console import Console
from rich.text import Text

from carrara.errors import PLAIN, Spelling, spelled

FLAGS: Mapping[str, str] = {"label": "class", "compiled": "compile", "as_json": "json"}
"""Options that are not called as their arguments are."""


def flag(name: str, value: str | None) -> str:
    """``--weak FOLDER`` of the argument ``weak``; keys of a recipe are written as they are, ``data.size=64``."""
    if "." in name:
        return PLAIN.option(name, value)
    option = f"--{FLAGS.get(name, name.replace('_', '-'))}"
    return option if value is None else f"{option} {value}"


SHELL = Spelling(option=flag, program="carrara ")


@final
class Terminal(Console):
    """A console that spells what it prints for a shell, one thing directly after the other."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def print(self, *objects: Any, sep: str = "", **options: Any) -> None:
        parts = (plain(spelled(one, SHELL)) if isinstance(one, str) else one for one in objects)
        super().print(*(self._encodable(one) for one in parts), sep=sep, **options)

    def _encodable(self, one: Any) -> Any:
        """What the terminal has no letters for is written out."""
        text = one.plain if isinstance(one, Text) else one
        if not isinstance(text, str):
            return one
        shown = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        return Text(shown, one.style) if isinstance(one, Text) else shown


def bold(text: object) -> Text:
    """Something that stands out."""
    return styled(text, "bold")


def styled(text: object, style: str) -> Text:
    """Something in a colour, or another style of rich's."""
    return Text(plain(spelled(str(text), SHELL)), style)


def plain(text: str) -> str:
    """A text without what steers a terminal: that is written out, as ``\\x1b``."""
    return "".join(letter if letter in "\n\t" or not _steers(letter) else repr(letter)[1:-1] for letter in text)


def _steers(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in _TURNING


_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""These turn the direction of what follows."""

console = Terminal()
