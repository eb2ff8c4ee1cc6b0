"""The nouns that every layer shares: what a denoiser is, what a condition is, what a batch is."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor

DenoiseFn = Callable[[Tensor, Tensor], Tensor]
"""``(x_t (B, *S), t () or (B,)) -> E[x0 | x_t] (B, *S)``. Guidance, editing and foreign models have this signature."""

Wrapper = Callable[[DenoiseFn], DenoiseFn]
"""Another denoiser made of one: guidance, a measurement, any function of this signature."""

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
        weights: ``(B, L)``, above 0, how often a token counts: attention sees one of weight 2 twice. None is 1 for all.
        image: ``(B, C', H, W)``, concatenated to the network's input.
    """

    vector: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    weights: Tensor | None = None
    image: Tensor | None = None

    def where(self, keep: Tensor, other: "Conditioning") -> "Conditioning":
        """Takes this condition where ``keep`` (B,) is True and ``other`` elsewhere: one coin per sample.

        Sequences of tokens may differ in length, and ``other`` may have none: what is missing is masked.
        """
        return self._merged(other, lambda a, b: torch.where(keep.reshape(-1, *[1] * (a.ndim - 1)), a, b))

    def then(self, other: "Conditioning") -> "Conditioning":
        """The samples of this condition and as many of another, (2B, ...), with tokens as in ``where``."""
        return self._merged(other, lambda a, b: torch.cat([a, b]))

    def _merged(self, other: "Conditioning", merge: Callable[[Tensor, Tensor], Tensor]) -> "Conditioning":
        """Merges each field that the two have; apart from tokens they have the same ones."""
        mine, theirs = self._with_tokens_of(other), other._with_tokens_of(self)
        return Conditioning(
            **{
                f.name: merge(ours, getattr(theirs, f.name))
                for f in fields(mine)
                if (ours := getattr(mine, f.name)) is not None
            }
        )

    def _with_tokens_of(self, other: "Conditioning") -> "Conditioning":
        """The same with as many tokens, and with a mask and weights, if either of the two has them."""
        if self.tokens is None and other.tokens is None:
            return self
        values = self.tokens if self.tokens is not None else other.tokens
        assert values is not None
        length = max(c.tokens.shape[1] for c in (self, other) if c.tokens is not None)
        return replace(
            self,
            tokens=_filled(self.tokens, values.new_zeros(values.shape[0], length, values.shape[2])),
            mask=_filled(self._counted(), values.new_zeros((*values.shape[:1], length), dtype=torch.bool)),
            weights=None
            if self.weights is None and other.weights is None
            else _filled(self.weights, values.new_ones((*values.shape[:1], length))),
        )

    def _counted(self) -> Tensor | None:
        """The mask, spelled out; None where there are no tokens."""
        if self.tokens is None or self.mask is not None:
            return self.mask
        return self.tokens.new_ones(self.tokens.shape[:2], dtype=torch.bool)


def _filled(values: Tensor | None, into: Tensor) -> Tensor:
    """``into`` (B, L, ...) with its first places taken by ``values`` (B, L', ...)."""
    return into if values is None else torch.cat([values, into[:, values.shape[1] :]], dim=1)


UNCONDITIONAL = Conditioning()

Columns = Mapping[str, Tensor]
"""The condition columns of a batch by name: ``(B, ...)`` each. Labels are weights ``(B, classes)``."""


WEIGHT = "weight"
"""The column of how much a sample counts in the loss, (B, 1); where there is none, all count 1."""
MAP = "map"
"""The column of maps: (B, H, W) numbers of colours."""
NOWHERE = 255
"""In a map, the number of no colour."""


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
