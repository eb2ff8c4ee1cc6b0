"""``carrara --help``: what there is, said by the commands themselves, without what printing in colours needs."""

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from cyclopts import App

ASKED = ([], ["--help"], ["-h"])
"""What is typed for it."""


def overview(app: App, later: Mapping[str, str]) -> str:
    """The commands of ``app``, each with its first sentences, as wide as the terminal.

    Args:
        later: the helps of commands that are loaded when they run, by name.
    """
    commands = [name for name in app if not name.startswith("-")]
    said = {name: _first(later[name] if name in later else app[name].help) for name in sorted(commands)}
    said[" ".join(app.help_flags)] = "What there is; and after a command, what it takes."
    said[" ".join(app.version_flags)] = "The version."
    width = shutil.get_terminal_size().columns
    lines = [f"Usage: {app.name[0]} COMMAND", "", *_wrapped(app.help, width), "", *_table(said, width), ""]
    return "\n".join([*lines, *_wrapped(app.help_epilogue or "", width)])


def _first(text: str) -> str:
    """The first paragraph of a help."""
    return text.strip().partition("\n")[0]


def _table(rows: Mapping[str, str], width: int) -> Iterator[str]:
    """Names in one column, what they mean in another."""
    edge = 4 + max(map(len, rows))
    for name, text in rows.items():
        beginning = f"  {name}".ljust(edge)
        yield textwrap.fill(text, max(width, edge + 20), initial_indent=beginning, subsequent_indent=" " * edge)


def _wrapped(text: str, width: int) -> Sequence[str]:
    """Paragraphs that are as wide as that at most."""
    return [textwrap.fill(line, max(width, 20)) for line in text.splitlines()]
