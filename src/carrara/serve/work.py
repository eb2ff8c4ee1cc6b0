"""What a job does: samples, an edit, a sheet of what a setting does, or a picture's way from noise."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from PIL import Image

from carrara import pixels
from carrara.draw import Ask, Progress, Remark, Request, Samples, Verb, draw_variation, record, request
from carrara.draw.variation import Sweep
from carrara.serve.batching import key_of
from carrara.serve.made import Piece, of_results, of_samples, of_sheet
from carrara.store import OpenModel

Steps = Generator[Progress | Remark, None, Any]


@dataclass(frozen=True, kw_only=True)
class Work(ABC):
    """Something to do with a model. Abstract in what.

    Attributes:
        model: its id.
        request: what is drawn.
    """

    model: str
    request: Request

    @property
    def count(self) -> int:
        """How many samples come of it, as far as that is known before."""
        return max(1, len(self.request.seeds))

    @property
    def key(self) -> Hashable:
        """Equal for what can be drawn together; None can be with nothing."""
        return None

    @abstractmethod
    def steps(self, opened: OpenModel) -> Steps:
        """Does it; what comes at the end is for ``save``."""

    def save(self, opened: OpenModel, made: Any, folder: Path) -> list[Piece]:
        """Writes what came of it as files."""
        return []


@final
@dataclass(frozen=True, kw_only=True)
class Sampling(Work):
    """Samples. They are drawn with those of others; see ``batching``."""

    @property
    def key(self) -> Hashable:
        return self.model, key_of(self.request)

    def steps(self, opened: OpenModel) -> Steps:
        raise AssertionError("samples are drawn together")
        yield

    def save(self, opened: OpenModel, made: torch.Tensor, folder: Path) -> list[Piece]:
        samples = Samples(request=self.request, medium=opened.model.medium, values=made)
        return of_samples(opened, samples, folder)


@final
@dataclass(frozen=True, kw_only=True)
class Editing(Work):
    """A verb of pictures."""

    verb: Verb

    def steps(self, opened: OpenModel) -> Steps:
        return self.verb.run(opened, self.request)

    def save(self, opened: OpenModel, made: Any, folder: Path) -> list[Piece]:
        return of_results(opened, made, folder)


@final
@dataclass(frozen=True, kw_only=True)
class Varying(Work):
    """A sheet: a column for each value of a setting, and a row for each wish, or for each value of another one.

    Attributes:
        ask: what is asked besides.
        sweeps: one or two; the second one's values are the rows.
        text: the same as it was said.
    """

    ask: Ask
    sweeps: Sequence[Sweep]
    text: tuple[str, ...]

    @property
    def count(self) -> int:
        count = 1
        for sweep in self.sweeps:
            count *= len(sweep.values)
        return count

    def steps(self, opened: OpenModel) -> Steps:
        first, *others = self.sweeps
        asks = [self.ask]
        for sweep in others:
            asks = [replace(self.ask, **{sweep.name: value}) for value in sweep.values]
        sheets = list[Image.Image]()
        for ask in asks:
            asked = request(opened, ask)
            label = next((f"{s.name} {getattr(ask, s.name)}" for s in others), "")
            rows = replace(asked, wishes=asked.wishes[:1], seeds=asked.seeds[:1], columns=1, labels=())
            rows = replace(rows, labels=(label,) if label else ask.prompts[:1])
            sheets.append((yield from draw_variation(opened, rows, ask.changes, first)))
        return pixels.stacked(sheets)

    def save(self, opened: OpenModel, made: Image.Image, folder: Path) -> list[Piece]:
        about: Mapping[str, Any] = {"vary": list(self.text), "of": record(opened, self.request)}
        return of_sheet(made, dict(about), self.request, folder)
