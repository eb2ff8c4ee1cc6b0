"""What tests of drawing share: models that listen, though they have learned nothing, and what they are asked."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from carrara.autoencoder import KlConfig
from carrara.backbone import UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.draw import Drawing, Request, finish, generate, sample
from carrara.model import DiffusionModel, Model, ModelConfig
from carrara.noise import Cosine, V
from carrara.seeds import torch_generator
from carrara.store import OpenModel

PIXELS = ModelConfig(
    shape=(3, 8, 8),
    backbone=UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(1,)),
    schedule=Cosine(),
    parameterization=V(),
    conditioner=LabelsConfig(classes=("cat", "dog")),
)
LATENTS = replace(PIXELS, shape=(3, 16, 16), first_stage=KlConfig(channels=8, multipliers=(1, 1), blocks=1, patch=2))


def awake(config: ModelConfig = PIXELS, seed: int = 0, *, noise: float = 0.1) -> DiffusionModel:
    """An untrained model whose last layers are not zero, so that it answers to all that it is told."""
    with torch_generator(seed), torch.no_grad():
        made = DiffusionModel(config)
        for parameter in made.parameters():
            parameter += noise * torch.randn(parameter.shape)
    return made.eval()


def request_of(model: Model, *wishes: str | None, seeds: tuple[int, ...] | None = None, **asked: Any) -> Request:
    """A sample for each wish, by the model's own settings; the seeds count up from 0."""
    asked = {"settings": model.settings(), **asked}
    return Request(wishes=wishes, seeds=tuple(range(len(wishes))) if seeds is None else seeds, **asked)


def drawing_of(
    model: DiffusionModel,
    *wishes: str | None,
    weak: DiffusionModel | None = None,
    image: Tensor | None = None,
    **asked: Any,
) -> Drawing:
    """The same, opened."""
    return Drawing(model=model, request=request_of(model, *wishes, **asked), weak=weak, image=image)


def drawn(
    model: Model,
    *wishes: str | None,
    weak: DiffusionModel | None = None,
    image: Tensor | None = None,
    batch: int = 64,
    **asked: Any,
) -> Tensor:
    """The samples, (N, *S)."""
    request = request_of(model, *wishes, **asked)
    if weak is None or not isinstance(model, DiffusionModel):
        return finish(sample(OpenModel(model=model), request, image=image, batch=batch))
    drawing = Drawing(model=model, request=request, weak=weak, image=image)
    return finish(generate(drawing, size=request.pixel_size, batch=batch))
