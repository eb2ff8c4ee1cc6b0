"""A run that is measured: its model, its data, its samples and their features, each made when it is first asked for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from carrara import evaluate
from carrara.conditioning import TextConditioner
from carrara.data import CaptionTable, Dataset, Subset, Transform, batch_of, spread
from carrara.errors import UserError
from carrara.evaluate import Features, Reference
from carrara.model import AnyModel, DiffusionModel
from carrara.pixels import rounded
from carrara.recipe import build
from carrara.recipe.folder import run_of
from carrara.recipe.latents import captioned, captions_for
from carrara.recipe.loading import load
from carrara.recipe.sampling import cycled
from carrara.recipe.schema import Recipe
from carrara.recipe.seeing import said as said_of
from carrara.task import generate, seen
from carrara.types import Batch

BATCH = 32

Part = Literal["train", "held out"]
"""Of the data."""
Watch = Callable[[Iterable[int], int, str], Iterable[int]]
"""Passes on how many of so many are done, of what; a progress bar, for example."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one metric found.

    Attributes:
        lines: for a terminal.
        data: the same as JSON.
        picture: for those who would rather look.
    """

    lines: list[str]
    data: dict[str, Any]
    picture: Image.Image | None = None


@dataclass(frozen=True, kw_only=True)
class How:
    """How to measure.

    Attributes:
        samples: how many are drawn, for metrics of samples.
        features: what these look at; see ``evaluate.extractor``.
        seed: of the first sample, and of the noise.
        exact: the variational bound with all of its terms, which takes long; else with some, drawn without bias.
        watch: what is done on the way.
    """

    samples: int = 1000
    features: str = "efficientnet-lite0"
    seed: int = 0
    exact: bool = False
    watch: Watch = lambda done, total, what: done

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise UserError(f"metrics of samples need 2 of them or more, not {self.samples}: 1000 are usual")


class Subject:
    """A run that is measured.

    Args:
        folder: the run's, or its ``best/`` or a checkpoint.
        model: its, on its device.
        how: to measure.
    """

    def __init__(self, folder: Path, model: AnyModel, how: How) -> None:
        self.folder, self.model, self.how = folder, model, how

    @cached_property
    def run(self) -> Path:
        """The run that the model belongs to.

        Raises:
            UserError: there is none.
        """
        if (run := run_of(self.folder)) is None:
            raise UserError(f"'{self.folder}' has no recipe.yaml, which says what its data are: name a run's folder")
        return run

    @cached_property
    def recipe(self) -> Recipe:
        """The run's."""
        return load(self.run / "recipe.yaml")

    @cached_property
    def parts(self) -> dict[Part, Dataset]:
        """The data that were trained on, and those held out: the same ones, where none were."""
        training, held_out = build.parts(self.recipe, build.dataset(self.recipe))
        return {"train": training, "held out": held_out if len(held_out) else training}

    @property
    def held_out(self) -> Dataset:
        """The data that were held out, or what was trained on where nothing was."""
        return self.parts["held out"]

    @property
    def split(self) -> str:
        """What ``held_out`` really is."""
        return "training" if self.held_out is self.parts["train"] else "held-out"

    @cached_property
    def _table(self) -> CaptionTable | None:
        return captions_for(self.model, self.run)

    @cached_property
    def transform(self) -> Transform | None:
        """What brings pictures to the model's shape; None for points."""
        return build.transform(self.recipe)

    def batches(self, part: Part = "held out", what: str = "measuring", most: int | None = None) -> Iterator[Batch]:
        """All examples of a part, or ``most`` from all over it, on the model's device."""
        data = self.parts[part]
        chosen = spread(len(data) if most is None else most, len(data))
        if self._table is not None:
            done = (read for read, _ in self._table.complete(Subset(data, chosen)))
            for _ in self.how.watch(done, len(chosen), "reading captions"):
                pass
        data = captioned(data, self._table)
        for first in self.how.watch(range(0, len(chosen), BATCH), len(chosen), what):
            yield batch_of(data, self.transform, chosen[first : first + BATCH]).to(self.model.device)

    @cached_property
    def features(self) -> Features:
        """What metrics of samples look at.

        Raises:
            UserError: samples are no pictures, or there is no such network.
        """
        if len(self.model.shape) != 3:
            raise UserError("metrics of samples look at pictures, and this run makes points: --metrics nll measures it")
        return evaluate.extractor(self.how.features).to(self.model.device)

    def vectors(self, part: Part) -> Tensor:
        """The features of a part of the data, (N, D); kept in the run for the next time."""
        features, kept = self.features, self.run / "evaluation" / "reference"
        assert self.transform is not None
        reference = Reference(features, self.parts[part], self.transform, kept, split=part)
        total = len(self.parts[part])
        for _ in self.how.watch((done for done, _ in reference.complete()), total, f"features of the {part} data"):
            pass
        return reference.vectors()

    def drawn(self, part: Part = "held out") -> Tensor:
        """The features of samples, (N, D): of the captions of this part of the data, where the model reads captions."""
        key: Part = part if self.reads else "held out"
        if key not in self._drawn:
            self._drawn[key] = torch.cat(list(self._extracted(self.wishes(key))))
        return self._drawn[key]

    @cached_property
    def _drawn(self) -> dict[Part, Tensor]:
        return {}

    @property
    def reads(self) -> bool:
        """Whether the model is told captions."""
        return isinstance(self.model.conditioner, TextConditioner) and not self.sees

    @property
    def sees(self) -> bool:
        """Whether the model sees parts of pictures; it is shown held-out ones then."""
        return isinstance(self.model, DiffusionModel) and self.model.image is not None

    def _seen_examples(self, count: int) -> list[int]:
        """Held-out examples, each as often as others."""
        return [k % len(self.held_out) for k in range(count)]

    def wishes(self, part: Part) -> list[str | None]:
        """What samples are asked to show: captions from all over a part of the data, or each class in turn."""
        if isinstance(self.model, DiffusionModel) and self.sees:
            return list(said_of(self.model, self.held_out, self._seen_examples(self.how.samples)))
        if not self.reads:
            return cycled(self.model, self.how.samples)
        data = self.parts[part]
        first = (data.captions(k)[0] for k in spread(self.how.samples, len(data)) if data.captions(k))
        said = [prompt for caption in first if (prompt := self.as_prompt(caption)) is not None]
        if not said:
            raise UserError(f"'{self.folder}' reads captions, and its {part} data have none to draw")
        return [said[k % len(said)] for k in range(self.how.samples)]

    def as_prompt(self, caption: str) -> str | None:
        """What to type to ask for a caption; None if the model cannot read it."""
        conditioner = self.model.conditioner if isinstance(self.model, DiffusionModel) else None
        return conditioner.as_prompt(caption) if isinstance(conditioner, TextConditioner) else None

    def pictures(self, wishes: list[str | None], seeds: list[int]) -> Iterator[Tensor]:
        """Samples, as the model draws them unless told otherwise, with 8 bits, a batch at a time, on the CPU."""
        model = self.model
        if not isinstance(model, DiffusionModel):
            raise UserError(f"'{self.folder}' is an autoencoder: --metrics reconstruction,nll measure it, not samples")
        for at in generate(model, wishes, seeds, model.settings(), batch=2 * BATCH, image=self._image(len(wishes))):
            if at.pixels is not None:
                yield rounded(at.pixels.cpu())

    def _image(self, count: int) -> Tensor | None:
        """What the model sees of as many held-out pictures; None if it sees nothing."""
        if not isinstance(self.model, DiffusionModel) or not self.sees:
            return None
        data, examples = captioned(self.held_out, self._table), self._seen_examples(count)
        parts = (examples[first : first + BATCH] for first in range(0, count, BATCH))
        images = [seen(self.model, batch_of(data, self.transform, part)) for part in parts]
        return torch.cat([image.cpu() for image in images if image is not None])

    def _extracted(self, wishes: list[str | None]) -> Iterator[Tensor]:
        """Features of samples; the pictures themselves are forgotten."""
        done, seeds = 0, list(range(self.how.seed, self.how.seed + len(wishes)))
        batches: list[Tensor] = []

        def drawing() -> Iterator[int]:
            nonlocal done
            features = self.features
            for x in self.pictures(wishes, seeds):
                batches.extend(evaluate.extract(features, x.split(BATCH)))
                done += len(x)
                yield done

        for _ in self.how.watch(drawing(), len(wishes), "drawing samples"):
            yield from batches
            batches.clear()
