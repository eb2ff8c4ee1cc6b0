"""The bound of absorbing diffusion, by enumeration: of all masks, of all orders, and of the data's own likelihood."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from carrara.noise import Cosine, RectifiedFlow, Schedule, VarianceExploding
from carrara.noise.absorbing import (
    channels_of,
    chosen,
    grouped,
    level_of_seen,
    masked_except,
    masks,
    one_hot,
    order_cost,
    seen_in,
)
from states import ALL, ORDERS, arranged, conditionals, law

Estimate = Callable[[Tensor], Tensor]
LAYOUTS = pytest.mark.parametrize("channels", [1, 3])


def inexact(channels: int) -> Estimate:
    """Log-probabilities that fit no law: each set of what is seen has its own."""

    def estimate(x_t: Tensor) -> Tensor:
        mixed = torch.einsum("bi,ij->bj", x_t.flatten(1).double() + 1, torch.arange(81.0).reshape(9, 9).double().sin())
        return grouped(3 * torch.sin(mixed).reshape(x_t.shape), channels).log_softmax(2).flatten(1, 2)

    return estimate


def sure(channels: int) -> Estimate:
    """The logarithms of the exact denoiser."""
    return lambda x_t: conditionals(law(), x_t, channels).log()


def sums(estimate: Estimate, z: Tensor, channels: int) -> dict[tuple[int, ...], Tensor]:
    """What all masked values cost together, (B,), for each set of them."""
    costs = {}
    for n in range(1, 4):
        for hidden in combinations(range(3), n):
            seen = torch.ones(len(z), 3, dtype=torch.bool)
            seen[:, list(hidden)] = False
            log_p = estimate(masked_except(z, seen.reshape(len(z), channels, -1)))
            own = (log_p.nan_to_num(neginf=0.0) * z).reshape(len(z), channels, 3, -1).sum(2).flatten(1)
            costs[hidden] = -own[:, list(hidden)].sum(1)
    return costs


def in_time(schedule: Schedule, costs: dict[tuple[int, ...], Tensor]) -> Tensor:
    """Equation (3) by Gauss and Legendre's rule, with alpha' by differentiation."""
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(60))
    t = ((nodes + 1) / 2).requires_grad_()
    alpha = schedule(t)[0]
    (slope,) = torch.autograd.grad(alpha.sum(), t)
    alpha = alpha.detach()
    total = torch.zeros(len(ALL), dtype=torch.float64)
    for hidden, cost in costs.items():
        chance = (1 - alpha) ** len(hidden) * alpha ** (3 - len(hidden))
        total += (weights / 2 * -slope / (1 - alpha) * chance).sum() * cost
    return total


def averaged(estimate: Estimate, z: Tensor, channels: int) -> Tensor:
    """The mean of ``order_cost`` over all numbers and orders: equation (4)."""
    parts = []
    for n in range(3):
        for order in ORDERS:
            u = torch.full((len(z),), (n + 0.5) / 3)
            ranks = (torch.tensor(order) + 0.5).reshape(channels, -1) / 3
            parts.append(order_cost(estimate, z, channels, u, ranks.expand(len(z), *ranks.shape)))
    return torch.stack(parts).mean(0)


def in_order(estimate: Estimate, z: Tensor, channels: int, order: tuple[int, ...]) -> Tensor:
    """What the values cost that are revealed one by one."""
    total, seen = torch.zeros(len(z), dtype=torch.float64), torch.zeros(len(z), 3, dtype=torch.bool)
    for place in order:
        log_p = estimate(masked_except(z, seen.reshape(len(z), channels, -1)))
        own = (log_p.nan_to_num(neginf=0.0) * z).reshape(len(z), channels, 3, -1).sum(2).flatten(1)
        total -= own[:, place]
        seen[:, place] = True
    return total


@LAYOUTS
@pytest.mark.parametrize("schedule", [RectifiedFlow(), RectifiedFlow(shift=3.0)], ids=["even", "shifted"])
def test_time_is_integrated_out(channels: int, schedule: Schedule) -> None:
    z, estimate = arranged(ALL, channels), inexact(channels)
    expected = in_time(schedule, sums(estimate, z, channels))
    torch.testing.assert_close(averaged(estimate, z, channels), expected, rtol=1e-9, atol=0)


@LAYOUTS
def test_the_bound_is_the_mean_over_orders(channels: int) -> None:
    z, estimate = arranged(ALL, channels), inexact(channels)
    each = torch.stack([in_order(estimate, z, channels, order) for order in ORDERS])
    bound = averaged(estimate, z, channels)
    torch.testing.assert_close(bound, each.mean(0), rtol=1e-12, atol=0)
    likelihood = torch.logsumexp(-each, 0) - math.log(len(ORDERS))
    assert bool((bound > -likelihood + 1e-3).all()), "the orders of an inexact estimate disagree"


@LAYOUTS
def test_the_bound_of_the_exact_denoiser_is_the_likelihood(channels: int) -> None:
    bound = averaged(sure(channels), arranged(ALL, channels), channels)
    torch.testing.assert_close(bound, -law().log(), rtol=1e-12, atol=0)


def test_the_estimate_sees_nothing_of_what_it_is_asked() -> None:
    shown = []

    def estimate(x_t: Tensor) -> Tensor:
        shown.append(x_t)
        return torch.zeros_like(x_t).unflatten(1, (2, -1)).log_softmax(2).flatten(1, 2)

    z = one_hot(torch.arange(24).reshape(2, 2, 6) % 5, 5)
    order = torch.linspace(0, 1, 12).flip(0).reshape(1, 2, 6).expand(2, 2, 6)
    nats = order_cost(estimate, z, 2, torch.tensor([0.3, 0.99]), order)
    hidden = ~seen_in(shown[0], 2)
    assert hidden.flatten(1).sum(1).tolist() == [4, 12]
    assert torch.equal(hidden[0].flatten(), torch.arange(12) >= 8), "the lowest numbers of the order"
    assert torch.equal(shown[0], masked_except(z, ~hidden))
    torch.testing.assert_close(nats, torch.full((2,), 12 * math.log(5), dtype=torch.float64))


def test_so_many_are_chosen_also_among_equal_numbers() -> None:
    made = chosen(torch.zeros(5, 2, 3), torch.arange(5) + 1)
    assert made.flatten(1).sum(1).tolist() == [1, 2, 3, 4, 5]


def test_states_and_groups() -> None:
    states = torch.tensor([[[0, 3, 2], [1, 1, 0]]])
    z = one_hot(states, 4)
    assert z.shape == (1, 8, 3) and channels_of(z) == 2
    assert torch.equal(grouped(z, 2).argmax(2), states)
    seen = torch.tensor([[[True, False, True], [False, False, True]]])
    assert torch.equal(seen_in(masked_except(z, seen), 2), seen)


def test_the_network_is_told_the_logit_of_what_is_seen() -> None:
    seen = torch.tensor([[[False] * 8], [[True] * 4 + [False] * 4], [[True] * 8]])
    assert level_of_seen(seen).tolist() == pytest.approx([-math.log(17), 0, math.log(17)])


def test_which_schedules_mask() -> None:
    assert masks(RectifiedFlow()) and masks(RectifiedFlow(shift=0.3))
    assert not masks(Cosine()) and not masks(VarianceExploding())
