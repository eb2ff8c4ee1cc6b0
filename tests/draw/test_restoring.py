"""Posterior sampling through first stages: gradients pass what is not smooth."""

import torch

from carrara.autoencoder import Vq, VqConfig
from carrara.backbone import UNetConfig
from carrara.draw import finish
from carrara.draw.restore import restore
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Cosine, V
from carrara.sample import PiGdm, SampleSettings, downscaled
from carrara.seeds import Draws, torch_generator
from drawings import drawing_of

QUANTIZED = ModelConfig(
    shape=(3, 16, 16),
    backbone=UNetConfig(channels=8, multipliers=(1,), blocks=1, attention_levels=()),
    schedule=Cosine(),
    parameterization=V(),
    first_stage=VqConfig(channels=8, multipliers=(1, 1), blocks=1, codes=32),
)


def test_gradients_pass_a_quantization() -> None:
    with torch_generator(0):
        model = DiffusionModel(QUANTIZED).eval()
    assert isinstance(model.first_stage, Vq)
    codes = model.first_stage.codebook.codes
    codes.copy_(Draws(0, torch.arange(len(codes))).normal("codes", codes.shape[1]))
    asked = drawing_of(model, None, settings=SampleSettings(steps=3))
    measure = downscaled((3, 16, 16), 4)
    made = [
        finish(restore(asked, torch.full((1, 3, 4, 4), y), measure, likelihood=PiGdm(), noise=0.1)) for y in (-0.5, 0.5)
    ]
    assert not torch.equal(*made), "what is measured counts"


def test_a_quantization_gives_codes_and_the_vectors_gradient() -> None:
    with torch_generator(0):
        stage = QUANTIZED.first_stage.build((3, 16, 16)).eval()
    assert isinstance(stage, Vq)
    book = stage.codebook
    book.codes.copy_(Draws(0, torch.arange(len(book))).normal("codes", 4))
    z = Draws(0, torch.arange(2)).normal("latents", 4, 8, 8).requires_grad_()
    codes = book.quantized(z, book.nearest(z))
    assert torch.equal(codes, book.lookup(book.nearest(z))), "bit by bit"
    (gradient,) = torch.autograd.grad(codes.sum(), z)
    assert torch.equal(gradient, torch.ones_like(z))
