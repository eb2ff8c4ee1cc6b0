"""The data of a run that is measured: those it was trained on, and those held out."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar, final

from carrara.data import CaptionTable, Dataset, Subset, Transform, batch_of, spread
from carrara.errors import UserError
from carrara.measure.measurement import CountWatch
from carrara.model import Model
from carrara.ranks import each
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.recipe.schema import Recipe
from carrara.store.latents import captioned
from carrara.store.runs import run_of
from carrara.types import Batch

T = TypeVar("T")
EXAMPLES_AT_ONCE = 32
"""Examples that are measured at a time."""

Split = Literal["train", "held out"]
"""A part of the data."""


@final
class RunData:
    """The data of a run, opened when they are first asked for.

    Args:
        folder: the run's, or its ``best/`` or a checkpoint.
        model: its, on its device.
        watch: what is done while they are read.
    """

    def __init__(self, folder: Path, model: Model, watch: CountWatch) -> None:
        self._folder, self._model, self._watch = folder, model, watch

    @cached_property
    def run(self) -> Path:
        """The run that the model belongs to.

        Raises:
            UserError: there is none.
        """
        if (run := run_of(self._folder)) is None:
            raise UserError(f"'{self._folder}' has no recipe.yaml, which says what its data are: name a run's folder")
        return run

    @cached_property
    def recipe(self) -> Recipe:
        """The run's."""
        return load(self.run / "recipe.yaml")

    @cached_property
    def splits(self) -> dict[Split, Dataset]:
        """The data that were trained on, and those held out: the same ones, where none were."""
        training, held_out = build.parts(self.recipe, build.dataset(self.recipe))
        return {"train": training, "held out": held_out if len(held_out) else training}

    @property
    def held_out(self) -> Dataset:
        """The data that were held out, or what was trained on where nothing was."""
        return self.splits["held out"]

    @property
    def adjective(self) -> str:
        """What ``held_out`` really is."""
        return "training" if self.held_out is self.splits["train"] else "held-out"

    @cached_property
    def transform(self) -> Transform | None:
        """What brings pictures to the model's shape; None for points."""
        return build.transform(self.recipe)

    @cached_property
    def _table(self) -> CaptionTable | None:
        return self._model.captions(self.run)

    def batch(self, indices: Sequence[int], split: Split = "held out") -> Batch:
        """Some examples, with what the model reads of them."""
        return batch_of(captioned(self.splits[split], self._table), self.transform, indices)

    def batches(self, split: Split = "held out", what: str = "measuring", most: int | None = None) -> Iterator[Batch]:
        """All examples of a part, or ``most`` from all over it, on the model's device, all on every rank."""
        chosen = self._chosen(split, most)
        for first in self._watch(range(0, len(chosen), EXAMPLES_AT_ONCE), len(chosen), what):
            yield self._batch(chosen, first, split)

    def measured(
        self,
        measure: Callable[[Batch], T],
        split: Split = "held out",
        what: str = "measuring",
        most: int | None = None,
    ) -> list[T]:
        """What ``measure`` says of each of the ``batches``, in their order, on all ranks, which share the work."""
        chosen, found = self._chosen(split, most), list[T]()

        def measuring() -> Iterator[int]:
            firsts = range(0, len(chosen), EXAMPLES_AT_ONCE)
            for one in each(lambda first: measure(self._batch(chosen, first, split)), firsts):
                found.append(one)
                yield min(len(found) * EXAMPLES_AT_ONCE, len(chosen))

        for _ in self._watch(measuring(), len(chosen), what):
            pass
        return found

    def _batch(self, chosen: Sequence[int], first: int, split: Split) -> Batch:
        return self.batch(chosen[first : first + EXAMPLES_AT_ONCE], split).to(self._model.device)

    def _chosen(self, split: Split, most: int | None) -> Sequence[int]:
        """The examples of a part, whose captions are read."""
        data = self.splits[split]
        chosen = spread(len(data) if most is None else most, len(data))
        if self._table is not None:
            done = (read for read, _ in self._table.complete(Subset(data, chosen), keep=False))
            for _ in self._watch(done, len(chosen), "reading captions"):
                pass
        return chosen
