"""A run: a folder that knows itself. Training fills it, everything else reads it.

recipe.yaml           complete: all that is needed to build the model and to go on training
model/                the model with averaged weights, ready to use
checkpoints/step-N/   to go on from; see ``train.checkpoint``
samples/              previews of fixed seeds, or of fixed held-out pictures
log.jsonl             a line for every step
held_out.jsonl        a line for every measurement on held-out data
latents/              the training data as latents, if they diffuse: see ``data.latents``
captions/             what a frozen text encoder makes of the captions: see ``data.captions``
autoencoder/          the same again for the autoencoder that was trained first
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from carrara import pixels
from carrara.autoencoder import LearnedStage, measure
from carrara.data import batch_of, fingerprint, spread
from carrara.model import Autoencoder, DiffusionModel, DistilledDecoder, config_json
from carrara.recipe import build
from carrara.recipe.latents import Encoding, cache_for, captioned, captions_for
from carrara.recipe.plan import Plan
from carrara.recipe.resolve import resolve
from carrara.recipe.sampling import Request, collect, cycled, record
from carrara.task import compared
from carrara.train import Log, StepReport, Training, autocast, distributed, held_out
from carrara.train.precision import matmul_dtype
from carrara.types import Batch

BATCH = 64
"""Pictures that are encoded at a time."""
MEASURED = 50_000
"""At most so many pictures decide the mean and the deviation of latents."""


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
        losses = [value for name, value in self.values.items() if name.startswith("loss@")]
        if losses:
            return f"loss {sum(losses) / len(losses):.4f}"
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


Event = Encoding | StepReport | Preview | HeldOut | Diagnosis | Saved


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
        self.model = build.model(self.recipe).to(device)
        if not isinstance(self.model, DistilledDecoder):
            build.adopt_first_stage(self.model, self.recipe, self.folder)
        self._captions = captions_for(self.model, self.folder)
        self._cache = cache_for(self.folder, self.recipe, self.model, self.training_data)
        self.objective = build.objective(self.recipe, self.model, encoded=self._cache is not None)
        self._about: dict[str, Any] = {"preset": self.recipe.preset, "data": whole.info.name}
        self._about |= {"examples": len(whole), "fingerprint": fingerprint(whole)}
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

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        clock = self.training.clock
        return self.recipe.train.progress(clock.step, clock.seconds) == 1 and self._saved

    @property
    def _saved(self) -> bool:
        return (self.folder / "model" / "config.json").is_file()

    def __iter__(self) -> Iterator[Event]:
        report, every = None, self.recipe.preview.every
        if self._cache is not None and not self.finished:
            yield from self._cache.complete()
        if self._captions is not None and not self.finished:
            shared = distributed.rank(), distributed.world()
            for done, total in self._captions.complete(self.training_data, *shared):
                yield Encoding(done=done, total=total, what="captions")
            distributed.wait()
            for _ in self._captions.complete(self.training_data):
                pass  # what the others have read
        with closing(Log(self.folder / "held_out.jsonl", self.training.clock.step)) as log:
            for report in self.training:
                yield report
                if distributed.is_main() and every and (report.step % every == 0 or report.progress == 1):
                    yield from self._diagnose(report)
                    with self.training.ema.swapped_in():
                        yield from self._look(report.step, log)
        if report is not None or not self._saved:
            yield from self._finish()

    def _batches(self, start_step: int) -> Iterator[Batch]:
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
        yield Preview(step=step, path=self._preview(step))

    def _measure(self) -> dict[str, float]:
        batches = self._held_out(self.recipe.preview.held_out).split(self.recipe.train.batch)
        batches = batches if self._cache is None else self._cache.encoded(batches)
        with autocast(self.recipe.train.precision, self.model.device):
            return held_out(self.objective, batches, self.recipe.seed)

    def _held_out(self, count: int) -> Batch:
        """Some held-out examples, or training ones where none are held out."""
        data = self.held_out_data if len(self.held_out_data) else self.training_data
        return batch_of(captioned(data, self._captions), build.transform(self.recipe), spread(count, len(data)))

    def _preview(self, step: int) -> Path:
        path, count = self.folder / "samples" / f"step-{step:06d}.png", self.recipe.preview.count
        match self.model:
            case DiffusionModel() as model:
                dtype = matmul_dtype(self.recipe.train.precision, model.device)
                wanted = Request(
                    wishes=self._wishes(model, count),
                    seeds=tuple(range(count)),
                    settings=self.recipe.sample,
                    precision="bfloat16" if dtype == torch.bfloat16 else "float32",
                    fast=model.fast is not None,
                )
                about = record(self.folder, model, wanted)
                return pixels.save_png(collect(model, wanted).picture("grid"), path, about, overwrite=True)
            case Autoencoder() as model:
                picture = compared(model, self._held_out(count).x.to(model.device))
                return pixels.save_png(picture, path, overwrite=True)
            case DistilledDecoder() as model:
                full = build.teacher(self.recipe).to(model.device)
                full.fast = model.forward
                picture = compared(full, self._held_out(count).x.to(model.device))
                return pixels.save_png(picture, path, overwrite=True)

    def _wishes(self, model: DiffusionModel, count: int) -> tuple[str | None, ...]:
        """What previews show: pictures of captions from all over the data, or of each class in turn."""
        if self._captions is None:
            return tuple(cycled(model, count))
        captioned = [k for k in range(len(self.training_data)) if self.training_data.captions(k)]
        chosen = [self.training_data.captions(captioned[k])[0] for k in spread(count, len(captioned))]
        return tuple(chosen[k % len(chosen)] if chosen else None for k in range(count))

    def _finish(self) -> Iterator[Event]:
        """Writes ``model/`` beside the old one, then puts it in its place; a checkpoint of the same step exists."""
        clock = self.training.clock
        final, new, old = (self.folder / name for name in ("model", ".model.new", ".model.old"))
        with self.training.ema.swapped_in():
            if isinstance(self.model, Autoencoder):
                self._whiten(self.model.first_stage)
            if not distributed.is_main():
                return
            shutil.rmtree(new, ignore_errors=True)
            self.model.save(new, **self._about, step=clock.step, images=clock.images)
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        yield Saved(step=clock.step, path=final)

    def _whiten(self, stage: torch.nn.Module) -> None:
        """Measures the latents of the training data, or of ``MEASURED`` examples from all over them, each rank its
        share, and keeps their mean and deviation."""
        assert isinstance(stage, LearnedStage)
        transform, rank, world = build.transform(self.recipe), distributed.rank(), distributed.world()
        examples = spread(MEASURED, len(self.training_data))
        parts = (examples[first : first + BATCH] for first in range(rank * BATCH, len(examples), world * BATCH))
        batches = (batch_of(self.training_data, transform, part).to(self.model.device) for part in parts)
        measure(stage, batches, self.recipe.seed, total=distributed.total)
