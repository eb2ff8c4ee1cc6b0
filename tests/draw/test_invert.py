"""There and back with a whole model, between two ends, and wishes of several parts."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from carrara.backbone import UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.draw import Drawing, finish
from carrara.draw.invert import Ends, between_pictures, between_wishes, rewrite
from carrara.errors import UserError
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Flow, RectifiedFlow
from carrara.sample import Ddim, Ddpm, SampleSettings, draws_for
from carrara.seeds import torch_generator
from drawings import drawing_of
from drawings import drawn as drawn_by

SETTINGS = SampleSettings(sampler=Ddim(), steps=8)
SHARES = torch.tensor([0.0, 0.3, 0.6, 1.0])


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    """Untrained, but it listens: its last layer is not zero."""
    network = UNetConfig(channels=8, multipliers=(1,), blocks=1, attention_levels=(), head_width=8)
    with torch_generator("model"):
        model = DiffusionModel(
            ModelConfig(
                shape=(1, 8, 8),
                backbone=network,
                schedule=RectifiedFlow(),
                parameterization=Flow(),
                conditioner=LabelsConfig(classes=("a", "b", "c|d")),
            )
        )
        for weights in model.parameters():
            torch.nn.init.normal_(weights, std=0.1)
    return model.eval()


def asked(model: DiffusionModel, *wishes: str | None, guidance: float = 1.0) -> Drawing:
    return drawing_of(model, *wishes, settings=replace(SETTINGS, guidance=guidance))


def ends_of(both: Drawing) -> Ends:
    return both.part(slice(0, 1)), both.part(slice(1, 2))


def drawn(model: DiffusionModel, *wishes: str | None, guidance: float = 1.0) -> Tensor:
    return drawn_by(model, *wishes, settings=replace(SETTINGS, guidance=guidance))


def test_the_same_wish_gives_the_same_pictures(model: DiffusionModel) -> None:
    x = drawn(model, "a", "b", None)
    wishes = asked(model, "a", "b", None)
    plain, refined = (finish(rewrite(wishes, wishes, x, refinements=n, batch=2)) for n in (0, 12))
    assert (refined - x).abs().max() < 0.1 * (plain - x).abs().max()


def test_another_wish_gives_what_sampling_gives(model: DiffusionModel) -> None:
    """The noise is the one that the pictures were made of, so its other picture is the other class's sample."""
    x = drawn(model, "a", "a")
    other = finish(rewrite(asked(model, "a", "a"), asked(model, "b", "b"), x, refinements=20))
    wanted = drawn(model, "b", "b")
    assert (other - wanted).abs().max() < 0.2 * (x - wanted).abs().max()


def test_strength_is_how_far(model: DiffusionModel) -> None:
    x, a, b = drawn(model, "a"), asked(model, "a"), asked(model, "b")
    away = [(finish(rewrite(a, b, x, strength=s)) - x).abs().max() for s in (0.25, 0.5, 1.0)]
    assert away[0] < away[1] < away[2]
    steps = list(rewrite(a, b, x, strength=0.5))
    assert [(at.step.index, at.step.total) for at in steps] == [(k, 8) for k in range(8)]
    with pytest.raises(UserError, match="strength 0 leaves"):
        list(rewrite(a, b, x, strength=0.0))


def test_a_way_begins_and_ends_where_it_shall(model: DiffusionModel) -> None:
    """Between wishes and seeds: the samples themselves; between pictures: the pictures."""
    samples, ends = drawn(model, "a", "b", guidance=2.0), ends_of(asked(model, "a", "b", guidance=2.0))
    way = finish(between_wishes(ends, SHARES, batch=3))
    assert way.shape == (4, 1, 8, 8)
    torch.testing.assert_close(way[[0, -1]], samples, rtol=1e-4, atol=1e-4)
    between = finish(between_pictures(ends, samples, SHARES, refinements=10))
    torch.testing.assert_close(between[[0, -1]], samples, rtol=0, atol=0.02)
    torch.testing.assert_close(between[1:3], way[1:3], rtol=0, atol=0.02)


def test_a_way_is_smooth_whatever_the_sampler(model: DiffusionModel) -> None:
    """Half as long steps along it are half as large; with fresh noise or several steps' memory it would be another."""
    both = asked(model, "a", "b")
    ends, noisy = ends_of(both), ends_of(both.asked(settings=replace(SETTINGS, sampler=Ddpm())))
    way, shares = finish(between_wishes(noisy, SHARES)), torch.linspace(0.4, 0.6, 3)
    assert torch.equal(way, finish(between_wishes(ends, SHARES)))
    one, half, two = finish(between_wishes(noisy, shares))
    assert ((one + two) / 2 - half).abs().max() < 0.1 * (two - one).abs().max()


def test_unclear_parts_are_refused(model: DiffusionModel) -> None:
    with pytest.raises(UserError, match="only some"):
        asked(model, "a | b::1").denoise()


def test_each_sample_has_its_own_parts(model: DiffusionModel) -> None:
    t, x = torch.tensor(0.5), draws_for([1, 2, 3, 4, 5]).normal("x", 1, 8, 8)
    with torch.no_grad():
        made = asked(model, "a | b", "a::0.25 | b::0.75", "a", None, "c|d").denoise()(x, t)
        a, b, c, null = (asked(model, *[wish] * 5).denoise()(x, t) for wish in ("a", "b", "c|d", None))
    expected = torch.stack([(a + b - null)[0], (0.25 * a + 0.75 * b)[1], a[2], null[3], c[4]])
    torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-5)
    assert (a - b).abs().max() > 1e-3
