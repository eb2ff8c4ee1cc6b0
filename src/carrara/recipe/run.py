"""A run: a folder that knows itself. Training fills it, everything else reads it.

recipe.yaml           complete: all that is needed to build the model and to go on training
model/                the model with averaged weights, ready to sample
checkpoints/step-N/   to go on from; see ``train.checkpoint``
samples/              previews of fixed seeds
log.jsonl             a line for every step
held_out.jsonl        a line for every measurement on held-out data
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from carrara import pixels
from carrara.data import BUILTIN, batch_of, fingerprint
from carrara.errors import UserError
from carrara.model import config_json
from carrara.recipe import build
from carrara.recipe.loading import DEFAULT, dump, load, presets
from carrara.recipe.resolve import RUN_CHANGES, differences, resolve
from carrara.recipe.sampling import Request, collect, cycled, record
from carrara.recipe.schema import Recipe
from carrara.train import Log, StepReport, Training, autocast, distributed, held_out
from carrara.train.precision import matmul_dtype


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command asks for, complete.

    Attributes:
        recipe: resolved.
        folder: the run's.
        reasons: why what was left open was chosen so.
        resumes: whether the folder holds the beginning of this run.
    """

    recipe: Recipe
    folder: Path
    reasons: tuple[str, ...] = ()
    resumes: bool = False


def plan(source: str | None, preset: str | None, folder: Path | None, overrides: Sequence[str]) -> Plan:
    """Decides what to train, where, and whether to go on.

    Args:
        source: a folder or a built-in data set; None = the preset's.
        preset: a preset or a recipe file; None = the built-in data set's own, or the default.
        folder: the run's folder; None = ``runs/`` and the name of the data.
        overrides: ``key=value``.

    Raises:
        UserError: anything that is wrong with them.
    """
    if source is None and preset is None and folder is not None and (folder / "recipe.yaml").is_file():
        return _resumed(folder, load(folder / "recipe.yaml", overrides))
    name = preset or (source if source in presets() else DEFAULT)
    overrides = [*overrides, *([f"data.source={json.dumps(_absolute(source))}"] if source else [])]
    recipe = load(name, overrides)
    if not recipe.data.source:
        raise UserError(f"what shall be trained on? Name a folder of pictures, or one of {', '.join(BUILTIN)}")
    folder = folder or Path("runs") / Path(recipe.data.source).name
    known = (folder / "recipe.yaml").is_file()
    if known and not name.endswith((".yaml", ".yml")):  # a preset alone says less than the run: only the changes count
        changed = load(folder / "recipe.yaml", overrides)
        return _resumed(folder, changed if preset is None else changed.model_copy(update={"preset": preset}))
    if not known and folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty and holds no run: choose another folder with --run")
    resolved = resolve(recipe, build.dataset(recipe).info, build.device().type)
    if known:
        return _resumed(folder, resolved.recipe)
    return Plan(recipe=resolved.recipe, folder=folder, reasons=resolved.reasons)


def _absolute(source: str) -> str:
    """Folders are remembered by their whole path, so that a run can go on from anywhere."""
    path = Path(source)
    return str(path.resolve()) if source not in BUILTIN and path.exists() else source


def _resumed(folder: Path, wanted: Recipe) -> Plan:
    """Goes on with a run; its length, saving, previews and sampling may change, nothing else.

    Raises:
        UserError: ``wanted`` is another run than the folder's.
    """
    saved = load(folder / "recipe.yaml")
    fixed = set(Recipe.model_fields) - set(RUN_CHANGES)
    other = list(differences(saved.model_dump(include=fixed), wanted.model_dump(include=fixed)))
    if other:
        raise UserError(
            f"'{folder}' holds another run ({'; '.join(other[:3])}): "
            "start this one elsewhere with --run, or leave that out"
        )
    return Plan(recipe=wanted, folder=folder, resumes=True)


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Samples of fixed seeds were drawn."""

    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The loss on held-out data was measured: ``loss@t=...`` for each noise level."""

    step: int
    values: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Over the noise levels."""
        return sum(self.values.values()) / len(self.values)


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The model was written, ready to sample."""

    step: int
    path: Path


Event = StepReport | Preview | HeldOut | Saved


class Session:
    """A run in training: iterate over it. Stopping after any event loses nothing that was saved.

    Args:
        plan: what to train, and where.
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
        self.objective = build.objective(self.recipe, self.model)
        self._about: dict[str, Any] = {"preset": self.recipe.preset, "data": whole.info.name}
        self._about |= {"examples": len(whole), "fingerprint": fingerprint(whole)}
        distributed.anywhere(False, device)  # nobody writes before all have looked into the folder
        if distributed.is_main():
            with pixels.replacing(plan.folder / "recipe.yaml") as file:
                file.write(dump(self.recipe).encode())
        loader = build.loader(self.recipe, self.training_data, distributed.rank(), distributed.world())
        self.training = Training(
            self.objective,
            loader.batches,
            self.recipe.train,
            seed=self.recipe.seed,
            folder=plan.folder,
            checkpoints=self.recipe.checkpoint,
            extra={"config.json": config_json(self.model.config, self._about)},
        )
        self.warnings = self.training.warnings

    def __iter__(self) -> Iterator[Event]:
        report, every = None, self.recipe.preview.every
        with closing(Log(self.folder / "held_out.jsonl", self.training.clock.step)) as log:
            for report in self.training:
                yield report
                if distributed.is_main() and every and (report.step % every == 0 or report.progress == 1):
                    with self.training.ema.swapped_in():
                        yield from self._look(report.step, log)
        unsaved = report is not None or not (self.folder / "model" / "config.json").is_file()
        if unsaved and distributed.is_main():
            yield self._save()

    def _look(self, step: int, log: Log) -> Iterator[Event]:
        if self.recipe.preview.held_out and len(self.held_out_data):
            values = self._held_out()
            log.write({"step": step, **values})
            yield HeldOut(step=step, values=values)
        yield Preview(step=step, path=self._preview(step))

    def _held_out(self) -> dict[str, float]:
        count = min(self.recipe.preview.held_out, len(self.held_out_data))
        batch = batch_of(self.held_out_data, build.transform(self.recipe), range(count))
        with autocast(self.recipe.train.precision, self.model.device):
            return held_out(self.objective, batch.split(self.recipe.train.batch), self.recipe.seed)

    def _preview(self, step: int) -> Path:
        count = self.recipe.preview.count
        dtype = matmul_dtype(self.recipe.train.precision, self.model.device)
        wanted = Request(
            wishes=tuple(cycled(self.model, count)),
            seeds=tuple(range(count)),
            settings=self.recipe.sample,
            precision="bfloat16" if dtype == torch.bfloat16 else "float32",
        )
        path = self.folder / "samples" / f"step-{step:06d}.png"
        picture = collect(self.model, wanted).picture("grid")
        return pixels.save_png(picture, path, record(self.folder, self.model, wanted), overwrite=True)

    def _save(self) -> Saved:
        """Writes ``model/`` beside the old one, then puts it in its place; a checkpoint of the same step exists."""
        clock = self.training.clock
        final, new, old = (self.folder / name for name in ("model", ".model.new", ".model.old"))
        shutil.rmtree(new, ignore_errors=True)
        with self.training.ema.swapped_in():
            self.model.save(new, **self._about, step=clock.step, images=clock.images)
        shutil.rmtree(old, ignore_errors=True)
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)
        return Saved(step=clock.step, path=final)
