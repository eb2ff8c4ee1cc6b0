"""What a model draws of a subject's class before it learns the subject, so that it does not forget the class.

prior/<key>/00000.png    its samples of the seeds 0, 1, ...

The key is a hash of all that they depend on. A file is written whole or not at all, so what is interrupted goes on.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from math import prod
from pathlib import Path
from typing import final

from carrara.data import Dataset
from carrara.data.base import Cell
from carrara.data.files import Unreadable, decode
from carrara.data.prior import WithPrior
from carrara.draw.generate import finish, sample
from carrara.draw.request import Request
from carrara.errors import UserError
from carrara.files import is_regular, replacing
from carrara.model import DiffusionModel
from carrara.objective import Prior
from carrara.pixels import to_image, to_uint8
from carrara.sample import SampleSettings
from carrara.store import OpenModel
from carrara.store.latents import Cache, Encoding, bytes_missing
from carrara.train import distributed
from carrara.types import Batch

AT_A_TIME = 16
"""Samples that are drawn at a time."""


@final
class PriorCache(Cache):
    """A training set with as many samples of a model beside it.

    Args:
        folder: the run's.
        model: what draws.
        prior: how many of what.
        settings: how it draws.
        data: the training set.
        columns: what is said of the samples, besides the prompt.

    Raises:
        UserError: the model cannot draw that.
    """

    def __init__(
        self,
        folder: Path,
        model: DiffusionModel,
        prior: Prior,
        settings: SampleSettings,
        data: Dataset,
        columns: Mapping[str, Cell],
    ) -> None:
        self._model, self._prior, self._settings, self._data = model, prior, settings, data
        self._columns, self._folder = columns, folder / "prior"
        if model.medium.name != "pictures" or model.shape[0] not in (1, 3, 4):
            raise UserError(
                f"what is drawn before are pictures, and this model makes {model.medium.name}: leave prior out"
            )
        if model.image is not None:
            raise UserError("this model sees pictures beside its noise, and draws nothing without: leave prior out")
        said = model.conditioner.as_prompt(prior.prompt) if model.conditioner.reads_captions else None
        self._wish = said or prior.prompt or None  # as a caption says it, in which brackets are letters
        if self._wish is not None:
            model.conditions([self._wish])

    def complete(self) -> Iterator[Encoding]:
        total = len(self._files)
        parts = [range(first, min(first + AT_A_TIME, total)) for first in range(0, total, AT_A_TIME)]
        for part in parts[distributed.rank() :: distributed.world()]:
            if not all(_is_whole(self._files[k]) for k in part):
                self._draw(part)
            yield Encoding(done=part.stop, total=total, what="drawn pictures")
        distributed.wait()

    @property
    def missing(self) -> int:
        return bytes_missing(self._folder, len(self._files) * (prod(self._model.shape) + 1024))

    def opened(self) -> WithPrior:
        return WithPrior(
            self._data,
            len(self._files),
            lambda k: decode(self._files[k]),
            caption=self._prior.prompt,
            columns=self._columns,
            weight=self._prior.weight,
        )

    def encoded(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        yield from batches

    def _draw(self, part: range) -> None:
        request = Request(wishes=(self._wish,) * len(part), seeds=tuple(part), settings=self._settings)
        for k, pixels in zip(part, to_uint8(finish(sample(OpenModel(model=self._model), request))), strict=True):
            with replacing(self._files[k], within=self._folder.parent, advice="what was drawn before is kept") as file:
                to_image(pixels).save(file, "PNG")

    @cached_property
    def _files(self) -> list[Path]:
        parts = self._model.digest(), self._settings, self._wish or ""
        key = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
        return [self._folder / key / f"{k:05d}.png" for k in range(self._prior.count)]


def _is_whole(file: Path) -> bool:
    """Whether a picture is there, and can be read."""
    try:
        return is_regular(file) and decode(file).size > 0
    except (UserError, Unreadable):
        return False
