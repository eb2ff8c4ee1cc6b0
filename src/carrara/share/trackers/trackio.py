"""trackio: a run for each training, in a project of Carrara's, in its local database."""

import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, final

from carrara.files import make_folder
from carrara.share.trackers import Tracker
from carrara.share.trackers.reading import PREVIEWS, Entry, Stage


@final
class Trackio(Tracker):
    """A run of trackio."""

    def __init__(self, stage: Stage, place: Path | None) -> None:
        told = os.environ.get("TRACKIO_DIR")
        folder = place or (Path(told) if told else stage.beside / "trackio")
        make_folder(folder)
        os.environ["TRACKIO_DIR"] = str(folder.absolute())  # which is read once, when it is imported
        self._trackio: Any = import_module("trackio")
        storage: Any = import_module("trackio.sqlite_storage").SQLiteStorage
        project = os.environ.get("TRACKIO_PROJECT", "carrara")
        self._name = f"{stage.name}-{stage.identity[:6]}".replace("/", "-")
        self._seen: dict[str, int] = {}
        for row in storage.get_logs(project, self._name):
            for name in row:
                kind = name.rpartition("/")[0]
                if kind:
                    self._seen[kind] = max(self._seen.get(kind, -1), int(row["step"]))
        quiet = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        with redirect_stdout(StringIO()):
            self._run: Any = self._trackio.init(
                project=project, name=self._name, config=dict(stage.config), resume="allow", **quiet
            )
        self.where = f"TRACKIO_DIR={folder} trackio show --project {project}"

    def seen(self) -> Mapping[str, int]:
        """The last steps of the run."""
        return self._seen

    def write(self, entries: Sequence[Entry]) -> None:
        """A row for each entry."""
        for entry in entries:
            row: dict[str, Any] = entry.named()
            if entry.picture is not None:
                row[f"{PREVIEWS}/samples"] = self._trackio.Image(entry.picture)
            self._run.log(row, step=entry.step)

    def close(self) -> None:
        """Waits until all rows are in the database."""
        with redirect_stdout(StringIO()):
            self._run.finish()
