r"""A U-Net that stays as it is, and a copy of its way down beside it, which reads a picture y (ControlNet).

With the features f_i of the U-Net's way down and middle, and g_i of the copy's, the way up sees

.. math:: f_i + Z_i g_i, \quad g_0 = \operatorname{inp}(x) + Z y,                                                (1)

where all Z are convolutions of a single place that begin at zero, so that before the first step the answer is the
U-Net's own (Zhang, Rao and Agrawala, "Adding Conditional Control to Text-to-Image Diffusion Models", 2023, equation 2).
Unlike there, the copy is told the noise level by the U-Net's own embedding, and y has the size of x already.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, final

from torch import Tensor, nn

from carrara.backbone.base import Backbone, BackboneConfig, Layered
from carrara.backbone.unet import UNet, UNetConfig
from carrara.kinds import SPELLED
from carrara.nn import Tokens, conv1, patchify, zeroed
from carrara.shapes import PerSample, Samples, checked_spatial
from carrara.types import Conditioning


@dataclass(frozen=True, kw_only=True)
class ControlledConfig(BackboneConfig):
    """A U-Net with a copy of its way down.

    Attributes:
        network: the U-Net.
    """

    kind: Literal["controlled"] = "controlled"
    network: Annotated[UNetConfig, SPELLED]

    @property
    def context_width(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As of the U-Net."""
        return self.network.context_width

    @property
    def multiple(self) -> int:
        return self.network.multiple

    @property
    def steps(self) -> int | None:
        return self.network.steps

    @property
    def vector_width(self) -> int:
        return self.network.vector_width

    def build(self, shape: tuple[int, ...], image_channels: int = 0, answers: int = 1) -> Backbone:
        if not image_channels:
            raise ValueError("a controlled network reads a picture beside its input: set model.image")
        network, copy = (self.network.build(shape, 0, answers) for _ in range(2))
        assert isinstance(network, UNet) and isinstance(copy, UNet)
        return Controlled(network, copy, image_channels, checked_spatial(shape, "a U-Net"))


@final
class Controlled(Layered):
    """Equation (1). Use ``ControlledConfig(network=...).build((3, 32, 32), image_channels=4)``.

    Args:
        network: the U-Net.
        copy: another one of the same shape, whose way up is left out.
        image_channels: of y.
        spatial: axes of places.
    """

    def __init__(self, network: UNet, copy: UNet, image_channels: int, spatial: int) -> None:
        super().__init__()
        config = network.config
        for idle in ("noise", "up", "upsample", "gates", "norm", "out"):
            delattr(copy, idle)
        self.network, self.copy, self.patch = network, copy, config.patch
        self.hint = zeroed(conv1(image_channels * config.patch**spatial, config.channels, spatial=spatial))
        widths, last = config.widths, len(config.widths) - 1
        down = [w for i, w in enumerate(widths) for w in [w] * (config.blocks + (i < last))]
        features = [config.channels, *down, widths[-1]]
        self.joins = nn.ModuleList(zeroed(conv1(width, width, spatial=spatial)) for width in features)

    def partly(
        self, x: Samples, noise_level: PerSample, cond: Conditioning, deep: Tensor | None, levels: int
    ) -> tuple[Tensor, Tensor]:
        network, image = self.network, cond.image
        if image is None:
            return network.partly(x, noise_level, cond, deep, levels)
        emb, context = network.embed(noise_level, cond.vector)
        tokens = Tokens.of(replace(cond, image=None), network.config.context_width)
        x_in = patchify(x, self.patch)
        only = None if deep is None else levels
        seen = network.descend(network.inp(x_in), emb, tokens, only)
        read = self.copy.descend(self.copy.inp(x_in) + self.hint(patchify(image, self.patch)), emb, tokens, only)
        seen = [f + join(g) for f, join, g in zip(seen, list(self.joins.children())[: len(seen)], read, strict=True)]
        if deep is None:
            *seen, deep = network.climb(seen, emb, context, tokens, levels)
        return network.ascend([*seen, deep], emb, context, tokens, x.shape[2:]), deep

    def place_steps(self, levels: Tensor) -> None:
        self.network.place_steps(levels)
