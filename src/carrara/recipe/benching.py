"""``carrara bench``: how fast a recipe trains and samples on this machine, and how fast its data can be read."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from carrara.conditioning import UnconditionalConfig
from carrara.data import Dataset, Loader
from carrara.errors import UserError
from carrara.model import AnySaved, DiffusionModel
from carrara.recipe import build
from carrara.recipe.latents import cache_for, captioned, captions_for
from carrara.recipe.loading import load
from carrara.recipe.plan import completed
from carrara.recipe.sampling import cycled
from carrara.recipe.schema import FewStepSettings, Recipe
from carrara.seeds import Draws
from carrara.task import Benched, Measured, bench, machine
from carrara.types import Batch

PRESET = "ddpm-cifar"
"""What is trained where nothing is named: everybody knows its cost."""
AHEAD = 5
"""Batches that a loader prepares in advance at most, which would come too fast."""
READ = 512
"""Pictures that are read to find out how fast that is, at most."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How fast a recipe is here.

    Attributes:
        subject: what was trained.
        machine: processor, threads and versions.
        batch: samples of a step.
        speed: of the model.
        reading: examples a second from their files, and again from memory; None without data.
    """

    subject: str
    machine: str
    batch: int
    speed: Benched
    reading: tuple[float, float] | None

    def values(self) -> dict[str, Any]:
        """The same for a program: seconds, images a second, operations a second and parts of the rooflines."""
        speed = self.speed
        shown = {work.name: self._row(work) for work in (*speed.works, *self.roofs)}
        return {
            "subject": self.subject,
            "machine": self.machine,
            "batch": self.batch,
            "precision": str(speed.precision).removeprefix("torch."),
            "parameters": speed.parameters,
            "peak_bytes": speed.memory or None,
            "sampler_steps": speed.steps,
            "samples_per_second": speed.sampling,
            "reading_per_second": self.reading and dict(zip(("files", "memory"), self.reading, strict=True)),
            "works": shown,
        }

    @property
    def roofs(self) -> tuple[Measured, Measured]:
        """What the machine can do."""
        return self.speed.convolution, self.speed.product

    def _row(self, work: Measured) -> dict[str, Any]:
        row: dict[str, Any] = asdict(work)
        del row["name"]
        row |= {"images_per_second": work.speed} if work.images else {}
        if work.flops:
            convolution, product = (work.rate / roof.rate for roof in self.roofs)
            row |= {"flops_per_second": work.rate, "of_convolution": convolution, "of_product": product}
        return row


def benched(
    run: Path | None,
    preset: str | None,
    overrides: Sequence[str],
    *,
    rounds: int = 15,
    compiled: bool = False,
) -> Bench:
    """Measures a run's recipe, or a preset; the weights are new ones, of which speed is no function.

    Args:
        run: a run's folder, with its data in their place.
        preset: a preset or a recipe file instead; None = ``PRESET``, on random pictures.
        overrides: ``key=value``.
        rounds, compiled: see ``task.bench``.

    Raises:
        UserError: anything that is wrong with them, or that training would run into.
    """
    if rounds < 2:
        raise UserError(f"a median needs 2 rounds or more, and {rounds} were asked for")
    recipe, whole = _opened(run, preset, overrides)
    taught_by = build.teacher(recipe)
    model = build.model(recipe, taught_by).to(build.device())
    training = None if whole is None else build.parts(recipe, whole)[0]
    encoded = training is not None and cache_for(Path(), recipe, model, training) is not None
    batch = _random(recipe) if training is None else _first(recipe, model, training, encoded)
    speed = bench(
        model,
        build.objective(recipe, model, taught_by, encoded=encoded).to(model.device),
        batch,
        recipe.train,
        rounds=rounds,
        compiled=compiled,
        wishes=tuple(cycled(model, len(batch))) if isinstance(model, DiffusionModel) else None,
    )
    return Bench(
        subject=str(run or preset or PRESET),
        machine=machine(model.device),
        batch=len(batch),
        speed=speed,
        reading=None if training is None else _reading(build.loader(recipe, training), len(training), len(batch)),
    )


def _opened(run: Path | None, preset: str | None, overrides: Sequence[str]) -> tuple[Recipe, Dataset | None]:
    """The complete recipe, and its data if it names any."""
    if run is not None and not (run / "recipe.yaml").is_file():
        raise UserError(f"'{run}' holds no run: 'carrara train' makes one, and --preset NAME measures a preset")
    if run is not None and preset is not None:
        raise UserError("a run has a recipe of its own: name the run or --preset, not both")
    recipe = load(preset or PRESET if run is None else run / "recipe.yaml", overrides)
    if isinstance(recipe.objective, FewStepSettings):
        raise UserError("a model of few steps costs what its teacher does, step by step: name the teacher's run")
    if recipe.data.source:
        whole = build.dataset(recipe)
        return completed(recipe, whole).recipe, whole
    if not isinstance(recipe.model.conditioner, UnconditionalConfig | None) or recipe.model.image is not None:
        raise UserError("a condition comes with its data: name some, as in data.source=photos/")
    return recipe, None


def _random(recipe: Recipe) -> Batch:
    """Pictures that are made up."""
    position = torch.arange(recipe.train.batch)
    return Batch(x=2 * Draws(0, position).uniform("pixels", *build.shape(recipe)) - 1, position=position)


def _first(recipe: Recipe, model: AnySaved, training: Dataset, encoded: bool) -> Batch:
    """The first batch of a training, as latents if the training has them in a cache."""
    batch = build.loader(recipe, captioned(training, captions_for(model))).at(0)
    if not encoded:
        return batch
    assert isinstance(model, DiffusionModel)
    with torch.no_grad():
        return replace(batch, x=model.first_stage.encode_raw(batch.x.to(model.device)))


def _reading(loader: Loader, examples: int, batch: int) -> tuple[float, float] | None:
    """Examples a second from files, and from memory: the loader keeps what it has read; None if there are too few."""
    batches = min(READ, examples) // batch - AHEAD
    return None if batches < 1 else (_pace(loader, batches) * batch, _pace(loader, batches) * batch)


def _pace(loader: Loader, batches: int) -> float:
    """Batches a second, after those that the loader has prepared before the first one is asked for."""
    with closing(loader.batches()) as stream:
        next(islice(stream, AHEAD - 1, None))
        begun = perf_counter()
        next(islice(stream, batches - 1, None))
        return batches / (perf_counter() - begun)
