import pytest
import torch
from tiny_training import settings
from torch import nn

from carrara.seeds import torch_generator
from carrara.train.muon import MOMENTUM, Muon, orthogonal, suits
from carrara.train.optim import descend, optimizers, parameters_of


def matrix(*shape: int) -> torch.Tensor:
    with torch_generator(0, "muon test"):
        return torch.randn(*shape)


@pytest.mark.parametrize("shape", [(32, 288), (288, 32), (48, 96)])
def test_orthogonal_keeps_the_directions_and_levels_their_sizes(shape):
    u = matrix(*shape) * torch.logspace(0, -1.5, shape[1])
    left, _, right = torch.linalg.svd(u, full_matrices=False)
    levelled = left.T @ orthogonal(u) @ right.T
    sizes = levelled.diagonal()
    torch.testing.assert_close(levelled, sizes.diag(), atol=2e-3, rtol=0)
    assert sizes.min() > 0.5 and sizes.max() < 1.25


def test_what_has_no_size_gets_none():
    u = matrix(32, 4) @ matrix(4, 64)
    sizes = torch.linalg.svdvals(orthogonal(u))
    assert sizes[:4].min() > 0.6 and sizes[4:].max() < 1e-2
    assert not orthogonal(torch.zeros(16, 20)).any()


def test_the_scale_of_a_gradient_does_not_count():
    u = matrix(16, 64)
    torch.testing.assert_close(orthogonal(1e-4 * u), orthogonal(u), atol=1e-4, rtol=1e-4)


def test_updates_are_as_large_as_adamws():
    layer = nn.Parameter(torch.zeros(64, 32, 3, 3))
    layer.grad = matrix(64, 32, 3, 3)
    Muon([layer], lr=0.01, weight_decay=0.0).step()
    assert layer.detach().square().mean().sqrt() == pytest.approx(0.2 * 0.01, rel=0.2)


def test_momentum_and_decay_are_the_equations():
    w = nn.Parameter(matrix(16, 16))
    optimizer = Muon([w], lr=0.1, weight_decay=0.5)
    m, expected = torch.zeros(16, 16), w.detach().clone()
    for step in range(3):
        g = matrix(16, 16).roll(step, 0)
        m = MOMENTUM * m + g
        expected = (1 - 0.05) * expected - 0.2 * 0.1 * 4 * orthogonal(g + MOMENTUM * m)
        w.grad = g
        optimizer.step()
    torch.testing.assert_close(w.data, expected)


def test_it_moves_hidden_kernels_only():
    hidden, table = nn.Linear(32, 32), nn.Parameter(torch.zeros(100, 32))
    table.looked_up = True
    others = [hidden.bias, nn.Conv2d(3, 32, 3).weight, nn.Conv2d(32, 32, 3, groups=32).weight, table]
    assert suits(hidden.weight) and not any(map(suits, others))
    made = optimizers([hidden.weight, *others], settings(optimizer="muon"))
    assert [type(o).__name__ for o in made] == ["Muon", "AdamW"]
    assert parameters_of(made[:1]) == [hidden.weight]
    assert {id(p) for p in parameters_of(made)} == {id(p) for p in [hidden.weight, *others]}


def test_it_fits_a_regression():
    x, target = matrix(256, 16), matrix(16, 16)
    layer = nn.Linear(16, 16, bias=False)
    made = optimizers(layer.parameters(), settings(optimizer="muon"))
    for step in range(300):
        layer.zero_grad()
        (layer(x) - x @ target.T).square().mean().backward()
        descend(made, 0.1 * (1 - step / 300))
    torch.testing.assert_close(layer.weight.data, target, atol=0.02, rtol=0)
