"""A training in a folder: goes on where the last process stopped, and writes down how far it is."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.files import make_folder
from carrara.objective.base import Objective
from carrara.seeds import Draws
from carrara.train import checkpoint, distributed
from carrara.train.ema import Ema
from carrara.train.hooks import Stop
from carrara.train.log import Log
from carrara.train.settings import CheckpointSettings, TrainSettings
from carrara.train.state import Clock, TrainState
from carrara.train.trainer import Batches, StepReport, train
from carrara.types import Batch


class Training:
    """A run: iterate over it, and it trains, logs to ``log.jsonl`` and saves to ``checkpoints/``.

    >>> training = Training(objective, loader.batches, settings, seed=0, folder=Path("runs/photos"))
    >>> for report in training:
    ...     if report.step % 500 == 0:
    ...         with training.ema.swapped_in():
    ...             preview()

    When the constructor returns, the newest whole checkpoint of the folder is loaded: making the same object again is
    all there is to resuming, and the result is the same to the bit, however often and whenever the process was stopped.
    Ctrl-C ends the iteration after a step and a save; the last report's ``progress`` is below 1 then.

    Args:
        objective: on its device.
        batches: see ``trainer.Batches``.
        settings, checkpoints: what the user decided.
        seed: of every random number.
        folder: the run's.
        extra: files by name that each checkpoint holds besides, such as the model's ``config.json``.
        check: called before each save; raises a ``UserError`` if this process may no longer write.

    Attributes:
        asked: whether somebody has asked to stop, and how.
        state: weights, optimizers, averages and clock.
        warnings: a sentence for each damaged checkpoint that was passed over.

    Raises:
        UserError: the checkpoints are all damaged, of another model, or not the same for every process.
    """

    def __init__(
        self,
        objective: Objective,
        batches: Batches,
        settings: TrainSettings,
        *,
        seed: int,
        folder: Path,
        checkpoints: CheckpointSettings | None = None,
        extra: Mapping[str, bytes] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.asked, self._check = Stop(), check
        self.state = TrainState(objective, settings)
        self._batches, self._settings, self._seed = batches, settings, seed
        self._folder, self._checkpoints, self._extra = folder, checkpoints or CheckpointSettings(), extra
        self._stopped = False
        if distributed.is_main():
            make_folder(folder)  # now, and never again: a run that is deleted while it trains stays deleted
        newest, self.warnings = checkpoint.latest(folder / "checkpoints")
        if newest is not None:
            self.state.restore(newest)
        if distributed.agreed(float(self.clock.step), self.state.device) != self.clock.step:
            raise UserError(
                f"{folder} is another folder for some processes: put the run on a disk that all of them share"
            )

    @property
    def ema(self) -> Ema:
        """The averaged weights; put them in with ``swapped_in`` to sample or to measure."""
        return self.state.ema

    @property
    def clock(self) -> Clock:
        """How far the run is."""
        return self.state.clock

    def stop(self) -> None:
        """Ends the iteration after a save, as Ctrl-C does; every process calls it."""
        self._stopped = True

    def __iter__(self) -> Iterator[StepReport]:
        """Trains; a report comes after its step is logged and, where that is due, saved.

        Raises:
            UserError: the loss is not finite for many steps, or a checkpoint cannot be written.
        """
        if distributed.is_main() and not self.clock.skipped:  # what a killed process has not come to
            checkpoint.prune(self._folder / "checkpoints", self.clock.step, self._checkpoints.keep)
        steps = train(self.state, self._batches, self._settings, seed=self._seed)
        with self.asked.listening(), closing(steps), self._log() as log:
            for report in steps:
                stop = distributed.anywhere(self._stops, self.state.device)
                due = stop or report.progress == 1 or report.step % self._checkpoints.every == 0
                if log is not None:
                    log.write(report.line())
                if due:
                    self._save(report, log)
                yield report
                alone = distributed.world() == 1
                if stop or self._stopped or (alone and self._stops):  # asked before, or while the report was looked at
                    if not due:
                        self._save(report, log)
                    return

    @property
    def _stops(self) -> bool:
        return self._stopped or self.asked.signal is not None

    @contextmanager
    def _log(self) -> Generator[Log | None, None, None]:
        """One process of many writes."""
        if not distributed.is_main():
            yield None
            return
        with closing(Log(self._folder / "log.jsonl", self.clock.step)) as log:
            yield log

    def _save(self, report: StepReport, log: Log | None) -> None:
        if log is not None:
            self._check()
            log.sync()
            keep = None if report.skipped else self._checkpoints.keep  # in trouble, an older one may be wanted
            checkpoint.save(self._folder / "checkpoints", self.state.checkpoint(), extra=self._extra, keep=keep)
        distributed.wait()


@torch.no_grad()
def held_out(objective: Objective, batches: Iterable[Batch], seed: int) -> dict[str, float]:
    """Means over all samples that count of what the objective measures on data that it does not train on.

    The random numbers are the same at each call, so two results differ by the weights alone. To be called under
    ``ema.swapped_in()``, and under ``autocast`` for the precision of the training.

    Args:
        objective: anything; it is not changed.
        batches: finitely many.
        seed: of the random numbers.
    """
    device, counts, sums = next(objective.parameters()).device, dict[str, int](), dict[str, Tensor]()
    for batch in batches:
        here = batch.to(device)
        for name, values in objective.validate(here, Draws(seed, here.position)).items():
            counts[name] = counts.get(name, 0) + len(values)
            sums[name] = sums.get(name, torch.zeros((), device=device)) + values.float().sum()
    return {name: total.item() / counts[name] for name, total in sums.items() if counts[name]}
