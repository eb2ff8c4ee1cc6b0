r"""Random numbers as a pure function of what they are for.

No generator state exists, so nothing about randomness is saved, and resume is exact. Sample k of a batch draws the same
numbers alone or among 64 others, on any device, on any rank. The generator is counter-based: draw ``j`` is

.. math:: u_j = \operatorname{mix}(\text{key} + j \gamma)                                                        (1)

with SplitMix64's finaliser ``mix`` and odd increment gamma (Steele, Lea and Flood, "Fast Splittable Pseudorandom
Number Generators", 2014), where the key is itself mixed from (seed, purpose, step, sample). Normal numbers come from
the two 32-bit halves of a draw by Box and Muller,

.. math:: z = \sqrt{-2 \ln u} (\cos 2 \pi v, \sin 2 \pi v).                                                      (2)
"""

import hashlib
import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carrara.shapes import Indices

_GAMMA = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed 64-bit number
_MIX = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
_HALF = 0xFFFFFFFF
_AT_ONCE = 1 << 15
"""Keys that are made together, so that they stay in the processor's cache."""


_Words = TypeVar("_Words", Tensor, NDArray[np.int64])


def _shift(x: _Words, bits: int) -> _Words:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # int64 shifts keep the sign; the mask makes them logical


def mix(x: _Words) -> _Words:
    """SplitMix64's finaliser on int64 of any shape: a bijection; each input bit moves half of the output's."""
    x = (x ^ _shift(x, 30)) * _MIX[0]
    x = (x ^ _shift(x, 27)) * _MIX[1]
    return x ^ _shift(x, 31)


def integer(*parts: int | str) -> int:
    """Hashes names and numbers to 63 bits, the same on every machine and in every Python."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def permutation(count: int, *parts: int | str) -> Tensor:
    """Returns ``(count,)`` int64, a shuffle of ``range(count)`` that depends on ``parts`` alone."""
    keys = mix(integer("permutation", *parts) + np.arange(count, dtype=np.int64) * _GAMMA)
    return torch.from_numpy(np.argsort(keys))  # no two keys are equal: any sort will do


def permutation_part(count: int, part: int, parts: int, *names: int | str) -> tuple[int, Tensor]:
    """One of about equal parts of ``permutation(count, *names)``, and the place at which it begins there.

    All numbers are gone through, and only those of the part are held: some megabytes, however many there are.
    """
    if parts == 1:
        return 0, permutation(count, *names)
    least, most = (None if k in (0, parts) else (k << 64) // parts - (1 << 63) for k in (part, part + 1))
    start, begin = integer("permutation", *names), 0
    keys, numbers = list[NDArray[np.int64]](), list[NDArray[np.int64]]()
    for first in range(0, count, _AT_ONCE):
        own = np.arange(first, min(count, first + _AT_ONCE), dtype=np.int64)
        key = mix(start + own * _GAMMA)
        inside = np.ones(len(own), bool) if most is None else key < most
        if least is not None:
            below = key < least
            begin, inside = begin + int(np.count_nonzero(below)), inside & ~below
        keys.append(key[inside])
        numbers.append(own[inside])
    return begin, torch.from_numpy(np.concatenate(numbers)[np.argsort(np.concatenate(keys))])


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of some samples at one step.

    Args:
        seed: the run's seed.
        samples: ``(B,)`` int64, which samples: their positions in training, or their numbers in a request.
        step: the optimizer step in training, the sampler's step in sampling.
    """

    seed: int
    samples: Indices
    step: int = 0

    def at(self, step: int) -> "Draws":
        """The same samples at another step."""
        return replace(self, step=step)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Returns ``(B, *shape)`` float32, uniform in (0, 1): the ends never occur."""
        bits = self._bits(purpose, math.prod(shape))
        return ((_shift(bits, 41) + 0.5) * 2.0**-23).reshape(-1, *shape)

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Returns ``(B, *shape)`` float32, standard normal."""
        count = math.prod(shape)
        bits = self._bits(purpose, (count + 1) // 2)
        u, v = (_shift(bits, 32) + 0.5) * 2.0**-32, (bits & _HALF) * 2.0**-32
        radius, angle = torch.sqrt(-2 * torch.log(u)), 2 * math.pi * v
        pair = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
        return pair[:, :count].reshape(-1, *shape)

    def integer(self, purpose: str, below: int) -> Tensor:
        """Returns ``(B,)`` int64, uniform in [0, below)."""
        return (self.uniform(purpose) * below).long().clamp(max=below - 1)

    def _bits(self, purpose: str, count: int) -> Tensor:
        key = mix(integer(self.seed, purpose, self.step) + mix(self.samples * _GAMMA))
        counters = torch.arange(1, count + 1, device=key.device) * _GAMMA
        return mix(key[:, None] + counters)


@contextmanager
def torch_generator(*parts: int | str, device: torch.device | str = "cpu") -> Generator[None, None, None]:
    """Seeds torch's own generators from ``parts`` inside the block, and leaves them as they were after it.

    For what only they can draw: initial weights and dropout masks.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(integer(*parts))
        yield
