"""Models with random weights, in folders of their own: all that an edit needs, without a training."""

from dataclasses import replace
from pathlib import Path

import torch

from carrara.autoencoder import KlConfig, VaeConfig
from carrara.backbone import UNetConfig
from carrara.conditioning import LabelsConfig, LayoutMap, Lowres, Masked
from carrara.model import Autoencoder, AutoencoderConfig, DiffusionModel, ModelConfig
from carrara.noise import Cosine, V
from carrara.sample import SampleSettings
from carrara.seeds import torch_generator

STAGE = KlConfig(channels=8, multipliers=(1, 1), blocks=1, latent_channels=2)
PIXELS = ModelConfig(
    shape=(3, 8, 8),
    backbone=UNetConfig(channels=8, multipliers=(1,), blocks=1, attention_levels=()),
    schedule=Cosine(),
    parameterization=V(),
    conditioner=LabelsConfig(classes=("cat", "dog")),
    sample=SampleSettings(steps=3, clip=True),
)
KINDS = {
    "pixels": PIXELS,
    "latents": replace(PIXELS, first_stage=STAGE, sample=SampleSettings(steps=3)),
    "lowres": replace(PIXELS, image=Lowres(factor=2)),
    "map": replace(PIXELS, image=LayoutMap(colours=((0, 0, 0), (255, 0, 0)))),
    "masked": replace(PIXELS, image=Masked()),
    "vae": AutoencoderConfig(shape=(3, 8, 8), first_stage=VaeConfig(hidden=8, latents=(2,))),
    "autoencoder": AutoencoderConfig(shape=(3, 8, 8), first_stage=STAGE),
}


def saved(kind: str, folder: Path, seed: int = 0) -> Path:
    """The folder, with a model of a kind of ``KINDS`` in it."""
    config = KINDS[kind]
    with torch_generator(seed):
        model = DiffusionModel(config) if isinstance(config, ModelConfig) else Autoencoder(config)
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.1 * torch.randn(weights.shape)
    model.save(folder)
    return folder
