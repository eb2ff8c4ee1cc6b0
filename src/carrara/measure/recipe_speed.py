"""``carrara bench``: how fast a recipe trains and samples on this machine, and how fast its data can be read."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from carrara.conditioning import UnconditionalConfig
from carrara.data import Dataset, Loader
from carrara.device import default_device
from carrara.errors import UserError, command, option
from carrara.measure.model_speed import ModelSpeed, measure_model_speed
from carrara.measure.timing import Timing, machine
from carrara.model import AnySaved
from carrara.recipe import build
from carrara.recipe.kinds import kind_of
from carrara.recipe.loading import load
from carrara.recipe.resolve import complete
from carrara.recipe.schema import Recipe
from carrara.seeds import Draws
from carrara.store.latents import captioned
from carrara.types import Batch

PRESET = "ddpm-cifar"
"""What is trained where nothing is named: everybody knows its cost."""
AHEAD = 5
"""Batches that a loader prepares in advance at most, which would come too fast."""
READ = 512
"""Pictures that are read to find out how fast that is, at most."""


@dataclass(frozen=True, kw_only=True)
class RecipeSpeed:
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
    speed: ModelSpeed
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
            "ways": [{**asdict(one), "fastest": one.fastest} for one in speed.ways.measured] if speed.ways else [],
        }

    @property
    def roofs(self) -> tuple[Timing, Timing]:
        """What the machine can do."""
        return self.speed.convolution, self.speed.product

    def _row(self, work: Timing) -> dict[str, Any]:
        row: dict[str, Any] = asdict(work)
        del row["name"]
        row |= {"images_per_second": work.speed} if work.images else {}
        if work.flops:
            convolution, product = (work.rate / roof.rate for roof in self.roofs)
            row |= {"flops_per_second": work.rate, "of_convolution": convolution, "of_product": product}
        return row


def measure_recipe_speed(
    run: Path | None,
    preset: str | None,
    overrides: Sequence[str],
    *,
    rounds: int = 15,
    compiled: bool = False,
    tune: bool = False,
) -> RecipeSpeed:
    """Measures a run's recipe, or a preset; the weights are new ones, of which speed is no function.

    Args:
        run: a run's folder, with its data in their place.
        preset: a preset or a recipe file instead; None = ``PRESET``, on random pictures.
        overrides: ``key=value``.
        rounds, compiled, tune: see ``measure_model_speed``.

    Raises:
        UserError: anything that is wrong with them, or that training would run into.
    """
    if rounds < 2:
        raise UserError(f"a median needs 2 rounds or more, and {rounds} were asked for")
    recipe, whole = _opened(run, preset, overrides)
    taught_by = build.teacher(recipe)
    model = build.model(recipe, taught_by).to(default_device())
    training = None if whole is None else build.parts(recipe, whole)[0]
    cache = None if training is None else kind_of(recipe, taught_by).cache(Path(), model, training, None)
    batch = _random(recipe) if training is None else _first(recipe, model, training)
    batch = batch if cache is None else next(iter(cache.encoded([batch])))
    speed = measure_model_speed(
        model,
        build.objective(recipe, model, taught_by, encoded=cache is not None).to(model.device),
        batch,
        recipe.train,
        rounds=rounds,
        compiled=compiled,
        tune=tune,
    )
    return RecipeSpeed(
        subject=str(run or preset or PRESET),
        machine=machine(model.device),
        batch=len(batch),
        speed=speed,
        reading=None if training is None else _reading(build.loader(recipe, training), len(training), len(batch)),
    )


def _opened(run: Path | None, preset: str | None, overrides: Sequence[str]) -> tuple[Recipe, Dataset | None]:
    """The complete recipe, and its data if it names any."""
    if run is not None and not (run / "recipe.yaml").is_file():
        raise UserError(
            f"'{run}' holds no run: '{command('train')}' makes one, and {option('preset', 'NAME')} measures a preset"
        )
    if run is not None and preset is not None:
        raise UserError(f"a run has a recipe of its own: name the run or {option('preset')}, not both")
    recipe = load(preset or PRESET if run is None else run / "recipe.yaml", overrides)
    if not kind_of(recipe).pictures:
        raise UserError("a model of few steps costs what its teacher does, step by step: name the teacher's run")
    if recipe.data.source:
        whole = build.dataset(recipe)
        return complete(recipe, whole).recipe, whole
    if recipe.model.conditioner not in (None, UnconditionalConfig()) or recipe.model.image is not None:
        raise UserError("a condition comes with its data: name some, as in data.source=photos/")
    return recipe, None


def _random(recipe: Recipe) -> Batch:
    """Pictures that are made up."""
    position = torch.arange(recipe.train.batch)
    return Batch(x=2 * Draws(0, position).uniform("pixels", *recipe.data.shape) - 1, position=position)


def _first(recipe: Recipe, model: AnySaved, training: Dataset) -> Batch:
    """The first batch of a training."""
    return build.loader(recipe, captioned(training, model.captions())).at(0)


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
