"""``carrara track``."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from carrara.errors import UserError, known
from carrara.files import check_place, explained, shown
from carrara.files.lock import working
from carrara.share.trackers import TRACKERS, Tracker
from carrara.share.trackers.reading import Reader, Stage, stages

BATCH = 500
PAUSE = 2.0
"""Seconds between two looks at a training."""


def track(run: Path, /, *, to: str, follow: bool = False, out: Path | None = None) -> None:
    """Shows a training in a tracker.

    Parameters
    ----------
    run
        A run's folder. Nothing is written there, so it may be trained meanwhile.
    to
        tensorboard, wandb (offline, unless WANDB_MODE says otherwise), mlflow or trackio.
    follow
        Go on while the run is trained, until that ends.
    out
        The folder in which the tracker keeps it. Without it, where the tracker's own environment variable says, or one
        of the tracker's name beside the run.
    """
    name = known("tracker", to, TRACKERS)
    found = find_spec(name)
    if found is None or found.origin is None:  # a folder of this name is no package
        raise UserError(f"the package '{name}' is not installed: pip install 'carrara[{name}]'")
    if out is not None:
        check_place(out)
    module, _, kind = TRACKERS[name].partition(":")
    following = Following(run, name, getattr(import_module(module), kind), out)
    try:
        written = following.look()
        while follow and working(run) is not None:
            time.sleep(PAUSE)
            written += following.look()
        if follow:
            written += following.look()  # what was written before it ended
    finally:
        following.close()
    for tracker in following.trackers:
        print(f"look at it with:  {tracker.where}")
    print(f"{written:,} entries were new to {name}")


@contextmanager
def refusing(name: str) -> Generator[None]:
    """Says in one sentence what a tracker refuses, which has errors of its own."""
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"{name} refuses ({shown(said)[:300]}): what it has is kept; say the same again") from error


class Following:
    """The stages of a run and their trackers; stages may begin later.

    Args:
        make: a class of ``TRACKERS``, which has this ``name``.
    """

    def __init__(self, run: Path, name: str, make: Callable[[Stage, Path | None], Tracker], out: Path | None) -> None:
        self._run, self._name, self._make, self._out = run, name, make, out
        self._open: dict[Path, tuple[Reader, Tracker, dict[str, int]]] = {}

    @property
    def trackers(self) -> list[Tracker]:
        """Those that are open."""
        return [tracker for _, tracker, _ in self._open.values()]

    def look(self) -> int:
        """Passes on what is new; how many entries."""
        count = 0
        with explained(self._out or self._run):
            for stage in stages(self._run):
                if stage.folder not in self._open:
                    with refusing(self._name):
                        tracker = self._make(stage, self._out)
                    self._open[stage.folder] = Reader(stage), tracker, dict(tracker.seen())
                reader, tracker, seen = self._open[stage.folder]
                entries = reader.new(dict(seen))
                while batch := list(islice(entries, BATCH)):
                    with refusing(self._name):
                        tracker.write(batch)
                    seen |= {one.kind: one.step for one in batch}
                    count += len(batch)
        return count

    def close(self) -> None:
        """Closes all trackers."""
        for tracker in self.trackers:
            tracker.close()
