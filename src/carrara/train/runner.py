"""A training in a folder: goes on where the last process stopped, and writes down how far it is."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.files import make_folder, sealed
from carrara.objective.base import Objective
from carrara.seeds import Draws
from carrara.train import checkpoint, distributed, incidents
from carrara.train.ema import Ema
from carrara.train.hooks import Stop
from carrara.train.incidents import HALVINGS, NAMED, ROWS, Diverged, Incident, Names
from carrara.train.log import Log
from carrara.train.saving import Saving
from carrara.train.settings import CheckpointSettings, TrainSettings
from carrara.train.state import Clock, TrainState
from carrara.train.trainer import Batches, StepReport, train
from carrara.types import Batch

NOTHING, SAVE, STOP = range(3)
"""What somebody may ask of a training; who stops saves, too."""


class Training:
    """A run: iterate over it, and it trains, logs to ``log.jsonl`` and saves to ``checkpoints/``.

    >>> training = Training(objective, loader.batches, settings, seed=0, folder=Path("runs/photos"))
    >>> for report in training:
    ...     if report.step % 500 == 0:
    ...         with training.ema.swapped_in():
    ...             preview()

    When the constructor returns, the newest whole checkpoint of the folder is loaded: making the same object again is
    all there is to resuming, and the result is the same to the bit, however often and whenever the process was stopped.
    Ctrl-C ends the iteration after a step and a save; the last report's ``progress`` is below 1 then. SIGUSR1 saves
    after the step, and the iteration goes on.

    Where loss, gradient or weights are no sound numbers, an ``Incident`` comes between the reports; with ``back``, the
    run has gone back to its last good checkpoint, or to its beginning, and on with half the learning rate. It does so
    at most ``HALVINGS`` times. A process that is killed in between finds and does the same again.

    Args:
        objective: on its device.
        batches: see ``trainer.Batches``.
        settings, checkpoints: what the user decided.
        seed: of every random number.
        folder: the run's.
        extra: files by name that each checkpoint holds besides, such as the model's ``config.json``.
        check: called before each save; raises a ``UserError`` if this process may no longer write.
        names: of examples, for the incidents; None names none.

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
        names: Names | None = None,
    ) -> None:
        self.asked, self._check = Stop(), check
        self.state = TrainState(objective, settings)
        self._batches, self._settings, self._seed = batches, settings, seed
        self._folder, self._checkpoints = folder, checkpoints or CheckpointSettings()
        self._saving = Saving(folder / "checkpoints", self.state.device, extra)
        self._names, self._blamed, self._history = names or incidents.nameless, "", list[str]()
        self._rows = 0
        self._stopped = False
        if distributed.is_main():
            make_folder(folder)  # now, and never again: a run that is deleted while it trains stays deleted
        newest, self.warnings = checkpoint.latest(folder / "checkpoints")
        self._beginning = self.state.beginning()
        if newest is not None:
            self.state.restore(newest)
            self._forget_beginning()
        if self.clock.halved != settings.lr:
            since = self.clock.step if self.clock.halved else 0  # versions before this one did not write it
            self.state.clock = replace(self.clock, halvings=0, halved=settings.lr, since=since)
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

    def __iter__(self) -> Iterator[StepReport | Incident]:
        """Trains; a report comes after its step is logged and, where that is due, saved.

        Raises:
            UserError: the training diverges whatever is done, nothing was learned, the memory is too small, or a
                checkpoint cannot be written.
        """
        try:
            with self.asked.listening():
                while (found := (yield from self._until_divergence())) is not None:
                    yield self._go_back(found)
        finally:
            self._saving.finish()
        self.check_learned()

    def check_learned(self) -> bool:
        """Whether anything was learned, which it was not if every step was skipped.

        Raises:
            UserError: nothing was, and nobody has asked to stop; it says what to look at.
        """
        in_vain = 0 < self.clock.step == self.clock.skipped
        if in_vain and not self._stops:
            raise incidents.learned_nothing(self.clock.step, self._blamed)
        return not in_vain

    def _until_divergence(self) -> Generator[StepReport | Incident, None, Diverged | None]:
        """Trains until the end, or until the weights are worth nothing."""
        try:
            yield from self._until_the_end()
        except Diverged as error:
            return error.with_traceback(None)  # what the failed step had computed is not needed any more
        except (MemoryError, RuntimeError) as error:
            if (why := incidents.explanation(error)) is None:
                raise
            raise UserError(why) from error
        return None

    def _until_the_end(self) -> Iterator[StepReport | Incident]:
        steps, parts = train(self.state, self._batches, self._settings, seed=self._seed), self.state.parts
        with closing(steps), self._log() as log:
            for report in steps:
                asked = distributed.greatest(self._wish(), self.state.device)
                stop = asked == STOP
                due = asked != NOTHING or report.progress == 1 or report.step % self._checkpoints.every == 0
                if log is not None:
                    log.write(report.line())
                if due:
                    self._save(log)
                    self._forget_beginning()
                if report.skipped == 1:
                    self._blamed, self._rows = self._examples(report.blamed), self._rows + 1
                    if self._rows <= ROWS:
                        yield incidents.skipped(report.step, self._blamed, last=self._rows == ROWS)
                if parts < (parts := self.state.parts):
                    yield incidents.parted(report.step, self._settings.accumulate * parts)
                yield report
                alone = distributed.world() == 1
                if stop or self._stopped or (alone and self._stops):  # asked before, or while the report was looked at
                    if not due:
                        self._save(log)
                    break
        self._saving.wait()

    def prune(self) -> None:
        """Deletes the checkpoints that are not to be kept any more, if a process was killed before it had done so."""
        if self._prunes:
            checkpoint.prune(self._folder / "checkpoints", self.clock.step, self._checkpoints.keep)

    @property
    def _stops(self) -> bool:
        return self._stopped or self.asked.signal is not None

    def _wish(self) -> int:
        """What this process has been asked since the last step."""
        saves = self.asked.wants_save()
        return STOP if self._stops else SAVE if saves else NOTHING

    @property
    def _prunes(self) -> bool:
        """Whether older checkpoints are not needed any more: in trouble, one of them may be wanted."""
        return not self.clock.skipped and (self.clock.is_proven or not self.clock.since)

    def _go_back(self, found: Diverged) -> Incident:
        """Takes the run back to its last good moment, with half the learning rate.

        Raises:
            UserError: it has done so often enough, or there is nothing to go back to.
        """
        self.check_learned()
        before, examples = self.clock, self._examples(found.positions)
        self._history.append(f"{found.cause}{examples}")
        self._to_last_good(before)
        if before.halvings == HALVINGS:
            raise incidents.gave_up(self._history, self.clock.step, self._settings)
        self.state.clock = replace(
            self.clock,
            seconds=before.seconds,
            halvings=before.halvings + 1,
            halved=before.halved,
            since=self.clock.step,
        )
        return incidents.went_back(found, self.clock.step, self._settings.lr * self.clock.rate, examples)

    def _to_last_good(self, found: Clock) -> None:
        """Restores the newest checkpoint that no skipped step led to, nor a learning rate that was not proven when it
        diverged, or the beginning; newer ones are taken away, so that every process goes on from there."""
        self._saving.wait()
        while True:
            distributed.wait()
            newest, _ = checkpoint.latest(self._folder / "checkpoints")
            if newest is None:
                assert self._beginning is not None, "the beginning is kept until there is a good checkpoint"
                return self.state.begin_again(self._beginning)
            self.state.restore(newest)
            if not self.clock.skipped and (found.is_proven or self.clock.step <= found.since):
                return incidents.check_sound(newest, self.ema.growth(incidents.SMALLEST))
            distributed.wait()  # all have read it
            if distributed.is_main():
                sealed.take_away(newest)
            distributed.wait()
            if newest.exists():
                raise UserError(
                    f"{newest} is of steps that are not to be gone on from, and cannot be deleted: delete it"
                )

    def _forget_beginning(self) -> None:
        """Frees the memory of the beginning, as soon as there is a good checkpoint to go back to instead."""
        if not self.clock.skipped and self.clock.is_proven:
            self._beginning = None

    def _examples(self, positions: Sequence[int]) -> str:
        """Which examples to look at, as the end of a clause."""
        return incidents.listed(self._names(positions[:NAMED]), len(positions))

    @contextmanager
    def _log(self) -> Generator[Log | None, None, None]:
        """One process of many writes."""
        if not distributed.is_main():
            yield None
            return
        with closing(Log(self._folder / "log.jsonl", self.clock.step)) as log:
            yield log

    def _save(self, log: Log | None) -> None:
        if log is not None:
            self._check()
            log.sync()
        self._saving.save(self.state.checkpoint(), self._checkpoints.keep if self._prunes else None)


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
