"""A run: a folder that knows itself. Training fills it, everything else reads it.

recipe.yaml           complete: all that is needed to build the model and to go on training
model/                the model with averaged weights, ready to use
checkpoints/step-N/   to go on from; see ``train.checkpoint``
samples/              previews of fixed seeds, or of fixed held-out pictures
log.jsonl             a line for every step
held_out.jsonl        a line for every measurement on held-out data
best/                 the model that was best on held-out data, if ``preview.best`` asks for it
early/                the model after a part of the run, if ``checkpoint.early`` asks for it: see ``recipe.weaker``
latents/              the training data as latents, if they diffuse: see ``data.latents``
trajectories/         a teacher's samples from noise to data, if a model of few steps learns from it
captions/             what a frozen text encoder makes of the captions: see ``data.captions``
autoencoder/          the same again for the autoencoder that was trained first
"""

import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from carrara import evaluate, pixels
from carrara.autoencoder import LearnedStage, measure
from carrara.classifier import Classifier
from carrara.conditioning import TextConditioner
from carrara.data import Dataset, Mapped, batch_of, fingerprint, spread
from carrara.errors import UserError
from carrara.evaluate import Features
from carrara.model import AnyModel, Autoencoder, DiffusionModel, DistilledDecoder
from carrara.recipe import build
from carrara.recipe.best import is_better, kept, waited
from carrara.recipe.compiling import Note, compiled_if_faster
from carrara.recipe.folder import EARLY
from carrara.recipe.latents import BATCH, Encoding, LatentCache, cache_for, captioned, captions_for
from carrara.recipe.plan import Plan
from carrara.recipe.resolve import resolve
from carrara.recipe.sampling import Request, collect, cycled, draw, record
from carrara.recipe.schema import FewStepSettings
from carrara.recipe.seeing import said
from carrara.recipe.teachers import known_teacher
from carrara.recipe.trajectories import Teacher, TrajectoryCache
from carrara.saved import config_json
from carrara.task import compared, seen, shown
from carrara.train import Line, Log, StepReport, Training, autocast, distributed, held_out, read_log
from carrara.train.precision import matmul_dtype
from carrara.types import Batch

MEASURED = 50_000
"""At most so many pictures decide the mean and the deviation of latents."""
PROVISIONAL = 2_000
"""The same for ``best/``, which is written while training waits."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Samples of fixed seeds were drawn."""

    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The objective's measures on held-out data: ``loss@t=...`` for each noise level, or ``psnr``, ``elbo``, ..."""

    step: int
    values: Mapping[str, float]

    def text(self) -> str:
        """In words; the losses of the noise levels as their mean."""
        losses, right = ([v for name, v in self.values.items() if name.startswith(of)] for of in ("loss@", "accuracy@"))
        if losses:
            shares = ", ".join(f"{share:.0%}" for share in right)
            found = f"; right, from little noise to much: {shares}" if right else ""
            return f"loss {sum(losses) / len(losses):.4f}{found}"
        return ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Something is going wrong: a sentence that says what to do."""

    step: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The model was written, ready to use."""

    step: int
    path: Path


Event = Note | Encoding | StepReport | Preview | HeldOut | Diagnosis | Saved


class Session:
    """One stage of a run in training: iterate over it. Stopping after any event loses nothing that was saved.

    Args:
        plan: one of a plan's ``stages``.
        device: where.

    Attributes:
        warnings: sentences that the user should read.

    Raises:
        UserError: the data, the recipe or the folder do not fit together.
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.recipe, self.folder = plan.recipe, plan.folder
        whole = build.dataset(self.recipe)
        resolve(self.recipe, whole.info, device.type)  # refuses data that no longer have the recipe's classes
        self.training_data, self.held_out_data = build.parts(self.recipe, whole)
        self._teacher = build.teacher(self.recipe)
        self.model = build.model(self.recipe, self._teacher).to(device)
        if not isinstance(self.model, DistilledDecoder | Classifier):
            build.adopt_first_stage(self.model, self.recipe, self.folder)
        self._features = self._judges(device)
        self._captions = captions_for(self.model, self.folder)
        self._cache = self._cached(device)
        self.objective = build.objective(self.recipe, self.model, self._teacher, encoded=self._cache is not None)
        self._about: dict[str, Any] = {"preset": self.recipe.preset, "data": whole.info.name}
        bare = whole.dataset if isinstance(whole, Mapped) else whole
        self._about |= {"examples": len(whole), "fingerprint": fingerprint(bare)}
        if isinstance(self.recipe.objective, FewStepSettings):
            self._about |= {"few_steps": self.recipe.objective.steps}
        if self._teacher is not None:
            self._about |= {"teacher": known_teacher(self.recipe, self._teacher, self.folder)}
        distributed.anywhere(False, device)  # nobody writes before all have looked into the folder
        if distributed.is_main():
            plan.write()
        self.training = Training(
            self.objective.to(device),
            self._batches,
            self.recipe.train,
            seed=self.recipe.seed,
            folder=plan.folder,
            checkpoints=self.recipe.checkpoint,
            extra={"config.json": config_json(self.model.config, self._about)},
        )
        self.warnings = self.training.warnings
        self._said = set[str]()

    def _cached(self, device: torch.device) -> LatentCache | TrajectoryCache | None:
        """What is made of the training data once, before training."""
        wanted, seed = self.recipe.objective, self.recipe.seed
        if not isinstance(wanted, FewStepSettings):
            return cache_for(self.folder, self.recipe, self.model, self.training_data)
        assert isinstance(self._teacher, DiffusionModel)
        teacher = Teacher(model=self._teacher.to(device), distilled=wanted)
        return TrajectoryCache(self.folder, teacher, self.training_data, self._captions, seed)

    def _judges(self, device: torch.device) -> Features | None:
        """What ``preview.best=kid`` looks at.

        Raises:
            UserError: there is nothing by which the best model could be found.
        """
        by, count = self.recipe.preview.best, len(self.held_out_data)
        if by is None:
            return None
        if count < 1 + (by == "kid"):
            raise UserError(f"preview.best={by} is found on held-out data, and there are {count}: raise data.held_out")
        if by == "kid" and self.recipe.data.size is None:
            raise UserError("preview.best=kid compares pictures, and these data are points: take preview.best=loss")
        return evaluate.extractor().to(device) if by == "kid" else None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.ended and self._saved

    @property
    def ended(self) -> bool:
        """Whether the training is over: its time has passed, or patience has."""
        clock = self.training.clock
        return self.recipe.train.progress(clock.step, clock.seconds) == 1 or self._in_vain

    @property
    def _in_vain(self) -> bool:
        """Whether so many previews as patience allows have brought no better model."""
        preview = self.recipe.preview
        return preview.best is not None and 0 < preview.patience <= waited(self._measured, kept(self.folder))

    @property
    def _measured(self) -> list[Line]:
        """What was measured on held-out data until now."""
        return [line for line in read_log(self.folder / "held_out.jsonl") if line["step"] <= self.training.clock.step]

    @property
    def _saved(self) -> bool:
        return (self.folder / "model" / "config.json").is_file()

    def __iter__(self) -> Iterator[Event]:
        report, every = None, self.recipe.preview.every
        if self._captions is not None and not self.finished:
            shared = distributed.rank(), distributed.world()
            for done, total in self._captions.complete(self.training_data, *shared):
                yield Encoding(done=done, total=total, what="captions")
            distributed.wait()
            for _ in self._captions.complete(self.training_data):
                pass  # what the others have read
        if self._cache is not None and not self.finished:
            yield from self._cache.complete()
        if self.recipe.train.compile == "auto" and not self.ended:
            with closing(self._batches(self.training.clock.step)) as batches:
                yield from compiled_if_faster(self.objective, next(batches), self.recipe)
        with self._log() as log:
            for report in self.training if not self.ended else ():
                yield report
                if log is not None and self._is_early(report):
                    with self.training.ema.swapped_in():
                        self._write(self.folder / EARLY)
                if not every or (report.step % every and report.progress < 1):
                    continue
                if log is not None:
                    yield from self._diagnose(report)
                    with self.training.ema.swapped_in():
                        yield from self._look(report.step, log)
                if report.progress < 1 and distributed.anywhere(self._in_vain, self.model.device):
                    yield from self._give_up(report.step)
        if report is not None or not self._saved:
            yield from self._finish()

    def _is_early(self, report: StepReport) -> bool:
        """Whether the model is to be kept as it is now, for guidance to lead away from: once, and never again."""
        part = self.recipe.checkpoint.early
        wanted = isinstance(self.model, DiffusionModel) and part is not None and part <= report.progress < 1
        return wanted and not (self.folder / EARLY).exists()

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
        data = captioned(self.training_data if self._cache is None else self._cache.opened(), self._captions)
        loader = build.loader(self.recipe, data, distributed.rank(), distributed.world())
        return loader.batches(start_step)

    def _diagnose(self, report: StepReport) -> Iterator[Event]:
        """What goes wrong is said once."""
        for text in self.objective.diagnose(report.logs):
            if text.partition(":")[0] not in self._said:
                self._said.add(text.partition(":")[0])
                yield Diagnosis(step=report.step, text=text)

    def _look(self, step: int, log: Log) -> Iterator[Event]:
        if self.recipe.preview.held_out and len(self.held_out_data):
            values = self._measure()
            log.write({"step": step, **values})
            yield HeldOut(step=step, values=values)
            by = self.recipe.preview.best
            if by is not None and is_better(self._measured, kept(self.folder), by):
                self._keep_best()
                yield Saved(step=step, path=self.folder / "best")
        if not isinstance(self.model, Classifier):
            yield Preview(step=step, path=self._preview(self.model, step))

    def _measure(self) -> dict[str, float]:
        batches = self._held_out(self.recipe.preview.held_out).split(self.recipe.train.batch)
        batches = batches if self._cache is None else self._cache.encoded(batches)
        with autocast(self.recipe.train.precision, self.model.device):
            values = held_out(self.objective, batches, self.recipe.seed)
        return {**values, "kid": self._kernel_distance()} if self.recipe.preview.best == "kid" else values

    def _kernel_distance(self) -> float:
        """Of as many samples as there are held-out pictures to compare them with."""
        assert isinstance(self.model, DiffusionModel) and self._features is not None
        held = self._held_out(max(2, self.recipe.preview.held_out))
        real = held.x
        wanted = self._wanted(self.model, len(real))
        made = collect(self.model, wanted, draw(self.model, wanted, seen(self.model, held))).samples
        both = (pixels.rounded(made), real)
        vectors = [torch.cat(list(evaluate.extract(self._features, x.split(BATCH)))) for x in both]
        return evaluate.kernel_distance(*vectors).value

    def _held_out(self, count: int) -> Batch:
        """Some held-out examples."""
        data = self._shown_data
        return batch_of(captioned(data, self._captions), build.transform(self.recipe), spread(count, len(data)))

    @property
    def _shown_data(self) -> Dataset:
        """What is held out, or what is trained on where nothing is."""
        return self.held_out_data if len(self.held_out_data) else self.training_data

    def _keep_best(self) -> None:
        """Writes ``best/``; a first stage's latents are measured for it and forgotten again."""
        stage = self.model.first_stage if isinstance(self.model, Autoencoder) else None
        if not isinstance(stage, LearnedStage):
            self._write(self.folder / "best")
            return
        before = stage.mean.clone(), stage.std.clone()
        self._whiten(stage, most=PROVISIONAL, alone=True)
        self._write(self.folder / "best")
        stage.mean.copy_(before[0])
        stage.std.copy_(before[1])

    def _preview(self, drawing: AnyModel | DistilledDecoder, step: int) -> Path:
        path, count = self.folder / "samples" / f"step-{step:06d}.png", self.recipe.preview.count
        match drawing:
            case DiffusionModel() as model:
                if model.image is not None:
                    return pixels.save_png(self._given(model, count), path, overwrite=True)
                wanted = self._wanted(model, count)
                about = record(self.folder, model, wanted)
                return pixels.save_png(collect(model, wanted).picture("grid"), path, about, overwrite=True)
            case Autoencoder() as model:
                picture = compared(model, self._held_out(count).x.to(model.device))
                return pixels.save_png(picture, path, overwrite=True)
            case DistilledDecoder() as model:
                assert self._teacher is not None
                full = self._teacher.to(model.device)
                full.fast = model.forward
                picture = compared(full, self._held_out(count).x.to(model.device))
                return pixels.save_png(picture, path, overwrite=True)

    def _given(self, model: DiffusionModel, count: int) -> Image.Image:
        """What is made of parts of held-out pictures, beside them."""
        batch = self._held_out(count)
        wanted = self._wanted(model, len(batch))
        return shown(model, batch, collect(model, wanted, draw(model, wanted, seen(model, batch))).samples)

    def _wanted(self, model: DiffusionModel, count: int) -> Request:
        """Samples of the seeds 0, 1, 2, ..., drawn quickly."""
        dtype = matmul_dtype(self.recipe.train.precision, model.device)
        return Request(
            wishes=self._wishes(model, count),
            seeds=tuple(range(count)),
            settings=self.recipe.sample,
            precision="bfloat16" if dtype == torch.bfloat16 else "float32",
            fast=model.fast is not None,
        )

    def _wishes(self, model: DiffusionModel, count: int) -> tuple[str | None, ...]:
        """What previews show: pictures of captions from all over the data, or of each class in turn."""
        conditioner = model.conditioner
        if model.image is not None:
            return said(model, self._shown_data, spread(count, len(self._shown_data)))
        if not isinstance(conditioner, TextConditioner):
            return tuple(cycled(model, count))
        captioned = [k for k in range(len(self.training_data)) if self.training_data.captions(k)]
        first = (self.training_data.captions(captioned[k])[0] for k in spread(count, len(captioned)))
        chosen = [prompt for caption in first if (prompt := conditioner.as_prompt(caption)) is not None]
        return tuple(chosen[k % len(chosen)] if chosen else None for k in range(count))

    def _finish(self) -> Iterator[Event]:
        """Writes ``model/``; a checkpoint of the same step exists."""
        with self.training.ema.swapped_in():
            if isinstance(self.model, Autoencoder):
                self._whiten(self.model.first_stage)
            if not distributed.is_main():
                return
            self._write(self.folder / "model")
        yield Saved(step=self.training.clock.step, path=self.folder / "model")

    def _write(self, final: Path) -> None:
        """Writes the model as it is now beside the old one, then puts it in its place."""
        clock, new, old = self.training.clock, *(final.with_name(f".{final.name}.{age}") for age in ("new", "old"))
        shutil.rmtree(new, ignore_errors=True)
        self.model.save(new, **self._about, step=clock.step, images=clock.images)
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)

    def _give_up(self, step: int) -> Iterator[Event]:
        """Ends the training before its time, all processes together."""
        self.training.stop()
        if distributed.is_main():
            found = f"'{self.folder / 'best'}' has that of step {kept(self.folder)}"
            passed = f"{waited(self._measured, kept(self.folder))} previews brought no better model on held-out data"
            yield Diagnosis(step=step, text=f"{passed}: the training ends here (preview.patience); {found}")

    def _whiten(self, stage: torch.nn.Module, *, most: int = MEASURED, alone: bool = False) -> None:
        """Measures the latents of the training data, or of ``most`` examples from all over them, and keeps their mean
        and deviation. Each process measures its share, unless it is ``alone``."""
        assert isinstance(stage, LearnedStage)
        transform, rank, world = build.transform(self.recipe), distributed.rank(), distributed.world()
        if alone:
            rank, world = 0, 1
        examples = spread(most, len(self.training_data))
        parts = (examples[first : first + BATCH] for first in range(rank * BATCH, len(examples), world * BATCH))
        batches = (batch_of(self.training_data, transform, part).to(self.model.device) for part in parts)
        measure(stage, batches, self.recipe.seed, total=(lambda x: x) if alone else distributed.total)
