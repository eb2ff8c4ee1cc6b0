"""The classifier's loss: the entropy of the classes where nothing is known, and what it learns."""

import math

import pytest
import torch

from carrara.autoencoder import Identity
from carrara.backbone import NoiseAwareClassifier, UNetConfig
from carrara.noise import Cosine
from carrara.objective import ClassificationObjective
from carrara.seeds import Draws, torch_generator
from carrara.train import held_out
from carrara.types import Batch

TINY = UNetConfig(channels=8, multipliers=(1,), blocks=1, attention_levels=())
LABELS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])


def batch(count: int = 4) -> Batch:
    """Flat pictures, whose class is their brightness; the last one has two."""
    labels = LABELS.repeat(-(-count // 4), 1)[:count]
    x = (labels @ torch.tensor([-1.0, 0.0, 1.0]) / labels.sum(1)).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    return Batch(x=x.contiguous(), position=torch.arange(count), columns={"label": labels})


def objective() -> ClassificationObjective:
    with torch_generator(0):
        network = NoiseAwareClassifier(TINY, channels=1, classes=3)
    return ClassificationObjective(network=network, first_stage=Identity(), schedule=Cosine())


def test_untrained_it_costs_the_entropy_of_equal_classes() -> None:
    loss = objective()(batch(), "main", Draws(0, torch.arange(4))).per_sample
    torch.testing.assert_close(loss, torch.full((4,), math.log(3)))


def test_a_sample_without_a_label_costs_nothing_and_others_are_not_touched() -> None:
    some, draws = batch(), Draws(0, torch.arange(4))
    some.columns["label"][2] = 0  # type: ignore[index]
    loss = objective()(some, "main", draws).per_sample
    assert loss[2].item() == 0 and loss[0].item() == pytest.approx(math.log(3))


def test_samples_without_a_label_do_not_count_as_misses() -> None:
    made, some = objective(), batch(8)
    some.columns["label"][4:] = 0  # type: ignore[index]
    half = Batch(x=some.x[:4], position=some.position[:4], columns={"label": LABELS})
    for parts in ([some], [half, Batch(x=some.x[4:], position=some.position[4:], columns={"label": 0 * LABELS})]):
        assert held_out(made, parts, seed=0) == pytest.approx(held_out(made, [half], seed=0))
    assert held_out(made, parts[1:], seed=0) == {}
    logs = [made(batch, "main", Draws(0, batch.position)).logs["accuracy"] for batch in (some, half)]
    assert logs[0] == logs[1] > 0


def test_only_the_network_learns_and_is_a_part() -> None:
    made = objective()
    assert [name for name, _ in made.named_children()] == ["network"]
    assert list(made.roles()) == ["main"]


def test_it_learns_what_can_be_told_and_not_what_noise_hides() -> None:
    made, some = objective(), batch(32)
    steps = torch.optim.Adam(made.parameters(), 0.01)
    for step in range(60):
        steps.zero_grad()
        made(some, "main", Draws(0, some.position, step)).per_sample.mean().backward()
        steps.step()
    values = {name: value.mean().item() for name, value in made.validate(some, Draws(1, some.position)).items()}
    assert values["accuracy@t=0.062"] > 0.95
    assert values["loss@t=0.062"] < 0.5 < 0.8 < values["loss@t=0.938"]  # a quarter has two classes: 0.17 at best
