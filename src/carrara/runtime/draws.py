r"""The random numbers of ``carrara.seeds`` in numpy: a pure function of (seed, purpose, step, sample).

Draw ``j`` is

.. math:: u_j = \operatorname{mix}(\text{key} + j \gamma)                                                        (1)

with SplitMix64's finaliser and increment (Steele, Lea and Flood, 2014), and normal numbers come from its two halves by
Box and Muller,

.. math:: z = \sqrt{-2 \ln u} (\cos 2 \pi v, \sin 2 \pi v).                                                      (2)

The bits are those of ``carrara.seeds``; the numbers differ from torch's by the rounding of logarithm and cosine.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_LOWER = np.uint64(0xFFFFFFFF)


def mix(x: Words) -> Words:
    """SplitMix64's finaliser."""
    x = (x ^ (x >> np.uint64(30))) * _MIX[0]
    x = (x ^ (x >> np.uint64(27))) * _MIX[1]
    return x ^ (x >> np.uint64(31))


def integer(*parts: int | str) -> int:
    """Hashes names and numbers to 63 bits."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def normal(seeds: Sequence[int], purpose: str, shape: tuple[int, ...], step: int = 0) -> NDArray[np.float32]:
    """Standard normal numbers (B, *shape) float32, one row for each seed.

    Args:
        seeds: whole numbers of 64 bits with a sign.
        purpose, step: what they are for.
    """
    count = math.prod(shape)
    samples = np.asarray(seeds, np.int64).astype(np.uint64)
    key = mix(np.uint64(integer(0, purpose, step)) + mix(samples * _GAMMA))
    bits = mix(key[:, None] + np.arange(1, (count + 1) // 2 + 1, dtype=np.uint64) * _GAMMA)
    u = ((bits >> np.uint64(32)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    v = (bits & _LOWER).astype(np.float32) * np.float32(2.0**-32)
    radius, angle = np.sqrt(np.float32(-2) * np.log(u)), np.float32(2 * math.pi) * v
    pair = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pair[:, :count].reshape(-1, *shape)
