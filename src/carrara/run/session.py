"""A run: a folder that knows itself. Training fills it, everything else reads it.

recipe.yaml           complete: all that is needed to build the model and to go on training
model/                the model with averaged weights, ready to use
checkpoints/step-N/   to go on from; see ``train.checkpoint``
samples/              previews of fixed seeds, or of fixed held-out pictures
log.jsonl             a line for every step
held_out.jsonl        a line for every measurement on held-out data
.ended.json           why the last process ended, if a mistake or a fault ended it: see ``ending``
best/                 the model that was best on held-out data, if ``preview.best`` asks for it
likeness.json         how samples of the finished model compare with held-out pictures: see ``measure.likeness``
early/                the model after a part of the run, if ``checkpoint.early`` asks for it: see ``store.weaker``
latents/              the training data as latents, if they diffuse: see ``data.latents``
trajectories/         a teacher's samples from noise to data, if a model of few steps learns from it
prior/                what the model drew before, that it is not to forget: see ``draw.prior``
captions/             what a frozen text encoder makes of the captions: see ``data.captions``
pictures/step-N.csv   which pictures are trained on from step N on: see ``lists``
parts/                trainings on parts of the data, and memorisation.json what they say: see ``memorising``
autoencoder/          the same again for the autoencoder that was trained first
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch

from carrara.data import Dataset, Loader, fingerprint
from carrara.errors import UserError
from carrara.files import NotWritten
from carrara.files.writing import sweep_all
from carrara.measure import threads
from carrara.model import AnySaved
from carrara.ranks import from_all
from carrara.recipe import build
from carrara.recipe.kinds import Examples, kind_of
from carrara.recipe.resolve import resolve
from carrara.run import lists, memorising, tuning
from carrara.run.compilation import Note, compiled_if_faster
from carrara.run.events import Diagnosis as Diagnosis
from carrara.run.events import HeldOut as HeldOut
from carrara.run.events import ModelSaved as ModelSaved
from carrara.run.events import Preview as Preview
from carrara.run.models import Models
from carrara.run.plan import Plan
from carrara.run.previews import Previews
from carrara.run.space import check_space
from carrara.saved import config_json
from carrara.store.best import LEADS, is_better, kept, leader, waited
from carrara.store.latents import Encoding, captioned
from carrara.store.runs import begun_about, is_sound, step_of
from carrara.train import Incident, Log, LogLine, StepReport, Stopped, Training, distributed, read_log, sharding
from carrara.train.precision import emulation
from carrara.train.runner import Sums
from carrara.types import Batch

Event = Note | Encoding | StepReport | Preview | HeldOut | Diagnosis | ModelSaved


class Session:
    """One stage of a run in training: iterate over it. Stopping after any event loses nothing that was saved.

    Args:
        plan: one of a plan's ``stages``.
        device: where.
        check: called before each save; raises a ``UserError`` if this process may no longer write.

    Attributes:
        warnings: sentences that the user should read.

    Raises:
        UserError: the data, the recipe or the folder do not fit together.
    """

    def __init__(self, plan: Plan, device: torch.device, check: Callable[[], None] = lambda: None) -> None:
        self.recipe, self.folder, self._is_part = plan.recipe, plan.folder, plan.whole is not None
        whole = build.dataset(self.recipe)
        self._check(whole, device)
        self.training_data, self.held_out_data = build.parts(self.recipe, whole)
        self._forecast = None
        if not self._is_part:
            self._forecast = memorising.predicted(self.recipe, self.folder, len(self.training_data))
            ends = memorising.ending(self.recipe.train, self._forecast)
            self.recipe = self.recipe.model_copy(update={"train": ends})
        self.kind = kind_of(self.recipe)
        self.model: AnySaved = self.kind.model().to(device)
        self.kind.adopt(self.model, self.folder)
        self._captions = self.model.captions(self.folder)
        self.examples = Examples(
            training=self.training_data,
            held_out=self.held_out_data,
            transform=build.transform(self.recipe),
            table=self._captions,
        )
        self._previews = Previews(self.kind, self.model, self.examples, self.folder)
        self._cache = self.kind.cache(self.folder, self.model, self.training_data, self._captions)
        self.objective = self.kind.objective(self.model, encoded=self._cache is not None)
        about = self._about(whole)
        self._models = Models(self.kind, self.model, self.examples, self.folder, about)
        distributed.anywhere(False, device)  # nobody writes before all have looked into the folder
        if distributed.is_main():
            sweep_all(self.folder)
            replace(plan, recipe=self.recipe).write()
        self.training = Training(
            self.objective.to(device),
            self._batches,
            self.recipe.train,
            seed=self.recipe.seed,
            folder=plan.folder,
            checkpoints=self.recipe.checkpoint,
            extra={"config.json": config_json(self.model.config, about)},
            check=check,
            names=lambda positions: self._loader().names(positions),
        )
        self.warnings = [*self.training.warnings, *self._other_data(about, whole)]
        if self._forecast is not None and self._forecast.holds(self.recipe.train):
            self.warnings.append(self._forecast.text(self.recipe.train))
        unpredicted = None if self._is_part else memorising.unpredicted(self.recipe.train, self._forecast)
        settings = self.recipe.train
        self.warnings += filter(
            None, [emulation(settings.precision, device), sharding.unused(settings.shard), unpredicted]
        )
        self._said = set[str]()

    def _check(self, whole: Dataset, device: torch.device) -> None:
        """Refuses data that no longer have the recipe's classes."""
        try:
            resolve(self.recipe, whole.info, device.type)
        except UserError as error:
            known = lists.newest_list(self.folder)
            if known is None:
                raise
            raise UserError(f"{error.message}; data.source.only={known} goes on with the pictures of before") from None

    def _about(self, whole: Dataset) -> dict[str, Any]:
        """What the model remembers of its training."""
        data = {"data": whole.info.name, "examples": len(whole), "fingerprint": fingerprint(whole.bare)}
        return {"preset": self.recipe.preset, **data, **self.kind.about(self.folder)}

    def _other_data(self, about: Mapping[str, Any], whole: Dataset) -> Iterator[str]:
        """Says that a run goes on with other data than it began with, and notes which these are."""
        step, source = self.training.clock.step, self.recipe.data.source
        before = begun_about(self.folder) if step else {}
        other = before.get("fingerprint", about["fingerprint"]) != about["fingerprint"]
        known = lists.newest_list(self.folder, step)
        if other:
            found = lists.changes(known, whole) if known else None
            how = f"{before.get('examples')} examples then, {about['examples']} now{f': {found}' if found else ''}"
            back = f" To go on with those of then: data.source.only={known}" if known else ""
            yield (
                f"the data are not those of step {step} ({how}): from here on they are taken as they are now, in "
                f"another order.{back}"
            )
        listed = source is not None and not source.builtin and whole.ledger is None  # who has millions has an index
        if distributed.is_main() and listed and (other or not (step and known)):
            lists.write_list(self.folder, step, whole)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.ended and self._saved

    @property
    def ended(self) -> bool:
        """Whether the training is over: its time has passed, or there is a reason to end before."""
        return self._progress == 1 or self._reason is not None

    @property
    def _reason(self) -> str | None:
        """Why to end before its time: a part of the data has said when copying begins, or so many previews as patience
        allows have brought no better model."""
        preview = self.recipe.preview
        if self._is_part and preview.gap and memorising.has_begun(self._measured):
            return "memorisation of this part of the data has begun, which is what it was trained for"
        if preview.best is None or not 0 < preview.patience <= (passed := waited(self._measured, self._leader)):
            return None
        found = f"'{self._models.best}' has that of step {self._leader}"
        passing = f"{passed} previews brought no better model on held-out data"
        return f"{passing}: the training ends here (preview.patience); {found}"

    @property
    def _leader(self) -> int | None:
        """The step of the best model until now."""
        return leader(self._measured, self.folder)

    @property
    def _measured(self) -> list[LogLine]:
        """What was measured on held-out data until now."""
        return [line for line in read_log(self.folder / "held_out.jsonl") if line["step"] <= self.training.clock.step]

    @property
    def _saved(self) -> bool:
        """Whether ``model/`` is of this moment, and whole."""
        final = self._models.final
        return is_sound(final) and step_of(final) == self.training.clock.step

    @property
    def _progress(self) -> float:
        clock = self.training.clock
        return self.recipe.train.progress(clock.step, clock.seconds)

    @property
    def _due(self) -> bool:
        """Whether a preview is due at this step."""
        preview, step = self.recipe.preview, self.training.clock.step
        return step > 0 and (preview.is_due(step) or (preview.every > 0 and self._progress == 1))

    def __iter__(self) -> Iterator[Event]:
        with threads.as_before():
            yield from self._events()

    def _events(self) -> Iterator[Event]:
        if not distributed.anywhere(not self.finished, self.model.device):  # nobody writes before all have looked
            return
        yield from self._prepare()
        if self.recipe.train.compile == "auto" and not self.ended:
            with closing(self._batches(self.training.clock.step)) as batches:
                yield from compiled_if_faster(self.objective, next(batches), self.recipe)
        if tuning.wanted(self.recipe.train, self.model.device) and not self.ended:
            with closing(self._batches(self.training.clock.step)) as batches:
                yield from tuning.tuned(self.objective, next(batches), self.recipe.train, self.folder)
        with self._log() as log:
            yield from self._make_up(log)
            for report in self.training if not self.ended else ():
                if isinstance(report, Incident):
                    yield from self._told(report, log)
                    continue
                yield report
                if log is not None and self._due:
                    yield from self._diagnose(report)
                yield from self._beside(log)
        yield from self._finish()

    def _make_up(self, log: Log | None) -> Iterator[Event]:
        """What is due at the step from which training goes on: a process that was killed after saving has not come to
        it."""
        yield from self._beside(log)
        if log is not None:
            self.training.prune()
            yield from self._missed()

    def _missed(self, coming: bool = True) -> Iterator[Event]:
        """Says that the best weights are gone, if they are.

        Args:
            coming: whether what was made after this step will be made again, as it was.
        """
        best, step = self._leader, self.training.clock.step
        if self.recipe.preview.best is None or best is None:
            return
        found = kept(self.folder) if is_sound(self._models.best) else None
        if found != best and (found is None or found <= step or self.ended or not coming):
            held = "is not there, or damaged" if found is None else f"is of step {found}"
            text = f"the best model on held-out data was that of step {best}, and '{self._models.best}' {held}"
            yield Diagnosis(step=step, text=f"{text}: the next better one is kept there")

    def _beside(self, log: Log | None) -> Iterator[Event]:
        """What is due at this step beside training. It is a function of the weights: done again, it gives the same."""
        if distributed.anywhere(log is not None and self._is_early(), self.model.device):
            with self.training.ema.swapped_in():
                if log is not None:
                    self._models.write(self._models.early, self.training.clock)
        if not self._due:
            return
        yield from self._looked(self.training.clock.step, log)
        reason = self._reason
        if self._progress < 1 and distributed.anywhere(reason is not None, self.model.device):
            self.training.stop()
            if reason is not None and distributed.is_main():
                yield Diagnosis(step=self.training.clock.step, text=reason)

    def _prepare(self) -> Iterator[Event]:
        """What is made once, before training: captions are read, and the cache is filled; if there is room."""
        check_space(self.recipe, self.folder, self.objective, self._cache)
        if self._captions is not None:
            shared = distributed.rank(), distributed.world()
            for done, total in self._captions.complete(self.training_data, *shared):
                yield Encoding(done=done, total=total, what="captions")
            distributed.wait()
            for _ in self._captions.complete(self.training_data):
                pass  # what the others have read
        if self._cache is not None:
            yield from self._cache.complete()

    def _is_early(self) -> bool:
        """Whether the model is to be kept as it is now, for guidance to lead away from: once, and never again."""
        part = self.recipe.checkpoint.early
        wanted = self.kind.draws and part is not None and part <= self._progress < 1
        return wanted and not self._models.early.exists()

    @contextmanager
    def _log(self) -> Generator[Log | None]:
        """What is measured on held-out data is written by one process of many."""
        if not distributed.is_main():
            yield None
            return
        with closing(Log(self.folder / "held_out.jsonl", self.training.clock.step)) as log:
            yield log

    def _batches(self, start_step: int) -> Generator[Batch]:
        """This rank's batches, of pictures or of cached latents; the weights that latents depend on are loaded now."""
        return self._loader().batches(start_step)

    def _loader(self) -> Loader:
        data = captioned(self.training_data if self._cache is None else self._cache.opened(), self._captions)
        return build.loader(self.recipe, data, distributed.rank(), distributed.world())

    def _told(self, incident: Incident, log: Log | None) -> Iterator[Event]:
        """What went wrong is said; if the run went back for it, so do its measurements."""
        if log is not None and incident.back is not None:
            log.rewind(incident.back)
        yield Diagnosis(step=incident.step, text=incident.text)
        if log is not None and incident.back is not None:
            yield from self._missed(coming=False)

    def _diagnose(self, report: StepReport) -> Iterator[Event]:
        """What goes wrong is said once."""
        for text in self.objective.diagnose(report.logs):
            if text.partition(":")[0] not in self._said:
                self._said.add(text.partition(":")[0])
                yield Diagnosis(step=report.step, text=text)

    def _looked(self, step: int, log: Log | None) -> Iterator[Event]:
        """Held-out data are measured by all processes, with the averaged weights; ``_look`` is of the one that has a
        log. What goes wrong does not end the training, unless it is a disk that refuses."""
        try:
            with suppress(Stopped), self.training.ema.swapped_in():
                shares = from_all(self._measured_here) if self._measures else []
                yield from self._look(step, log, shares) if log is not None else ()
        except Exception as error:
            if isinstance(error, NotWritten) or isinstance(error.__cause__, OSError):
                raise
            why = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            yield Diagnosis(step=step, text=f"the preview of step {step} could not be drawn ({why}): training goes on")

    @property
    def _measures(self) -> bool:
        return self.recipe.preview.held_out > 0 and len(self.held_out_data) > 0

    def _measured_here(self) -> Sequence[Sums]:
        """This rank's share of what is measured on held-out data."""
        with self.training.asked.at_once():
            return self._previews.share(self.objective, self._cache)

    def _look(self, step: int, log: Log, shares: Sequence[Sequence[Sums]]) -> Iterator[Event]:
        if shares:
            with self.training.asked.at_once():
                values = self._previews.measure(shares)
            if any(line["step"] == step for line in self._measured):  # by another process, and now again
                log.rewind(step - 1)
            by, best = self.recipe.preview.best, self._leader
            better = by is not None and is_better(values, self._measured, best, by)
            leads = {} if by is None else {LEADS: step if better else best}
            log.write({"step": step, **leads, **values})
            log.sync()
            yield HeldOut(step=step, values=values)
            if not self._is_part and (text := self._past(step)):
                yield Diagnosis(step=step, text=text)
            if better:
                self._models.keep_best(self.training.clock)
                yield ModelSaved(step=step, path=self._models.best)
        with self.training.asked.at_once():
            path = self._previews.picture(step)
        if path is not None:
            yield Preview(step=step, path=path)
        if self._progress == 1:
            with self.training.asked.at_once():
                self._previews.compare(step, self.training.clock.images)

    def _past(self, step: int) -> str | None:
        """What is to be said of memorisation at this step."""
        return memorising.warning(self.recipe.train, self._forecast, self._measured, step)

    def _finish(self) -> Iterator[Event]:
        """Writes ``model/``; a checkpoint of the same step exists.

        Raises:
            UserError: nothing was learned.
        """
        if not self.training.check_learned():
            return
        with self.training.ema.swapped_in():
            self._models.finish()
            if distributed.is_main():
                self._models.write(self._models.final, self.training.clock)
        distributed.wait()  # the others' next stage reads what was written
        if distributed.is_main():
            yield ModelSaved(step=self.training.clock.step, path=self._models.final)
