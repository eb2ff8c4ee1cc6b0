"""MLflow: a run for each training, in an experiment of Carrara's; by its client, which needs no server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from re import sub
from typing import Any, final

from carrara.files import make_folder, scratch, write_bytes
from carrara.share.places import png
from carrara.share.trackers import Tracker
from carrara.share.trackers.reading import PREVIEWS, Entry, Stage

TAG = "carrara.run"
METRICS, PARAMETERS, LONGEST = 1000, 100, 500
"""The most of a batch, and letters of a parameter's value."""


@final
class Mlflow(Tracker):
    """A run of MLflow, in a folder or at ``MLFLOW_TRACKING_URI``."""

    def __init__(self, stage: Stage, place: Path | None) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow: Any = import_module("mlflow")
        self._entities: Any = import_module("mlflow.entities")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if place is not None or uri is None:
            folder = place or stage.beside / "mlflow"
            make_folder(folder)
            uri = folder.absolute().as_uri()
        self._client: Any = mlflow.MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "carrara")
        there = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if there is None else there.experiment_id
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{stage.identity}'")
        run = found[0] if found else self._made(experiment, stage)
        self._id = run.info.run_id
        self._seen = dict(self._read(run))
        allowed = "MLFLOW_ALLOW_FILE_STORE=true " if uri.startswith("file:") else ""
        self.where = f"{allowed}mlflow ui --backend-store-uri {uri}"

    def _made(self, experiment: str, stage: Stage) -> Any:
        tags = {TAG: stage.identity}
        began = int(stage.began * 1000)
        run = self._client.create_run(experiment, start_time=began, tags=tags, run_name=stage.name)
        parameters = [self._entities.Param(_named(key), str(value)[:LONGEST]) for key, value in stage.config.items()]
        for begin in range(0, len(parameters), PARAMETERS):
            self._client.log_batch(run.info.run_id, params=parameters[begin : begin + PARAMETERS])
        return run

    def _read(self, run: Any) -> Iterator[tuple[str, int]]:
        last: dict[str, int] = {}
        for key in run.data.metrics:
            kind = key.rpartition("/")[0]
            steps = (metric.step for metric in self._client.get_metric_history(self._id, key))
            last[kind] = max(last.get(kind, -1), *steps)
        for artifact in self._client.list_artifacts(self._id, PREVIEWS):
            step = Path(artifact.path).stem.removeprefix("step-")
            last[PREVIEWS] = max(last.get(PREVIEWS, -1), int(step) if step.isdecimal() else -1)
        yield from last.items()

    def seen(self) -> Mapping[str, int]:
        """The last steps that the run has."""
        return self._seen

    def write(self, entries: Sequence[Entry]) -> None:
        """Metrics in batches, previews as artifacts."""
        metrics = [
            self._entities.Metric(_named(name), value, int(entry.time * 1000), entry.step)
            for entry in entries
            for name, value in entry.named().items()
        ]
        for begin in range(0, len(metrics), METRICS):
            self._client.log_batch(self._id, metrics=metrics[begin : begin + METRICS])
        with scratch() as folder:
            for entry in entries:
                if entry.picture is not None:
                    path = folder / f"step-{entry.step:06d}.png"
                    write_bytes(path, png(entry.picture))
                    self._client.log_artifact(self._id, str(path), PREVIEWS)

    def close(self) -> None:
        """Says that nobody writes any more."""
        self._client.set_terminated(self._id)


def _named(name: str) -> str:
    """A name as MLflow takes it: other letters become ``_``, as of ``loss@t=0.5``."""
    return sub(r"[^\w./: -]+", "_", name)[:250]
