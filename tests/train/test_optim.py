import pytest
import torch
from tiny_training import Tiny, settings
from torch import nn

from carrara.train import CheckpointSettings, TrainSettings
from carrara.train.optim import descend, learning_rate, optimizers, parameters_of


def test_the_learning_rate_rises_holds_and_falls():
    options = TrainSettings(steps=100, lr=1.0, warmup=10, decay=0.2)
    rates = [learning_rate(options, k, k / 100) for k in range(100)]
    assert rates[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert rates[10:80] == [1.0] * 70
    assert rates[80:] == pytest.approx([(100 - k) / 20 for k in range(80, 100)])


def test_without_warm_up_and_decay_it_is_constant():
    options = TrainSettings(steps=10, lr=0.5, warmup=0)
    assert {learning_rate(options, k, k / 10) for k in range(10)} == {0.5}


def test_a_plain_adamw_does_the_same_steps():
    ours, theirs = Tiny(), Tiny()
    options = settings(weight_decay=0.0)
    one = optimizers(ours.roles()["main"], options)
    other = torch.optim.AdamW(theirs.roles()["main"], lr=1.0, betas=options.betas, weight_decay=0.0)
    for step in range(3):
        for a, b in zip(ours.roles()["main"], theirs.roles()["main"], strict=True):
            a.grad = torch.full_like(a, step - 0.5)
            b.grad = torch.full_like(b, step - 0.5)
        descend(one, 0.01 * (step + 1))
        other.param_groups[0]["lr"] = 0.01 * (step + 1)
        other.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_only_matrices_decay_and_what_is_frozen_is_left_out():
    layer, frozen = nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    optimizer = optimizers([*layer.parameters(), *frozen.parameters()], settings(weight_decay=0.5))
    assert parameters_of(optimizer) == [layer.weight, layer.bias]
    before = [p.detach().clone() for p in layer.parameters()]
    for p in layer.parameters():
        p.grad = torch.zeros_like(p)
    descend(optimizer, 0.1)
    torch.testing.assert_close(layer.weight.data, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(layer.bias, before[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": None}, "one of steps and minutes"),
        ({"minutes": 3.0}, "one of steps and minutes"),
        ({"steps": 0}, "above 0"),
        ({"steps": None, "minutes": -1.0}, "above 0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("nan")}, "lr must be above 0"),
        ({"accumulate": 0}, "accumulate must be above 0"),
        ({"clip": -1.0}, "clip must be above 0"),
        ({"decay": 1.5}, "from 0 to 1"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"warmup": -1}, "0 or more"),
    ],
)
def test_settings_that_cannot_train_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        settings(**changes)


def test_checkpoint_settings_that_keep_nothing_are_refused():
    with pytest.raises(ValueError, match="1 or more"):
        CheckpointSettings(keep=0)
