"""The samples of a run that is measured: those that ``carrara sample`` draws, and their features.

How they are drawn is decided in ``draw.request`` alone, guidance included.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor

from carrara import evaluate
from carrara.data import captions_of, spread
from carrara.draw import Ask, Request, cycled, request, sample
from carrara.draw.generate import AT_ONCE
from carrara.draw.image_input import seen
from carrara.draw.wishes import prompts
from carrara.errors import UserError, option
from carrara.evaluate import Features
from carrara.measure.measurement import MeasureSettings
from carrara.measure.run_data import EXAMPLES_AT_ONCE, RunData, Split
from carrara.pixels import rounded
from carrara.ranks import each
from carrara.store import OpenModel


@final
class SampleSet:
    """Samples by their numbers: sample k has the k-th seed, and shows what is wished for the k-th time.

    Args:
        opened: the model that draws them.
        data: say what they shall show; a model that sees pictures is shown held-out ones.
        settings: how many there are, and the first one's seed.
    """

    def __init__(self, opened: OpenModel, data: RunData, settings: MeasureSettings) -> None:
        measures = option("metrics", "reconstruction,nll")
        self._model = opened.model.diffusion(f"'{opened.folder}' is an autoencoder: {measures} measure it, not samples")
        self._opened, self._data, self._settings = opened, data, settings
        self._vectors: dict[Split, Tensor] = {}

    @cached_property
    def request(self) -> Request:
        """How a sample is drawn where a user says no more than what it shall show; of the first one."""
        return request(self._opened, Ask(count=1, seed=self._settings.seed))

    @property
    def of_captions(self) -> bool:
        """Whether captions alone say what they shall show."""
        return self._model.conditioner.reads_captions and self._model.image is None

    @property
    def record(self) -> dict[str, Any]:
        """What drew them, as JSON: the settings, and the weaker model that they are led away from if any."""
        led_away = {} if self.request.weak is None else {"weak": asdict(self.request.weak)}
        return {"sample": repr(self.request.settings), **led_away}

    def wishes(self, split: Split) -> list[str | None]:
        """What they are asked to show: captions from all over a part of the data, or each class in turn.

        Raises:
            UserError: no caption can be read.
        """
        model, count = self._model, self._settings.samples
        if model.image is not None:
            return list(prompts(model, self._data.held_out, map(self._example, range(count))))
        if not self.of_captions:
            return cycled(model, count)
        data = self._data.splits[split]
        first = (said[0] for k in spread(count, len(data)) if (said := captions_of(data, k)))
        readable = [prompt for caption in first if (prompt := model.conditioner.as_prompt(caption)) is not None]
        if not readable:
            raise UserError(f"this run reads captions, and its {split} data have none to draw: measure something else")
        return [readable[k % len(readable)] for k in range(count)]

    def pictures(self, wishes: Sequence[str | None], numbers: Sequence[int]) -> Iterator[Tensor]:
        """Samples of some numbers, as ``carrara sample`` draws them, a batch at a time, on the CPU.

        Pictures have 8 bits.
        """
        seeds = tuple(self._settings.seed + k for k in numbers)
        wanted = replace(self.request, wishes=tuple(wishes), seeds=seeds)
        for at in sample(self._opened, wanted, image=self._image(numbers)):
            if at.pixels is not None:
                x = at.pixels.cpu()
                yield rounded(x) if self._model.medium.of_levels else x

    @cached_property
    def drawn(self) -> Tensor:
        """All of them, (N, *S), for what is small enough to be kept."""
        return self.made(self.wishes("held out"))

    def made(self, wishes: Sequence[str | None], look: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        """A sample for each wish, or what ``look`` sees in them, (N, ...), on all ranks, which share the work.

        Args:
            look: from a batch of samples to as many rows; the samples are forgotten then.
        """
        found, starts = list[Tensor](), range(0, len(wishes), AT_ONCE)

        def draw(first: int) -> Tensor:
            numbers = range(first, min(first + AT_ONCE, len(wishes)))
            return look(torch.cat(list(self.pictures(wishes[numbers.start : numbers.stop], numbers))))

        def drawing() -> Iterator[int]:
            for rows in each(draw, starts):
                found.append(rows)
                yield sum(map(len, found))

        for _ in self._settings.watch(drawing(), len(wishes), "drawing samples"):
            pass
        return torch.cat(found)

    def vectors(self, features: Features, split: Split = "held out") -> Tensor:
        """Their features, (N, D): of the captions of this part of the data, where the model reads captions."""
        key: Split = split if self.of_captions else "held out"
        if key not in self._vectors:
            self._vectors[key] = self.made(self.wishes(key), lambda x: features_of(features, x))
        return self._vectors[key]

    def _example(self, number: int) -> int:
        """The held-out example that a sample's model sees: each as often as others."""
        return number % len(self._data.held_out)

    def _image(self, numbers: Sequence[int]) -> Tensor | None:
        """What the model sees of held-out pictures; None if it sees nothing."""
        if self._model.image is None:
            return None
        examples = [self._example(k) for k in numbers]
        parts = (examples[first : first + EXAMPLES_AT_ONCE] for first in range(0, len(examples), EXAMPLES_AT_ONCE))
        images = [seen(self._model, self._data.batch(part)) for part in parts]
        return torch.cat([image.cpu() for image in images if image is not None])


def features_of(features: Features, x: Tensor) -> Tensor:
    """Of pictures (N, *S), a few at a time: (N, D) on the CPU."""
    return torch.cat(list(evaluate.extract(features, x.split(EXAMPLES_AT_ONCE))))
