"""Where the command prints, how it writes messages for a shell, and which of several processes speaks.

What is printed may have names in it that anybody chose. So nothing in it is read as markup, and what would steer a
terminal is written out.
"""

import os
import unicodedata
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, final

from rich.console import Console
from rich.text import Text

from carrara.errors import PLAIN, Spelling, UserError, spelled

if TYPE_CHECKING:
    import torch

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


@contextmanager
def together() -> "Generator[torch.device]":
    """Joins the processes that were started with this one, if there are any, of which one speaks; yields the device to
    work on.

    Within it they speak to each other by ``ranks.from_all`` and its kin alone, so that a mistake of one of them is
    known to all, and said once.
    """
    from carrara.device import default_device
    from carrara.train import distributed, launched

    if "WORLD_SIZE" not in os.environ:  # nobody else was started
        yield default_device()
        return
    with launched() as device:
        console.quiet = not distributed.is_main()
        try:
            yield device
        except UserError as error:
            if distributed.world() == 1:
                raise
            _end(error)


def _end(error: UserError) -> NoReturn:
    """Ends all of the processes, when one has said what is wrong."""
    from carrara.ranks import from_all, rank
    from carrara.train.distributed import leave, wait

    def tell() -> None:
        raise error

    if error.rank is None:
        try:
            from_all(tell)
        except UserError as first:
            error = first
    if error.rank == rank():
        Terminal(stderr=True).print(error.message, style="red")
    with suppress(RuntimeError):  # one of them has gone already
        wait()
    leave(2)
