"""What ``carrara data shard`` does."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from time import monotonic

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from carrara.cli.looking import reading_of
from carrara.cli.progress import LINE_EVERY
from carrara.cli.terminal import bold, console
from carrara.data import Folder
from carrara.data.shards import Sharding, Written, shard
from carrara.errors import UserError
from carrara.files import in_words


def write(
    folder: Path, out: Path, overrides: Sequence[str], examples: int, megabytes: int, workers: int | None
) -> None:
    """Writes a folder's pictures as shards, and shows how far that is."""
    try:
        settings = Sharding(most_bytes=megabytes * 10**6, most_examples=examples, workers=workers)
    except ValueError as error:
        raise UserError(str(error)) from None
    pictures = Folder(folder, reading=reading_of(overrides))
    for remark in pictures.info.remarks:
        console.print(remark, style="dim")
    try:
        last = _watched(shard(pictures, out, settings))
    except KeyboardInterrupt:
        console.print("What was written stays: the same command goes on from there.")
        raise
    console.print(bold(out), f": {len(pictures)} pictures, {in_words(last.total)}, in {last.shards} shards")
    console.print("Train on them with:  ", bold(f"carrara train {quote(str(out))}"))


def _watched(events: Iterator[Written]) -> Written:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30), TaskProgressColumn())
    begun = line = monotonic()
    last = next(events)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("writing shards", total=last.total, completed=last.done)
        for last in events:
            text = _said(last, monotonic() - begun)
            bar.update(task, completed=last.done, description=text)
            if not console.is_terminal and monotonic() - line > LINE_EVERY:
                line = monotonic()
                console.print(text)
    return last


def _said(at: Written, seconds: float) -> str:
    """How far it is, and how long all that is left takes at the pace of this time."""
    pace = (at.done - at.before) / max(seconds, 1e-9)
    left = round((at.total - at.done) / max(pace, 1e-9))
    clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
    part = f"{at.done / max(1, at.total):4.0%}  writing shards"
    return f"{part}: {in_words(at.done)} of {in_words(at.total)}, {in_words(int(pace))}/s, {clock} left"
