"""A law of three values in three states, of which everything is known by enumeration."""

from itertools import permutations, product

import torch
from torch import Tensor

from carrara.noise.absorbing import grouped, one_hot
from carrara.types import DenoiseFn

K = 3
ALL = torch.tensor(list(product(range(K), repeat=3)))
"""The 27 samples, (27, 3)."""
ORDERS = list(permutations(range(3)))


def law(seed: int = 0) -> Tensor:
    """Probabilities of ``ALL``, in which the values depend on each other."""
    logits = torch.randn(len(ALL), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return logits.softmax(0)


def arranged(states: Tensor, channels: int) -> Tensor:
    """(B, 3) states as one-hot samples: of one channel at three places, or of three channels at one."""
    return one_hot(states.reshape(len(states), channels, -1), K)


def states_of(z: Tensor, channels: int) -> Tensor:
    """One-hot samples as states (B, 3)."""
    return grouped(z, channels).argmax(2).flatten(1)


def conditionals(p: Tensor, x_t: Tensor, channels: int) -> Tensor:
    """p(x0^i | what is seen) of each value, (B, C K, *N) float64: also of those that are seen, which are sure."""
    groups = grouped(x_t.double(), channels).movedim(2, -1).reshape(len(x_t), 3, K)
    of_all = torch.nn.functional.one_hot(ALL, K).double()
    fits = torch.where(groups.sum(2)[:, None] > 0, (groups[:, None] * of_all).sum(3), 1.0).prod(2)
    weights = fits * p
    weights = weights / weights.sum(1, keepdim=True)
    marginals = torch.einsum("bs,sik->bik", weights, of_all)
    return marginals.reshape(len(x_t), channels, -1, K).movedim(-1, 2).flatten(1, 2)


def exact(p: Tensor, channels: int) -> DenoiseFn:
    """The exact denoiser of a law, of which the time is no part."""
    return lambda x_t, t: conditionals(p, x_t, channels).to(x_t)


def chi_square(observed: Tensor, expected: Tensor) -> float:
    """Of counts, and of probabilities."""
    counts = expected * observed.sum()
    return ((observed - counts) ** 2 / counts).sum().item()


def counts_of(states: Tensor) -> Tensor:
    """How often each of ``ALL`` occurs among (B, 3)."""
    return torch.bincount((states * torch.tensor([K * K, K, 1])).sum(1), minlength=len(ALL)).double()
