"""From what is known about a sample to what the network is told."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from carrara.data import CaptionTable, DataInfo
from carrara.errors import UserError
from carrara.shapes import Keep
from carrara.types import Columns, Conditioning

_Own = TypeVar("_Own", bound="ConditionerConfig")


class ConditionerConfig(ABC):
    """What a recipe says of a condition. Abstract in which."""

    @property
    def token_width(self) -> int | None:
        """The width D of the tokens that networks look at; None if there are none."""
        return None

    def complete(self: _Own, info: DataInfo, captions: Iterable[str]) -> _Own:
        """The same with nothing left open.

        Args:
            info: what the data is.
            captions: of the data.

        Raises:
            UserError: the data has no such condition, or another one.
        """
        return self

    @abstractmethod
    def build(self, width: int) -> "Conditioner":
        """Makes the conditioner for a network that takes vectors of ``width``.

        Raises:
            ValueError: something is left open.
        """


class Conditioner(nn.Module, ABC):
    """Turns condition columns into a ``Conditioning``, and knows the condition that says nothing."""

    column: str | None
    """The column of a batch that it reads; None if it reads nothing, so that guidance has no meaning."""
    token_width: int | None = None
    """The width of the tokens that it gives; None if it gives none."""
    classes: Sequence[str] = ()
    """The names of the classes that it knows, if it knows some."""
    reads_captions: bool = False
    """Whether it is told what the data's captions say."""

    @abstractmethod
    def null(self, count: int) -> Conditioning:
        """The learned "nothing is said", for ``count`` samples."""

    @abstractmethod
    def embed(self, columns: Columns) -> Conditioning:
        """The condition of each sample of a batch."""

    @abstractmethod
    def parse(self, text: str) -> Tensor:
        """Makes one row of the column from what a user types.

        Raises:
            UserError: with the accepted spellings.
        """

    def as_prompt(self, caption: str) -> str | None:
        """What to type to ask for a caption of the data; None if it says nothing, or cannot be read."""
        return None

    def caption_table(self, folder: Path | None = None) -> CaptionTable | None:
        """How it reads captions, if it does.

        Args:
            folder: a run's, in which what took long to read is kept.
        """
        return None

    def said(self, wishes: Sequence[str | None]) -> Conditioning:
        """The condition of each sample from what a user typed; None says nothing.

        Raises:
            UserError: a wish that is not understood.
        """
        rows = [None if wish is None else self.parse(wish) for wish in wishes]
        null = self.null(len(rows))
        spoken = next((row for row in rows if row is not None), None)
        if spoken is None or self.column is None:
            return null
        device = next(self.parameters()).device
        column = torch.stack([torch.zeros_like(spoken) if row is None else row for row in rows]).to(device)
        keep = torch.tensor([row is not None for row in rows], device=device)
        return self.embed({self.column: column}).where(keep, null)

    def forward(self, columns: Columns, keep: Keep | None = None) -> Conditioning:
        """The conditions of a batch, with those dropped where ``keep`` (B,) is False: one coin per sample."""
        cond = self.embed(columns)
        return cond if keep is None else cond.where(keep, self.null(len(keep)))


class Unconditional(Conditioner):
    """Nothing is ever said."""

    column = None

    def null(self, count: int) -> Conditioning:
        return Conditioning()

    def embed(self, columns: Columns) -> Conditioning:
        return Conditioning()

    def parse(self, text: str) -> Tensor:
        raise UserError(f"this model is unconditional, so it cannot be asked for '{text}': sample it without a label")
