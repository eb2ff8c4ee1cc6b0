"""Programs that show how trainings go, as readers of what a run writes: nothing is written in the run's folder.

``reading`` makes entries of a run's files. An adapter, a file each, says what its program has already and takes more.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from carrara.share.trackers.reading import Entry

TRACKERS = {
    "tensorboard": "carrara.share.trackers.tensorboard:TensorBoard",
    "wandb": "carrara.share.trackers.wandb:Wandb",
    "mlflow": "carrara.share.trackers.mlflow:Mlflow",
    "trackio": "carrara.share.trackers.trackio:Trackio",
}
"""By name, ``tracker(stage, place)``: ``stage`` is a ``reading.Stage``, and ``place`` a folder or None: where the
program itself would keep it."""


class Tracker(ABC):
    """What takes entries of one training.

    Attributes:
        where: what one types to look at them.
    """

    where: str

    @abstractmethod
    def seen(self) -> Mapping[str, int]:
        """The last step that it has, by kind of entry."""

    @abstractmethod
    def write(self, entries: Sequence[Entry]) -> None:
        """Takes entries, in order of their steps within each kind."""

    @abstractmethod
    def close(self) -> None:
        """Waits until all is kept."""
