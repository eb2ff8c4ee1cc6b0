"""Deep features reused: nothing is lost where they stay as they are, and what is left out is counted."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from carrara.backbone import ControlledConfig, Layered, Memory, Reusing, UNetConfig, agree
from carrara.seeds import Draws, torch_generator
from carrara.types import Conditioning

TINY = UNetConfig(channels=8, multipliers=(1, 2, 2), blocks=1, attention_levels=(1,))


def numbers(name: str, count: int, *shape: int) -> Tensor:
    return Draws(0, torch.arange(count)).normal(name, *shape)


def network(config: UNetConfig | ControlledConfig, image_channels: int = 0) -> Layered:
    with torch_generator(0), torch.no_grad():
        net = config.build((3, 9, 8), image_channels).eval()
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    assert isinstance(net, Layered)
    return net


CASES = [
    (TINY, 0),
    (replace(TINY, blocks=2, modulation="context"), 0),
    (replace(TINY, multipliers=(1,), attention_levels=()), 0),
    (TINY, 4),
    (ControlledConfig(network=TINY), 4),
]


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize(("config", "image"), CASES, ids=["plain", "context", "one level", "image", "controlled"])
def test_the_first_levels_with_their_own_depth_are_the_whole_network(
    config: UNetConfig | ControlledConfig, image: int, levels: int
) -> None:
    net = network(config, image)
    beside = numbers("image", 2, image, 9, 8) if image else None
    x, level = numbers("x", 2, 3, 9, 8), numbers("level", 2)
    cond = Conditioning(vector=numbers("vector", 2, 32), image=beside)
    with torch.no_grad():
        whole = net(x, level, cond)
        answer, deep = net.partly(x, level, cond, None, levels)
        again, same = net.partly(x, level, cond, deep, levels)
        other, _ = net.partly(x, level, cond, deep + 1, levels)
    assert torch.equal(answer, whole)
    assert torch.equal(again, whole)
    assert same is deep
    assert not torch.allclose(other, whole)


def test_features_are_used_so_many_times_and_by_two_sides_together() -> None:
    ours, theirs = Memory(3), Memory(3)
    deep = torch.zeros(2, 4)
    assert ours.stale(2)
    ours.keep(deep)
    assert not ours.stale(2)
    assert ours.stale(1), "of another batch"
    ours.recall()
    ours.recall()
    assert ours.stale(2), "once computed, twice reused"
    ours.keep(deep)
    assert not agree([ours, theirs], 2), "the other knows nothing"
    assert ours.stale(2), "so that both go on together"


def test_each_part_of_a_batch_has_its_own() -> None:
    net = network(TINY)
    memories = Memory(2), Memory(2)
    x, level = numbers("x", 4, 3, 9, 8), torch.zeros(4)
    later, cond = numbers("later", 4, 3, 9, 8), Conditioning(vector=numbers("vector", 4, 32))
    first, last = (Conditioning(vector=numbers("vector", 4, 32)[part]) for part in (slice(2), slice(2, 4)))
    pair = Reusing(net, memories)
    with torch.no_grad():
        pair(x, level, cond)
        both = pair(later, level, cond)
        for half, told, own in ((slice(2), first, Memory(2)), (slice(2, 4), last, Memory(2))):
            alone = Reusing(net, (own,))
            alone(x[half], level[half], told)
            torch.testing.assert_close(both[half], alone(later[half], level[half], told), rtol=1e-4, atol=1e-5)
