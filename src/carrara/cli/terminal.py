"""Where the command prints, and how it writes messages for a shell."""

from collections.abc import Mapping
from typing import Any, final

from rich.console import Console

from carrara.errors import Spelling, spelled

FLAGS: Mapping[str, str] = {"label": "class", "compiled": "compile", "as_json": "json"}
"""Options that are not called as their arguments are."""


def flag(name: str, value: str | None) -> str:
    """``--weak FOLDER`` of the argument ``weak``."""
    option = f"--{FLAGS.get(name, name.replace('_', '-'))}"
    return option if value is None else f"{option} {value}"


SHELL = Spelling(option=flag, program="carrara ")


@final
class Terminal(Console):
    """A console that spells what it prints for a shell."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(spelled(one, SHELL) if isinstance(one, str) else one for one in objects), **options)


console = Terminal(highlight=False, soft_wrap=True)
