"""Small pipelines of Stable Diffusion's three shapes, with weights and tokenizers of their own."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pipelines import STEPS, noise_of
from torch import Tensor

from carrara.model import DiffusionModel
from carrara.sample import Ddim
from carrara.seeds import torch_generator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # diffusers' own, while it is imported
    pytest.importorskip("transformers")
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

KINDS = ("v1", "v2", "xl")
MERGES = ("h e", "l l", "he ll", "l o</w>", "hell o</w>", "r e", "re d</w>", "c a", "ca t</w>", "ca t", "cat s</w>")
BEGINNING, END = "<|startoftext|>", "<|endoftext|>"
WORDS = ("a red cat", "Hello!!  RED cats")
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def vocabulary() -> dict[str, int]:
    """All bytes, each within and at the end of a word, what is merged, and the marks."""
    signs = sorted(ByteLevel.alphabet())
    merged = [pair.replace(" ", "") for pair in MERGES]
    return {token: k for k, token in enumerate([*signs, *(f"{s}</w>" for s in signs), *merged, BEGINNING, END])}


def write_tokenizer(folder: Path, padding: str = END) -> Path:
    """The files that a published tokenizer has."""
    folder.mkdir(parents=True)
    marks = {
        name: {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        for name, text in (("bos_token", BEGINNING), ("eos_token", END), ("unk_token", END))
    }
    config = {**{k: {"__type": "AddedToken", **v} for k, v in marks.items()}, "pad_token": padding}
    config |= {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "vocab.json").write_text(json.dumps(vocabulary()))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    (folder / "special_tokens_map.json").write_text(json.dumps({**marks, "pad_token": padding}))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def their_tokenizer(folder: Path, padding: str = END) -> Any:
    return CLIPTokenizer.from_pretrained(write_tokenizer(folder, padding))


def encoder_config(width: int, **changes: Any) -> CLIPTextConfig:
    numbers = vocabulary()
    asked = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": len(numbers),
        "projection_dim": 24,
        "bos_token_id": numbers[BEGINNING],
        "eos_token_id": numbers[END],
    }
    return CLIPTextConfig(**{**asked, **changes})


def their_stable_diffusion(kind: str, scratch: Path, **scheduler: Any) -> Any:
    """A pipeline of theirs.

    Args:
        scratch: a folder for tokenizers.
    """
    sampler = {"clip_sample": False, "steps_offset": 1, **NOISE, **scheduler}
    unet: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "norm_num_groups": 16,
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
    }
    with torch_generator(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = their_tokenizer(scratch / "tokenizer", END if kind != "v2" else "!")
        nobody = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        match kind:
            case "v1":
                encoder = CLIPTextModel(encoder_config(32, eos_token_id=2))
                made = (UNet2DConditionModel(**unet), encoder)
            case "v2":
                changed = {"attention_head_dim": (2, 4), "use_linear_projection": True}
                encoder = CLIPTextModel(encoder_config(32, hidden_act="gelu"))
                made = (UNet2DConditionModel(**{**unet, **changed}), encoder)
                sampler |= {"prediction_type": "v_prediction"}
            case _:
                changed = {
                    "block_out_channels": (32, 32, 64),
                    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                    "attention_head_dim": (2, 2, 4),
                    "transformer_layers_per_block": (1, 2, 1),
                    "cross_attention_dim": 80,
                    "use_linear_projection": True,
                    "addition_embed_type": "text_time",
                    "addition_time_embed_dim": 8,
                    "projection_class_embeddings_input_dim": 24 + 6 * 8,
                }
                second = CLIPTextModelWithProjection(encoder_config(48, hidden_act="gelu"))
                return StableDiffusionXLPipeline(
                    vae=their_stage(),
                    text_encoder=stirred(CLIPTextModel(encoder_config(32, eos_token_id=2))),
                    text_encoder_2=stirred(second),
                    tokenizer=tokenizer,
                    tokenizer_2=their_tokenizer(scratch / "tokenizer_2", "!"),
                    unet=stirred(UNet2DConditionModel(**{**unet, **changed})),
                    scheduler=DDIMScheduler(**sampler),
                    add_watermarker=False,
                )
        return StableDiffusionPipeline(
            vae=their_stage(),
            text_encoder=stirred(made[1]),
            tokenizer=tokenizer,
            unet=stirred(made[0]),
            scheduler=DDIMScheduler(**sampler),
            **nobody,
        )


def their_stage() -> Any:
    return stirred(
        AutoencoderKL(
            block_out_channels=(16, 32),
            down_block_types=2 * ("DownEncoderBlock2D",),
            up_block_types=2 * ("UpDecoderBlock2D",),
            norm_num_groups=4,
            sample_size=16,
        )
    )


def parts(pipeline: Any) -> dict[str, dict[str, Tensor]]:
    """The weights of a pipeline's networks."""
    found = {name: getattr(pipeline, name, None) for name in ("unet", "vae", "text_encoder", "text_encoder_2")}
    return {name: dict(one.state_dict()) for name, one in found.items() if one is not None}


@torch.no_grad()
def their_drawings(pipeline: Any, words: Sequence[str], guidance: float, negative: str | None = None) -> Tensor:
    """What a pipeline draws in 20 steps, (B, C, H, W) in [0, 1]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.set_progress_bar_config(disable=True)
        made = pipeline(
            prompt=list(words),
            negative_prompt=None if negative is None else [negative] * len(words),
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(0),
            output_type="np",
        )
    return torch.from_numpy(made.images).permute(0, 3, 1, 2)


@torch.no_grad()
def our_drawings(model: DiffusionModel, words: Sequence[str], guidance: float, negative: str | None = None) -> Tensor:
    """The same of ours."""
    settings = model.settings(guidance=guidance, sampler=Ddim(), steps=STEPS)
    schedule, times = model.config.schedule, settings.grid(STEPS, model.config.schedule)
    cond, null = model.conditions(words), model.conditions([negative] * len(words))
    denoise = settings.wrap(model.denoiser.bind(cond), model.denoiser.bind(null), schedule)
    x = schedule(times[0])[1].item() * noise_of(model, len(words))
    *_, last = Ddim().steps(denoise, x, times, schedule, lambda _: torch.zeros(0))
    return (model.pixels(last.x) / 2 + 0.5).clamp(0, 1)


def stirred(network: Any) -> Any:
    with torch.no_grad():
        for weights in network.parameters():
            weights += 0.03 * torch.randn(weights.shape)
    return network.eval()
