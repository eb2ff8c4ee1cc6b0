"""Weights & Biases: an offline run for each training, with an id of its folder; ``wandb sync`` sends it some day.

Each time makes a folder of the same id, whose rows count on. So what is there is read from the records of all folders
of the id.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from time import sleep, strftime
from typing import Any, cast, final

from carrara.files import make_folder, parse_json
from carrara.files.wandb import records
from carrara.share.trackers import Tracker
from carrara.share.trackers.reading import PREVIEWS, Entry, Stage

STEP = "trainer/step"
QUIET = ("disable_git", "x_disable_stats", "x_disable_meta")
"""Settings: nothing is told of this machine."""


@final
class Wandb(Tracker):
    """A run of Weights & Biases, offline unless ``WANDB_MODE`` says otherwise."""

    def __init__(self, stage: Stage, place: Path | None) -> None:
        told = os.environ.get("WANDB_DIR")
        self._folder = place or (Path(told) if told else stage.beside / "wandb")
        make_folder(self._folder)
        self._wandb: Any = import_module("wandb")
        self._stage, self._run = stage, cast(Any, None)
        self._seen: dict[str, int] = {}
        self._rows = 0
        for row in _history(self._folder, stage.identity):
            self._remember(row)
        self.where = f"wandb sync {self._folder / 'wandb' / f'*-{stage.identity}'}"

    def _begun(self) -> Any:
        """The run, once there is something to write."""
        while any(self._folder.glob(f"wandb/*-{strftime('%Y%m%d_%H%M%S')}-{self._stage.identity}")):
            sleep(0.1)  # folders are named by the second, and a second one would take the first one's place
        run = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "carrara"),
            id=self._stage.identity,
            name=self._stage.name,
            dir=str(self._folder),
            config=dict(self._stage.config),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow" if self._rows else None,
            reinit="create_new",
            save_code=False,
            settings=self._wandb.Settings(silent=True, console="off", **dict.fromkeys(QUIET, True)),
        )
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        return run

    def _remember(self, row: Mapping[str, Any]) -> None:
        self._rows = max(self._rows, int(row.get("_step", -1)) + 1)
        step: Any = row.get(STEP)
        if not isinstance(step, int):
            return
        for name in row:
            kind = name.rpartition("/")[0]
            if name != STEP and kind:
                self._seen[kind] = max(self._seen.get(kind, -1), step)

    def seen(self) -> Mapping[str, int]:
        """The last steps of all folders of the id."""
        return self._seen

    def write(self, entries: Sequence[Entry]) -> None:
        """A row for each entry."""
        self._run = self._run or self._begun()
        for entry in entries:
            row: dict[str, Any] = {STEP: entry.step, "_timestamp": entry.time, **entry.named()}
            if entry.picture is not None:
                row[f"{PREVIEWS}/samples"] = self._wandb.Image(entry.picture)
            self._run.log(row, step=self._rows)
            self._rows += 1

    def close(self) -> None:
        """Waits until all rows are on the disk."""
        if self._run:
            self._run.finish()


def _history(folder: Path, identity: str) -> Iterator[dict[str, Any]]:
    """The rows of an id, of all its folders."""
    protocol: Any = import_module("wandb.proto.wandb_internal_pb2")
    for path in sorted(folder.glob(f"wandb/*run-*-{identity}/run-{identity}.wandb")):
        for content in records(path):
            record = protocol.Record()
            record.ParseFromString(content)
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                yield {_key(one): parse_json(one.value_json) for one in items}


def _key(item: Any) -> str:
    return str(item.key or item.nested_key[0])
