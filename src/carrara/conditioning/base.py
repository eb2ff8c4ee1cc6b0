"""From what is known about a sample to what the network is told."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from carrara.errors import UserError
from carrara.shapes import Keep
from carrara.types import Columns, Conditioning


class Conditioner(nn.Module, ABC):
    """Turns condition columns into a ``Conditioning``, and knows the condition that says nothing."""

    column: str | None
    """The column of a batch that it reads; None if it reads nothing, so that guidance has no meaning."""
    token_width: int | None = None
    """The width of the tokens that it gives; None if it gives none."""

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
