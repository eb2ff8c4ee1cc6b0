"""The critic: patches, hinge, gradient penalty."""

import pytest
import torch

from carrara.autoencoder import CriticConfig
from carrara.autoencoder.critic import Critic, gradient_penalty, hinge
from carrara.seeds import Draws, torch_generator


def test_a_number_for_each_patch() -> None:
    critic = CriticConfig(channels=8, layers=2).build((3, 32, 32))
    x = Draws(0, torch.arange(2)).normal("x", 3, 32, 32)
    assert critic(x).shape == (2, 1, 6, 6)
    assert critic(x).dtype == torch.float32


def test_a_patch_is_seen_by_the_numbers_near_it_alone() -> None:
    with torch_generator(0):
        critic = CriticConfig(channels=8, layers=1).build((1, 64, 64))
    critic.layers[0][1] = torch.nn.Identity()  # the norm sees the whole picture
    x = torch.zeros(1, 1, 64, 64).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x)[0, 0, 10, 10], x)
    rows = slope[0, 0].abs().sum(1).nonzero().flatten()
    assert 0 < len(rows) <= 16


def test_hinge() -> None:
    real, fake = torch.tensor([2.0, 0.5])[:, None, None, None], torch.tensor([-2.0, 0.5])[:, None, None, None]
    assert hinge(real, fake).tolist() == [0.0, 2.0]


def test_gradient_penalty_of_a_slope() -> None:
    class Slope(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * x.sum(dim=(1, 2, 3), keepdim=True)

    assert gradient_penalty(Slope(), torch.zeros(2, 1, 2, 2)).tolist() == [36.0, 36.0]  # 9 at each of four pixels


def test_it_learns_before_it_counts_and_its_weight_rises() -> None:
    config = CriticConfig(weight=0.5, start=10, lead=4)
    weights = [config.weight_at(step) for step in range(9, 20)]
    assert weights == [0, 0, 0, 0, 0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    assert CriticConfig(weight=0.5, start=10, lead=0).weight_at(10) == 0.5
    assert CriticConfig(weight=0.5, start=10, lead=0).weight_at(9) == 0


def test_too_small_for_so_many_layers() -> None:
    with pytest.raises(ValueError, match=r"3 layers .* needs pictures of 24 pixels or more, not 16x16: take 2 layers"):
        CriticConfig(channels=8, layers=3).build((3, 16, 16))
    with pytest.raises(ValueError, match="not 5x9: take larger ones, or no critic"):
        CriticConfig(channels=8, layers=1).build((3, 5, 9))


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_what_it_takes_is_what_it_can_look_at(layers: int, spatial: int) -> None:
    config = CriticConfig(channels=4, layers=layers)
    shape = (1, *[config.smallest] * spatial)
    assert config.build(shape)(torch.zeros(1, *shape)).numel() == 1
    smaller = (1, *[config.smallest - 1] * spatial)
    with pytest.raises(ValueError, match="needs pictures"):
        config.build(smaller)
    with pytest.raises(RuntimeError):  # the bound is no larger than it has to be
        Critic(config, 1, spatial=spatial)(torch.zeros(1, *smaller))
