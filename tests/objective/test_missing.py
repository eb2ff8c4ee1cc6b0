"""What is missing neither trains nor counts."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import Identity
from carrara.backbone import UNetConfig
from carrara.conditioning import UnconditionalConfig
from carrara.denoiser import Denoiser
from carrara.noise import Cosine, UniformTimes, V, VelocityWeighting
from carrara.objective import DiffusionObjective
from carrara.seeds import Draws, torch_generator
from carrara.types import Batch

UNET = UNetConfig(channels=8, multipliers=(1,), blocks=1, attention_levels=())
SHAPES = [(1, 16), (2, 6, 8), (1, 4, 4, 6)]


def objective(shape: tuple[int, ...], *, missing: bool) -> DiffusionObjective:
    with torch_generator(0):
        backbone = UNET.build(shape)
        for weights in backbone.parameters():
            torch.nn.init.normal_(weights, std=0.1)
    return DiffusionObjective(
        first_stage=Identity(),
        conditioner=UnconditionalConfig().build(UNET.vector_width),
        denoiser=Denoiser(backbone, Cosine(), V()),
        times=UniformTimes(),
        weighting=VelocityWeighting(),
        missing=missing,
    )


def batch(shape: tuple[int, ...]) -> Batch:
    position = torch.arange(5)
    return Batch(x=Draws(1, position).uniform("data", *shape) * 2 - 1, position=position)


def gradients(model: DiffusionObjective, whole: Batch) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    loss = model(whole, "main", Draws(0, whole.position)).per_sample
    loss.sum().backward()
    return loss.detach(), [p.grad.clone() for p in model.denoiser.parameters() if p.grad is not None]


@pytest.mark.parametrize("shape", SHAPES)
def test_where_nothing_is_missing_the_loss_is_the_usual_one(shape: tuple[int, ...]) -> None:
    whole, draws = batch(shape), Draws(0, torch.arange(5))
    one, other = (objective(shape, missing=missing) for missing in (False, True))
    assert torch.equal(one._latents(whole, None), other._latents(whole, None))
    loss, again = (model(whole, "main", draws).per_sample for model in (one, other))
    torch.testing.assert_close(loss, again, rtol=1e-6, atol=0)
    held, seen = (model.validate(whole, draws) for model in (one, other))
    for name, values in held.items():
        torch.testing.assert_close(values, seen[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_is_that_of_the_known_part(shape: tuple[int, ...]) -> None:
    """As if zeros stood there, with the error summed by hand over what is known."""
    whole, model = batch(shape), objective(shape, missing=True)
    known = Draws(2, whole.position).uniform("known", *shape) < 0.6
    known[4] = False
    lacking = replace(whole, x=whole.x.masked_fill(~known, torch.nan))
    filled, draws = whole.x * known, Draws(0, whole.position)
    loss, slopes = gradients(model, lacking)
    assert bool(torch.isfinite(loss).all()) and loss[4] == 0 and bool((loss[:4] > 0).all())
    assert all(bool(torch.isfinite(slope).all()) for slope in slopes)

    t = model.times(draws.uniform("time"), model.denoiser.schedule)
    alpha, sigma = (level.reshape(-1, *[1] * len(shape)) for level in model.denoiser.schedule(t))
    eps = draws.normal("noise", *shape)
    c = model.denoiser.parameterization(*model.denoiser.schedule(t))
    cond = model.conditioner({}, torch.ones(5, dtype=torch.bool))
    output = model.denoiser.output(alpha * filled + sigma * eps, c, cond)
    square = (output - c.target(filled, eps)).square()
    weight = model.weighting(model.denoiser.schedule.half_logsnr(t), c.out)
    by_hand = torch.stack([square[k][known[k]].mean() for k in range(4)]) * weight[:4]
    torch.testing.assert_close(loss[:4], by_hand, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_stands_at_missing_places_changes_nothing(shape: tuple[int, ...]) -> None:
    """NaN come in many bits, and none of them tells; nor does the network learn from what it says there."""
    whole, model = batch(shape), objective(shape, missing=True)
    known = Draws(2, whole.position).uniform("known", *shape) < 0.6
    one = whole.x.masked_fill(~known, torch.nan)
    other = torch.where(known, whole.x, -(torch.tensor(float("nan"))))
    (loss, slopes), (again, others) = (gradients(model, replace(whole, x=x)) for x in (one, other))
    assert torch.equal(loss, again)
    assert all(torch.equal(a, b) for a, b in zip(slopes, others, strict=True))

    nothing = replace(whole, x=torch.full_like(whole.x, torch.nan))
    loss, slopes = gradients(model, nothing)
    assert not loss.any() and not any(slope.any() for slope in slopes)
    held = model.validate(replace(whole, x=one), Draws(0, whole.position))
    assert all(bool(torch.isfinite(values).all()) for values in held.values())
