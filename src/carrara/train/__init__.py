"""Loss to weights: a training loop on one page, and what keeps it exact, averaged, saved and restartable."""

from carrara.train.checkpoint import Checkpoint
from carrara.train.distributed import launched
from carrara.train.ema import Ema
from carrara.train.hooks import Stop, Stopped
from carrara.train.incidents import Incident
from carrara.train.log import Followed, Log, LogLine, last_lines, read_log, read_training
from carrara.train.precision import autocast
from carrara.train.runner import Training, held_out
from carrara.train.settings import CheckpointSettings, Precision, TrainSettings
from carrara.train.state import Clock, TrainState
from carrara.train.trainer import Batches, StepReport, train

__all__ = [
    "Batches",
    "Checkpoint",
    "CheckpointSettings",
    "Clock",
    "Ema",
    "Followed",
    "Incident",
    "LogLine",
    "Log",
    "Precision",
    "StepReport",
    "Stop",
    "Stopped",
    "TrainSettings",
    "TrainState",
    "Training",
    "autocast",
    "held_out",
    "last_lines",
    "launched",
    "read_log",
    "read_training",
    "train",
]
