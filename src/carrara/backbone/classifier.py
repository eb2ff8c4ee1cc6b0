r"""A network that says what is in noised data: the way down of a U-Net, averaged over the picture.

It sees the state at unit scale and is told its half log-SNR,

.. math:: \text{logits} = F\big( x_t / \sqrt{\alpha^2 + \sigma^2}, \; \log(\alpha / \sigma) \big),                (1)

and so means the same by it on every schedule. (Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis",
2021, appendix G.3, pool by attention.)
"""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from carrara.backbone.unet import UNetBlock, UNetConfig
from carrara.nn import NoiseEmbedding, conv3, group_norm, patchify, zeroed
from carrara.shapes import Scalars, Signals, expand

MAX_LEVEL = 12.0
"""Half log-SNRs are clamped to this."""


@final
class NoiseAwareClassifier(nn.Module):
    """Equation (1).

    Args:
        config: the U-Net whose way down this is; without tokens.
        channels: of the data.
        classes: how many.
        spatial: axes of places: 2 for pictures.

    Raises:
        ValueError: the network looks at tokens.
    """

    def __init__(self, config: UNetConfig, *, channels: int, classes: int, spatial: int = 2) -> None:
        super().__init__()
        if config.context_width is not None:
            raise ValueError("a classifier looks at no tokens: leave context_width and transformer_depths out")
        self.config = config
        widths, levels = config.widths, range(len(config.multipliers))
        enters = [config.channels, *widths[:-1]]
        self.noise = NoiseEmbedding(config.channels, config.vector_width)
        self.inp = conv3(channels * config.patch**spatial, config.channels, spatial=spatial)
        self.levels = nn.ModuleList(
            nn.ModuleList(
                UNetBlock(inp, i, config, i in config.attention_levels, spatial)
                for inp in [enters[i]] + (config.blocks - 1) * [widths[i]]
            )
            for i in levels
        )
        self.downsample = nn.ModuleList(conv3(w, w, stride=2, spatial=spatial) for w in widths[:-1])
        self.middle = nn.ModuleList(
            UNetBlock(widths[-1], levels[-1], config, attention, spatial) for attention in (True, False)
        )
        self.norm = group_norm(widths[-1])
        self.out = zeroed(nn.Linear(widths[-1], classes))

    def forward(self, x_t: Signals, alpha: Scalars, sigma: Scalars) -> Float[Tensor, "B K"]:
        """Logits of states (B, C, *N) at levels () or (B,), float32."""
        level = (alpha.double().log() - sigma.double().log()).clamp(-MAX_LEVEL, MAX_LEVEL)
        emb = F.silu(self.noise(level.to(x_t).expand(len(x_t))))
        h = self.inp(patchify(x_t / expand(torch.hypot(alpha, sigma), x_t).to(x_t), self.config.patch))
        for i, blocks in enumerate(self.levels):
            h = self.downsample[i - 1](h) if i else h
            for block in blocks.children():
                h = block(h, emb, None)
        for block in self.middle:
            h = block(h, emb, None)
        return self.out(F.silu(self.norm(h)).flatten(2).mean(2)).float()
