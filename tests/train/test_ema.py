import math

import pytest
import torch
from tiny_training import Tiny, settings
from torch import nn

from carrara.train import Ema, TrainState


class Number(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.tensor(1.0), requires_grad=False)
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("constant", torch.tensor(2.0), persistent=False)


@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("half_life", [10.0, 500.0])
def test_after_n_images_an_old_value_weighs_half_to_the_n_by_half_life(batch, half_life):
    module = Number(1.0)
    ema = Ema(module, half_life=half_life, rampup=None)
    module.value.data.zero_()
    for step in range(20):
        ema.update(step * batch, batch)
    assert ema.tensors["value"].item() == pytest.approx(0.5 ** (20 * batch / half_life), rel=1e-12)


def test_while_young_the_half_life_is_a_part_of_the_images_seen():
    module = Number(1.0)
    ema = Ema(module, half_life=1000.0, rampup=0.1)
    module.value.data.fill_(5.0)
    ema.update(0, 50)
    assert ema.tensors["value"].item() == 5.0  # nothing of the initial weights is left
    module.value.data.zero_()
    ema.update(200, 50)
    assert ema.tensors["value"].item() == pytest.approx(5 * 0.5 ** (50 / 20), rel=1e-12)
    before = ema.tensors["value"].item()
    ema.update(10**9, 50)
    assert ema.tensors["value"].item() == pytest.approx(before * 0.5 ** (50 / 1000), rel=1e-12)


def test_it_holds_what_learns_and_copies_of_persistent_buffers():
    module = Number(1.0)
    ema = Ema(module, half_life=1e9, rampup=None)
    module.count = torch.tensor(5)  # even one that was replaced
    ema.update(0, 1)
    assert set(ema.tensors) == {"value", "count"} and ema.tensors["count"].item() == 5


def test_swapping_gives_the_average_and_takes_it_back_bit_for_bit():
    objective = Tiny()
    objective.frozen.eval()
    ema = TrainState(objective, settings()).ema
    with torch.no_grad():
        for p in objective.parameters():
            p.mul_(math.pi)
    own = {name: value.clone() for name, value in objective.state_dict().items()}
    with ema.swapped_in():
        assert not objective.training and not objective.denoiser[2].training
        for name, average in ema.tensors.items():
            assert torch.equal(objective.state_dict()[name], average)
        assert not torch.equal(objective.conditioner.weight, own["conditioner.weight"])
    assert all(torch.equal(value, own[name]) for name, value in objective.state_dict().items())
    assert objective.training and objective.denoiser.training and not objective.frozen.training


def test_an_exception_inside_also_takes_it_back():
    module = Number(1.0)
    ema = Ema(module, half_life=1.0, rampup=None)
    module.value.data.fill_(3.0)
    with pytest.raises(KeyboardInterrupt), ema.swapped_in():
        assert module.value.item() == 1.0
        raise KeyboardInterrupt
    assert module.value.item() == 3.0 and module.training and ema.tensors["value"].item() == 1.0
