r"""A critic of patches (Isola et al., "Image-to-image translation with conditional adversarial networks", 2017).

It gives each patch of a picture a number, high for real ones. With the hinge loss (Lim and Ye, 2017) it descends

.. math:: L_C = E \max(0, 1 - C(x)) + E \max(0, 1 + C(\hat x)) + \tfrac{r}{2} E \| \nabla_x C(x) \|^2               (1)

and the autoencoder descends -C(x-hat). The last term of (1), R1 (Mescheder et al., 2018), keeps the critic smooth.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrara.nn import RANKS, group_norm
from carrara.shapes import PerSample, Signals, by, checked_spatial


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """A critic, and when and how much it counts.

    Attributes:
        channels: width of the first layer.
        layers: how many times the picture is halved: a patch is about 2 ** (layers + 2) pixels wide.
        weight: of its opinion; with ``adaptive``, as a part of what the reconstruction's gradient amounts to.
        start: the optimizer step from which it learns: a picture must be there before it is judged.
        lead: so many steps it learns before its opinion counts, and over as many more its weight rises: what a critic
            says before it can tell pictures apart only does harm.
        adaptive: weighs its gradient at the decoder's last layer against the reconstruction's (Esser et al., 2021).
        r1: r of equation (1); 0 is off.
    """

    channels: int = 64
    layers: int = 3
    weight: float = 0.5
    start: int = 5000
    lead: int = 500
    adaptive: bool = True
    r1: float = 0.0

    def __post_init__(self) -> None:
        if self.channels < 4 or self.channels % 4 or self.layers < 1:
            raise ValueError("a critic needs channels in multiples of 4 and at least one layer")
        if min(self.weight, self.start, self.lead, self.r1) < 0:
            raise ValueError("the critic's weight, start, lead and r1 must be 0 or more")

    def weight_at(self, step: int) -> float:
        """What its opinion counts at an optimizer step."""
        risen = (step - self.start - self.lead + 1) / max(1, self.lead)
        return self.weight * min(1.0, max(0.0, risen))

    @property
    def smallest(self) -> int:
        """Pixels along an edge, of which its last two layers, 4 wide and with a border of 1, still see 3 places."""
        return 3 * 2**self.layers

    def build(self, shape: tuple[int, ...]) -> "Critic":
        """Makes the critic for pictures of ``shape``.

        Raises:
            ValueError: they have no places, or are too small for so many layers.
        """
        spatial, edge = checked_spatial(shape, "a critic"), min(shape[1:])
        if edge < self.smallest:
            fewer = next((n for n in range(self.layers - 1, 0, -1) if edge >= replace(self, layers=n).smallest), 0)
            raise ValueError(
                f"a critic of {self.layers} layers (critic.layers) needs pictures of {self.smallest} pixels or more, "
                f"not {by(shape[1:])}: take {f'{fewer} layers at most' if fewer else 'larger ones, or no critic'}"
            )
        return Critic(self, shape[0], spatial=spatial)


@final
class Critic(nn.Module):
    """(B, C, *N) to a number for each patch, (B, 1, *n), float32."""

    def __init__(self, config: CriticConfig, image_channels: int, *, spatial: int = 2) -> None:
        super().__init__()
        convolution = RANKS[spatial].convolution
        widths = [config.channels * min(2**k, 8) for k in range(config.layers + 1)]
        self.inp = convolution(image_channels, widths[0], 4, stride=2, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                convolution(inp, out, 4, stride=2 if k < config.layers - 1 else 1, padding=1, bias=False),
                group_norm(out),
            )
            for k, (inp, out) in enumerate(pairwise(widths))
        )
        self.out = convolution(widths[-1], 1, 4, padding=1)

    def forward(self, x: Signals) -> Tensor:
        h = self.inp(x)
        for layer in self.layers:
            h = layer(F.leaky_relu(h, 0.2))
        return self.out(F.leaky_relu(h, 0.2)).float()


def hinge(real: Tensor, fake: Tensor) -> PerSample:
    """The first two terms of equation (1) for each pair of pictures, (B,)."""
    return (F.relu(1 - real) + F.relu(1 + fake)).flatten(1).mean(1)


def gradient_penalty(critic: nn.Module, real: Signals) -> PerSample:
    """The squared norm of the critic's gradient at real pictures, (B,), differentiable: the last term of (1)."""
    x = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).flatten(1).mean(1).sum(), x, create_graph=True)
    return slope.float().square().flatten(1).sum(1)
