"""Dropout by coins of 16 bits: how often, by how much, and from which generator."""

import math

import pytest
import torch
from torch import nn

from carrara.nn import Dropout
from carrara.seeds import torch_generator

N = 200_003
"""Not a multiple of 4."""


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9, 1 / 3])
def test_values_are_dropped_with_probability_p_and_scaled(p: float) -> None:
    with torch_generator(0):
        y = Dropout(p)(torch.full((N,), 3.0))
    share = (y == 0).double().mean().item()
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / N)
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 3 / (1 - p)), rtol=2e-4, atol=0)


def test_neighbours_are_independent() -> None:
    with torch_generator(1):
        kept = (Dropout(0.5)(torch.ones(N)) != 0).double() - 0.5
    for apart in (1, 2, 3, 4, 8):
        correlation = 4 * (kept[apart:] * kept[:-apart]).mean().item()
        assert abs(correlation) < 4 / math.sqrt(N)


def test_the_gradient_is_that_of_what_was_kept() -> None:
    x = torch.ones(5, 7, requires_grad=True)
    with torch_generator(2):
        y = Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_the_same_seed_drops_the_same() -> None:
    results = []
    for seed in (0, 0, 1):
        with torch_generator(seed):
            results.append(Dropout(0.3)(torch.ones(64)))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("layer", [Dropout(0.0), Dropout(0.5).eval()])
def test_nothing_is_dropped_or_drawn_where_there_is_nothing_to_drop(layer: nn.Module) -> None:
    x, before = torch.ones(3), torch.get_rng_state()
    assert layer(x) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_a_probability_near_1_leaves_numbers() -> None:
    with torch_generator(0):
        assert bool(Dropout(0.999_999)(torch.ones(N)).isfinite().all())


def test_numbers_keep_their_type_and_shape() -> None:
    y = Dropout(0.5)(torch.ones(2, 3, 5, dtype=torch.bfloat16))
    assert y.dtype is torch.bfloat16
    assert y.shape == (2, 3, 5)
    assert set(y.flatten().tolist()) <= {0.0, 2.0}
