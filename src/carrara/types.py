"""The nouns that every layer shares: what a denoiser is, what a condition is, what a batch is."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor

DenoiseFn = Callable[[Tensor, Tensor], Tensor]
"""``(x_t (B, *S), t () or (B,)) -> E[x0 | x_t] (B, *S)``. Guidance, editing and foreign models have this signature."""

NoiseFn = Callable[[int], Tensor]
"""``k -> eps (B, *S) ~ N(0, I)``: the fresh noise that a stochastic sampler adds at its step ``k``."""

Role = Literal["main", "autoencoder", "critic"]
"""Which of an objective's parameter groups a loss is for."""


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a network is told about a sample besides the noise level; each field is optional.

    Attributes:
        vector: ``(B, D)``, added to the embedding of the noise level.
        tokens: ``(B, L, D)``, for cross-attention.
        mask: ``(B, L)`` bool, True where a token counts.
        image: ``(B, C', H, W)``, concatenated to the network's input.
    """

    vector: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    image: Tensor | None = None

    def where(self, keep: Tensor, other: "Conditioning") -> "Conditioning":
        """Takes this condition where ``keep`` (B,) is True and ``other`` elsewhere: one coin per sample."""
        return Conditioning(
            **{
                f.name: torch.where(keep.reshape(-1, *[1] * (mine.ndim - 1)), mine, getattr(other, f.name))
                for f in fields(self)
                if (mine := getattr(self, f.name)) is not None
            }
        )


UNCONDITIONAL = Conditioning()

Columns = Mapping[str, Tensor]
"""The condition columns of a batch by name: ``(B, ...)`` each. Labels are weights ``(B, classes)``."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some training samples.

    Attributes:
        x: ``(B, *S)`` float32; pictures lie in [-1, 1].
        position: ``(B,)`` int64. The how-manieth sample of the whole training this is, over all epochs and ranks: every
            random draw that concerns the sample is a function of it.
        columns: condition columns, ``(B, ...)`` each.
    """

    x: Tensor
    position: Tensor
    columns: Columns = field(default_factory=dict[str, Tensor])

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> "Batch":
        """The same samples on another device."""
        return self._map(lambda v: v.to(device, non_blocking=True))

    def split(self, size: int) -> Iterator["Batch"]:
        """Cuts into parts of ``size`` samples, the last one possibly smaller: micro-batches."""
        for start in range(0, len(self), size):
            yield self._map(lambda v, rows=slice(start, start + size): v[rows])

    def _map(self, f: Callable[[Tensor], Tensor]) -> "Batch":
        columns = {name: f(value) for name, value in self.columns.items()}
        return replace(self, x=f(self.x), position=f(self.position), columns=columns)
