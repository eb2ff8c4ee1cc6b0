"""Small models of ours and small pipelines of diffusers, and what both of them draw from the same noise."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import Kl, KlConfig, Vq, VqConfig
from carrara.backbone import Conventions, DiTConfig, UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.export.command import export, import_model
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import X0, Cosine, Eps, Linear, RectifiedFlow, ScaledLinear, Sigmoid, V
from carrara.sample import Ddim, Leading, SampleSettings, Trailing
from carrara.seeds import torch_generator
from carrara.store import open_model
from carrara.types import Conditioning

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers' own, while it is imported
    diffusers = pytest.importorskip("diffusers")
    from diffusers import (
        AutoencoderKL,
        DDIMPipeline,
        DDIMScheduler,
        DDPMPipeline,
        DDPMScheduler,
        DiTPipeline,
        DiTTransformer2DModel,
        LDMPipeline,
        UNet2DModel,
        VQModel,
    )

STEPS = 20
GROUPS = Conventions(groups=8)
SMALL = UNetConfig(channels=32, multipliers=(1, 2), blocks=1, attention_levels=(1,), head_width=16, conventions=GROUPS)
STAGE = KlConfig(channels=16, multipliers=(1, 2), blocks=1, latent_channels=4, groups=4, eps=1e-6)
PIXELS = ModelConfig(
    shape=(3, 16, 16),
    backbone=SMALL,
    schedule=Cosine(),
    parameterization=V(),
    sample=SampleSettings(sampler=Ddim(), grid=Trailing(), steps=STEPS),
)
LATENTS = replace(PIXELS, shape=(3, 32, 32), first_stage=STAGE)
CLASSES = LabelsConfig(classes=("cat", "dog", "a, b"))
OURS = {
    "v": replace(PIXELS, backbone=replace(SMALL, modulation="scale_shift")),
    "eps": replace(
        PIXELS,
        shape=(1, 8, 8),
        backbone=UNetConfig(multipliers=(1, 1), blocks=1),  # as wide as DDPM's, so that there are 32 groups everywhere
        schedule=Linear(),
        parameterization=Eps(),
        sample=SampleSettings(sampler=Ddim(), grid=Leading(), steps=STEPS),
    ),
    "x0 on a straight line": replace(PIXELS, schedule=RectifiedFlow(), parameterization=X0()),
    "v of another table": replace(PIXELS, schedule=Sigmoid(steps=200), sample=SampleSettings(sampler=Ddim())),
    "no signal at the end": replace(PIXELS, shape=(3, 16, 8), schedule=ScaledLinear(zero_terminal_snr=True)),
    "steps": replace(PIXELS, backbone=replace(SMALL, conventions=replace(GROUPS, timesteps=1000, halving="right"))),
    "latents": LATENTS,
    "quantized latents": replace(
        LATENTS,
        first_stage=VqConfig(
            channels=16, multipliers=(1, 2), blocks=1, latent_channels=3, groups=4, eps=1e-6, codes=24
        ),
    ),
    "transformer": replace(
        LATENTS,
        backbone=DiTConfig(width=32, depth=2, heads=2, timesteps=1000),
        conditioner=CLASSES,
        learned_variance=True,
    ),
    "transformer of no class": replace(
        LATENTS,
        backbone=DiTConfig(width=32, depth=1, heads=4, timesteps=1000),
        schedule=Linear(),
        parameterization=Eps(),
    ),
}


def saved(config: ModelConfig, folder: Path) -> DiffusionModel:
    """A model with weights that say something, also kept in a folder."""
    with torch_generator(0), torch.no_grad():
        model = DiffusionModel(config).eval()
        for weights in model.parameters():
            weights += 0.03 * torch.randn(weights.shape)
        if isinstance(model.first_stage, Kl):
            model.first_stage.mean.copy_(torch.randn(4))
            model.first_stage.std.copy_(1 + torch.rand(4))
        if isinstance(model.first_stage, Vq):
            codes = model.first_stage.codebook
            codes.codes.copy_(2 * torch.randn(codes.codes.shape))
            codes.counts.copy_(torch.rand(len(codes)))
            model.first_stage.mean.copy_(torch.randn(3))
            model.first_stage.std.fill_(1.7)
    model.save(folder)
    return model


def exported(folder: Path, out: Path, **options: Any) -> Any:
    """The pipeline of stock diffusers that a run's folder becomes."""
    export(folder, to="diffusers", out=out, **options)
    return loaded(out)


def loaded(folder: Path) -> Any:
    """What diffusers makes of a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def imported(folder: Path, run: Path) -> DiffusionModel:
    """The model that a folder becomes."""
    import_model(folder, run=run)
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model


def noise_of(model: DiffusionModel, count: int) -> Tensor:
    """What a pipeline draws with ``torch.manual_seed(0)``."""
    return torch.randn(count, *model.latent_shape, generator=torch.Generator().manual_seed(0))


def condition_of(model: DiffusionModel, labels: Sequence[str]) -> Conditioning:
    return Conditioning() if model.conditioner.column is None else model.conditions(labels)


@torch.no_grad()
def answer(model: DiffusionModel, x: Tensor, step: int, labels: Sequence[str]) -> Tensor:
    """What our network says at the step of their number ``step`` of a state of unit scale."""
    steps = model.config.schedule.discrete_steps or 1000
    coefficients = model.denoiser.coefficients(torch.tensor((step + 1) / steps, dtype=torch.float64))
    return model.denoiser.output(x / coefficients.inp, coefficients, condition_of(model, labels))


@torch.no_grad()
def their_answer(pipeline: Any, x: Tensor, step: int, labels: Sequence[int]) -> Tensor:
    """What theirs says."""
    if hasattr(pipeline, "unet"):
        return pipeline.unet(x, torch.tensor(step)).sample
    timesteps, rows = torch.full((len(x),), step), torch.tensor(labels)
    return pipeline.transformer(x, timestep=timesteps, class_labels=rows).sample[:, : x.shape[1]]


@torch.no_grad()
def drawn(model: DiffusionModel, count: int, labels: Sequence[str]) -> Tensor:
    """Our pictures in [0, 1], by 20 steps of DDIM on the model's own grid."""
    settings, schedule = model.config.sample, model.config.schedule
    denoise = model.denoiser.bind(condition_of(model, labels))
    times = settings.grid(STEPS, schedule)
    x = schedule(times[0])[1].item() * noise_of(model, count)
    wrapped = settings.wrap(denoise, denoise, schedule)
    *_, last = Ddim().steps(wrapped, x, times, schedule, lambda _: torch.zeros(0))
    return (model.pixels(last.x) / 2 + 0.5).clamp(0, 1)


def their_pictures(pipeline: Any, count: int, labels: Sequence[int], *, clipped: bool = False) -> Tensor:
    """Theirs, by the pipeline itself."""
    asked: dict[str, Any] = {"batch_size": count}
    if isinstance(pipeline, DiTPipeline):
        asked = {"class_labels": list(labels), "guidance_scale": 1.0}
    if isinstance(pipeline, DDIMPipeline):
        asked["use_clipped_model_output"] = clipped
    made = pipeline(num_inference_steps=STEPS, generator=torch.Generator().manual_seed(0), output_type="np", **asked)
    return torch.from_numpy(made.images).permute(0, 3, 1, 2)


def their_unet(**changes: Any) -> Any:
    """A small network of theirs."""
    asked = {
        "sample_size": 16,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    }
    return _stirred(UNet2DModel(**{**asked, **changes}))


def their_stage() -> Any:
    return _stirred(
        AutoencoderKL(
            block_out_channels=(16, 32),
            down_block_types=2 * ("DownEncoderBlock2D",),
            up_block_types=2 * ("UpDecoderBlock2D",),
            norm_num_groups=4,
        )
    )


def their_quantized_stage() -> Any:
    made = VQModel(
        block_out_channels=(16, 32),
        down_block_types=2 * ("DownEncoderBlock2D",),
        up_block_types=2 * ("UpDecoderBlock2D",),
        norm_num_groups=4,
        latent_channels=3,
        num_vq_embeddings=32,
        scaling_factor=0.5,
    )
    with torch.no_grad():
        made.quantize.embedding.weight.copy_(torch.randn(32, 3) * 2)
    return _stirred(made)


def their_transformer() -> Any:
    network = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=16, out_channels=8, num_layers=2, sample_size=8, norm_eps=1e-5
    )
    _stirred(network)
    first = network.transformer_blocks[0].norm1.emb.state_dict()
    for block in network.transformer_blocks:
        block.norm1.emb.load_state_dict(first)  # as in what is published
    return network


def their_pipeline(kind: str) -> Any:
    """A small pipeline of theirs, with weights of its own."""
    exact = {"clip_sample": False}
    with torch_generator(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        match kind:
            case "as google's":
                ends = {"flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0, "norm_eps": 1e-6}
                return DDPMPipeline(their_unet(attention_head_dim=None, **ends), DDPMScheduler())
            case "as it comes":
                return DDIMPipeline(their_unet(), DDIMScheduler(**exact))
            case "scaled and shifted":
                changed = their_unet(resnet_time_scale_shift="scale_shift", attn_norm_num_groups=4)
                cosine = DDIMScheduler(
                    beta_schedule="squaredcos_cap_v2",
                    prediction_type="v_prediction",
                    timestep_spacing="trailing",
                    **exact,
                )
                return DDIMPipeline(changed, cosine)
            case "learned":
                steps = {"time_embedding_type": "learned", "num_train_timesteps": 100}
                return DDIMPipeline(their_unet(**steps), DDIMScheduler(num_train_timesteps=100, beta_end=0.2, **exact))
            case "latents":
                network = their_unet(in_channels=4, out_channels=4)
                return LDMPipeline(vqvae=their_stage(), unet=network, scheduler=DDIMScheduler(**exact))
            case "quantized latents":
                network = their_unet(in_channels=3, out_channels=3)
                return LDMPipeline(vqvae=their_quantized_stage(), unet=network, scheduler=DDIMScheduler(**exact))
            case _:
                return DiTPipeline(their_transformer(), their_stage(), DDIMScheduler(**exact))


THEIRS = ("as google's", "as it comes", "scaled and shifted", "learned", "latents", "quantized latents", "transformer")


def _stirred(network: Any) -> Any:
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.03 * torch.randn(weights.shape)
    return network.eval()
