"""Sounds and volumes are learned as pictures are: in pixels, in latents, by first stages, critics and tiny decoders."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from carrara.autoencoder import (
    ConvolutionalStage,
    CriticConfig,
    FirstStage,
    Identity,
    Kl,
    KlConfig,
    PerceptualConfig,
    TinyDecoderConfig,
    VqConfig,
)
from carrara.autoencoder.statistics import measure
from carrara.autoencoder.tiny import decoded_shape
from carrara.backbone import Backbone, DiTConfig, NoiseAwareClassifier, UNetConfig
from carrara.conditioning import ImageCondition, LayoutMap, Lowres, Masked, UnconditionalConfig
from carrara.conditioning.masks import holes
from carrara.denoiser import Denoiser
from carrara.noise import Cosine, UniformTimes, UnitWeighting, V
from carrara.objective import AutoencodingObjective, DiffusionObjective, Objective
from carrara.objective.classification import ClassificationObjective
from carrara.objective.distillation import DecoderDistillation
from carrara.sample import SAMPLERS, Uniform, generate, last
from carrara.seeds import Draws, torch_generator
from carrara.types import MAP, Batch, Role

SHAPES = [(1, 16), (1, 8, 8, 8)]
UNET = UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=())
STAGE = {"channels": 8, "multipliers": (1, 1), "blocks": 1, "latent_channels": 2}
COUNT = 8


def waves(shape: tuple[int, ...]) -> Tensor:
    """One wave, from eight beginnings; in volumes along the last axis."""
    phase = torch.arange(COUNT).reshape(-1, *[1] * len(shape)) * torch.pi / 4
    return 0.8 * torch.sin(torch.arange(shape[-1]) * torch.pi / 4 + phase).expand(COUNT, *shape).contiguous()


def batch(shape: tuple[int, ...], step: int = 0, **columns: Tensor) -> Batch:
    return Batch(x=waves(shape), position=step * COUNT + torch.arange(COUNT), columns=columns)


def learns(objective: Objective, whole: Batch, role: Role = "main", steps: int = 25) -> None:
    """A few steps lower the loss by a tenth or more, on draws that training has not seen, the same before and after."""

    def loss(step: int) -> Tensor:
        now = replace(whole, position=step * COUNT + torch.arange(COUNT))
        return objective(now, role, Draws(0, now.position, step)).per_sample.mean()

    def held_out() -> float:
        return sum(loss(1000 + k).item() for k in range(4))

    optimizer, before = torch.optim.Adam(objective.roles()[role], lr=3e-3), held_out()
    for step in range(steps):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()
    assert held_out() < 0.9 * before


def diffusion(stage: FirstStage, backbone: Backbone, image: ImageCondition | None = None) -> DiffusionObjective:
    return DiffusionObjective(
        first_stage=stage,
        conditioner=UnconditionalConfig().build(UNET.vector_width),
        denoiser=Denoiser(backbone, Cosine(), V()),
        times=UniformTimes(),
        weighting=UnitWeighting(),
        image=image,
    )


@pytest.mark.parametrize("config", [UNET, DiTConfig(width=16, depth=1, heads=2)], ids=["unet", "dit"])
@pytest.mark.parametrize("shape", SHAPES)
def test_diffusion_learns_and_its_samples_have_the_shape(
    shape: tuple[int, ...], config: UNetConfig | DiTConfig
) -> None:
    with torch_generator(0):
        objective = diffusion(Identity(), config.build(shape))
    learns(objective, batch(shape))
    assert all(v.shape == (COUNT,) for v in objective.validate(batch(shape), Draws(0, torch.arange(COUNT))).values())
    denoise = objective.eval().denoiser.bind(objective.conditioner.null(2))
    made = generate(denoise, shape, [1, 2], sampler=SAMPLERS["heun"](), grid=Uniform(), steps=3, schedule=Cosine())
    assert last(made).x.shape == (2, *shape)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kl", "vq"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_first_stage_learns_and_what_diffuses_in_it_is_white_and_learned(shape: tuple[int, ...], kind: str) -> None:
    with torch_generator(0):
        stage = (KlConfig(**STAGE) if kind == "kl" else VqConfig(**STAGE, codes=32)).build(shape)
    if isinstance(stage, Kl):
        nn.init.constant_(stage.to_raw.bias[2:], -6)  # certain from the start of what it says
    objective = autoencoding(stage, shape)
    learns(objective, batch(shape), "autoencoder")
    measures = objective.validate(batch(shape), Draws(0, torch.arange(COUNT)))
    assert measures["psnr"].shape == (COUNT,)

    measure(stage.eval(), [batch(shape)], seed=0)
    z = stage.latents(stage.encode_raw(waves(shape)), Draws(0, torch.arange(COUNT)))
    rows = z.transpose(0, 1).flatten(1)
    torch.testing.assert_close(rows.mean(1), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(rows.std(1, correction=0), torch.ones(2), rtol=0, atol=1e-4)
    with torch_generator(0):
        above = diffusion(stage, UNET.build(stage.latent_shape(shape)))
    learns(above, batch(shape), steps=50)


def autoencoding(stage: ConvolutionalStage, shape: tuple[int, ...], **changes: Any) -> AutoencodingObjective:
    settings = {"perceptual": 0.0, "features": PerceptualConfig(), **changes}
    return AutoencodingObjective(first_stage=stage, shape=shape, **settings)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_critic_learns_to_tell_and_is_told_how_smooth_to_be(shape: tuple[int, ...]) -> None:
    critic = CriticConfig(channels=8, layers=1, start=0, lead=0, r1=0.1)
    with torch_generator(0):
        objective = autoencoding(KlConfig(**STAGE).build(shape), shape, critic=critic)
    learns(objective, batch(shape), "critic")
    report = objective(batch(shape), "autoencoder", Draws(0, torch.arange(COUNT), 5))
    assert report.per_sample.isfinite().all() and report.logs["critic_weight"] > 0


def test_sounds_are_not_looked_at() -> None:
    with pytest.raises(ValueError, match=r"looks at pictures, not at samples of shape \(1, 16\): set its weight to 0"):
        autoencoding(KlConfig(**STAGE).build((1, 16)), (1, 16), perceptual=1.0)


@pytest.mark.parametrize("shape", [(1, 15), (1, 7, 8, 9)])
def test_a_tiny_decoder_learns_what_the_full_one_makes(shape: tuple[int, ...]) -> None:
    with torch_generator(0):
        stage = KlConfig(**STAGE).build(shape)
        tiny = TinyDecoderConfig(widths=(8, 4), blocks=(1, 1)).build(
            stage.latent_shape(shape), decoded_shape(stage, shape)
        )
    objective = DecoderDistillation(decoder=tiny, first_stage=stage)
    learns(objective, batch(shape))
    assert objective.validate(batch(shape), Draws(0, torch.arange(COUNT)))["psnr"].shape == (COUNT,)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_classifier_learns_which_way_waves_begin(shape: tuple[int, ...]) -> None:
    with torch_generator(0):
        network = NoiseAwareClassifier(UNET, channels=1, classes=2, spatial=len(shape) - 1)
    objective = ClassificationObjective(network=network, first_stage=Identity(), schedule=Cosine())
    upwards = torch.eye(2)[(waves(shape).flatten(1)[:, 0] > 0).long()]
    learns(objective, batch(shape, label=upwards))


@pytest.mark.parametrize("image", [Masked(), Lowres(factor=2), LayoutMap(colours=((0, 0, 0), (255, 0, 0)))])
@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 8, 12)])
def test_what_is_seen_beside_the_input(shape: tuple[int, ...], image: Any, staged: bool) -> None:
    with torch_generator(0):
        stage = KlConfig(**STAGE).build(shape) if staged else Identity()
    inner = stage.latent_shape(shape)
    backbone = UNET.build(inner, image_channels=image.channels(shape, inner))
    where = (waves(shape)[:, 0] > 0).to(torch.uint8)
    report = diffusion(stage, backbone, image)(batch(shape, **{MAP: where}), "main", Draws(0, torch.arange(COUNT)))
    assert report.per_sample.shape == (COUNT,) and report.per_sample.isfinite().all()
    assert image.visible(batch(shape, **{MAP: where}), Draws(0, torch.arange(COUNT))).shape == (COUNT, *shape)


def test_a_map_beside_a_sound_says_what_is_where_and_how_much() -> None:
    layout = LayoutMap(colours=((0, 0, 0), (255, 0, 0)))
    y = layout.given(torch.tensor([[0, 1, 1, 1, 0, 255]]), 2)
    assert y.tolist() == [[[0.5, 0, 0.5], [0.5, 1, 0]]]


@pytest.mark.parametrize("size", [(40,), (12, 10, 14)])
def test_holes_in_sounds_and_volumes(size: tuple[int, ...]) -> None:
    """They are 0 or 1, neither all nor nothing in most samples, and boxes are of one piece along every axis."""
    m = holes(Draws(0, torch.arange(400)), size)
    assert m.shape == (400, 1, *size) and set(m.unique().tolist()) == {0.0, 1.0}
    share = m.flatten(1).mean(1)
    assert ((share > 0) & (share < 1)).float().mean() > 0.8 and (share == 1).any()
