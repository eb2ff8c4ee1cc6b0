"""A network that also says how sure it is."""

import pytest
import torch

from carrara.backbone import DiTConfig, MlpConfig, UNetConfig
from carrara.denoiser import Denoiser
from carrara.noise import Cosine, V
from carrara.seeds import torch_generator
from carrara.types import Conditioning

NETWORKS = [
    (UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(), head_width=8), (3, 8, 8)),
    (DiTConfig(width=16, depth=1, heads=2, patch=2), (3, 8, 8)),
    (MlpConfig(width=8, depth=1), (2,)),
]


@pytest.mark.parametrize(("config", "shape"), NETWORKS, ids=["unet", "dit", "mlp"])
def test_a_network_answers_twice(config, shape):
    with torch_generator(0, "learned variance test"):
        network = config.build(shape, answers=2)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    denoiser = Denoiser(network, Cosine(), V(), learned_variance=True)
    x, t = torch.linspace(-1, 1, 2 * torch.Size(shape).numel()).reshape(2, *shape), torch.tensor([0.3, 0.7])
    cond, coefficients = Conditioning(vector=torch.zeros(2, config.vector_width)), denoiser.coefficients(t)
    output, v = denoiser.answers(x, coefficients, cond)
    assert output.shape == x.shape and v is not None and v.shape == x.shape and not torch.equal(output, v)
    assert torch.equal(denoiser.output(x, coefficients, cond), output)
    assert torch.equal(denoiser(x, t, cond), coefficients.denoised(x, output).float())
