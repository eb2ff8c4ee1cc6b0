"""Small networks with the names and the numerics of what others have published, written from their papers.

``Adm``: the U-Net of Dhariwal and Nichol (2021), which latent diffusion has, too, with transformers in the places of
its attention. ``Transformer``: that of Peebles and Xie (2023). They are plain, and share no line with the package.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def waves(t: Tensor, features: int) -> Tensor:
    """Cosines, then sines, of times (B,)."""
    half = features // 2
    phase = t[:, None].float() * torch.tensor([10000.0 ** (-k / half) for k in range(half)])
    return torch.cat([phase.cos(), phase.sin()], 1)


class Residual(nn.Module):
    """A residual block, which may halve (``"down"``) or double (``"up"``) within itself."""

    def __init__(self, inp: int, out: int, told: int, scaled: bool, way: str = "") -> None:
        super().__init__()
        self.scaled, self.way = scaled, way
        self.in_layers = nn.Sequential(nn.GroupNorm(32, inp), nn.SiLU(), nn.Conv2d(inp, out, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(told, 2 * out if scaled else out))
        last = nn.Conv2d(out, out, 3, padding=1)
        self.out_layers = nn.Sequential(nn.GroupNorm(32, out), nn.SiLU(), nn.Identity(), last)
        self.skip_connection = nn.Identity() if inp == out else nn.Conv2d(inp, out, 1)

    def sized(self, x: Tensor) -> Tensor:
        if self.way == "down":
            return F.avg_pool2d(x, 2)
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3) if self.way == "up" else x

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        h = self.in_layers[2](self.sized(self.in_layers[:2](x)))
        said = self.emb_layers(told)[:, :, None, None]
        if self.scaled:
            scale, shift = said.chunk(2, 1)
            h = self.out_layers[1:](self.out_layers[0](h) * (1 + scale) + shift)
        else:
            h = self.out_layers(h + said)
        return self.skip_connection(self.sized(x)) + h


class SelfAttention(nn.Module):
    """Over all places; ``order`` says whether rows are split into heads first, or into queries, keys and values."""

    def __init__(self, channels: int, heads: int, order: str) -> None:
        super().__init__()
        self.heads, self.order = heads, order
        self.norm = nn.GroupNorm(32, channels)
        self.qkv, self.proj_out = nn.Conv1d(channels, 3 * channels, 1), nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        rows = self.qkv(self.norm(x).flatten(2))
        if self.order == "heads":
            q, k, v = rows.unflatten(1, (self.heads, 3, -1)).unbind(2)
        else:
            q, k, v = rows.unflatten(1, (3, self.heads, -1)).unbind(1)
        seen = (q.transpose(2, 3) @ k / math.sqrt(q.shape[2])).softmax(3)
        return x + self.proj_out((v @ seen.transpose(2, 3)).flatten(1, 2)).view_as(x)


class Resized(nn.Module):
    """Halves or doubles by a convolution."""

    def __init__(self, channels: int, way: str) -> None:
        super().__init__()
        self.way, name = way, "op" if way == "down" else "conv"
        setattr(self, name, nn.Conv2d(channels, channels, 3, padding=1, stride=2 if way == "down" else 1))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.op(x) if self.way == "down" else self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))


class Plain(nn.Conv2d):
    def forward(self, x: Tensor, told: Tensor) -> Tensor:  # pyright: ignore
        return super().forward(x)


class Adm(nn.Module):
    """The U-Net.

    Args:
        attention: makes what looks at all places, from a number of channels.
        levels: that have it.
        residual: whether levels change their size within residual blocks.
    """

    def __init__(
        self,
        attention: Any,
        *,
        base: int = 32,
        widths: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        levels: Sequence[int] = (1, 2),
        channels: int = 3,
        answers: int = 1,
        scaled: bool = True,
        residual: bool = False,
        classes: int | None = None,
    ) -> None:
        super().__init__()
        told, self.base = 4 * base, base

        def resized(width: int, way: str) -> nn.Module:
            return Residual(width, width, told, scaled, way) if residual else Resized(width, way)

        self.time_embed = nn.Sequential(nn.Linear(base, told), nn.SiLU(), nn.Linear(told, told))
        if classes is not None:
            self.label_emb = nn.Embedding(classes, told)
        self.input_blocks = nn.ModuleList([nn.ModuleList([Plain(channels, widths[0], 3, padding=1)])])
        width, kept = widths[0], [widths[0]]
        for level, wide in enumerate(widths):
            for _ in range(blocks):
                row = [Residual(width, wide, told, scaled)] + ([attention(wide)] if level in levels else [])
                self.input_blocks.append(nn.ModuleList(row))
                width = wide
                kept.append(width)
            if level < len(widths) - 1:
                self.input_blocks.append(nn.ModuleList([resized(width, "down")]))
                kept.append(width)
        ends = [Residual(width, width, told, scaled) for _ in range(2)]
        self.middle_block = nn.ModuleList([ends[0], attention(width), ends[1]])
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for number in range(blocks + 1):
                row = [Residual(width + kept.pop(), widths[level], told, scaled)]
                width = widths[level]
                row += [attention(width)] if level in levels else []
                row += [resized(width, "up")] if level and number == blocks else []
                self.output_blocks.append(nn.ModuleList(row))
        last = nn.Conv2d(width, answers * channels, 3, padding=1)
        self.out = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), last)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        told = self.time_embed(waves(t, self.base))
        if y is not None:
            told = told + self.label_emb(y)
        self.context, kept = context, list[Tensor]()
        for row in self.input_blocks:
            x = self._through(row, x, told)
            kept.append(x)
        x = self._through(self.middle_block, x, told)
        for row in self.output_blocks:
            x = self._through(row, torch.cat([x, kept.pop()], 1), told)
        return self.out(x)

    def _through(self, row: Any, x: Tensor, told: Tensor) -> Tensor:
        for layer in row:
            if self.context is not None and hasattr(layer, "transformer_blocks"):
                x = layer(x, encoder_hidden_states=self.context).sample
            else:
                x = layer(x, told)
        return x


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.qkv, self.attn.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        b1, s1, g1, b2, s2, g2 = self.adaLN_modulation(c)[:, None].chunk(6, 2)
        rows = self.attn.qkv(normal(x) * (1 + s1) + b1).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = rows
        seen = (q @ k.mT / math.sqrt(q.shape[3])).softmax(3)
        x = x + g1 * self.attn.proj((seen @ v).transpose(1, 2).flatten(2))
        return x + g2 * self.mlp.fc2(F.gelu(self.mlp.fc1(normal(x) * (1 + s2) + b2), approximate="tanh"))


class Transformer(nn.Module):
    """That of DiT and SiT, for latents of 4 channels; its last class is none."""

    def __init__(self, *, width: int = 32, heads: int = 2, edge: int = 8, patch: int = 2, answers: int = 2) -> None:
        super().__init__()
        self.patch, self.answers, side = patch, answers, edge // patch
        self.x_embedder, self.t_embedder, self.y_embedder = nn.Module(), nn.Module(), nn.Module()
        self.x_embedder.proj = nn.Conv2d(4, width, patch, stride=patch)
        self.t_embedder.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.y_embedder.embedding_table = nn.Embedding(1001, width)
        rates = torch.tensor([10000.0 ** (-k / (width // 4)) for k in range(width // 4)])
        row, column = (torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side))
        parts = [wave(at[:, None] * rates) for at in (column, row) for wave in (torch.sin, torch.cos)]
        self.pos_embed = nn.Parameter(torch.cat(parts, 1)[None], requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(2))
        self.final_layer = nn.Module()
        self.final_layer.linear = nn.Linear(width, patch * patch * 4 * answers)
        self.final_layer.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The first answer."""
        size, patch = x.shape[2] // self.patch, self.patch
        h = self.x_embedder.proj(x).flatten(2).transpose(1, 2) + self.pos_embed
        c = self.t_embedder.mlp(waves(t, 256)) + self.y_embedder.embedding_table(y)
        for block in self.blocks:
            h = block(h, c)
        b, s = self.final_layer.adaLN_modulation(c)[:, None].chunk(2, 2)
        rows = self.final_layer.linear(normal(h) * (1 + s) + b)
        picture = rows.view(len(x), size, size, patch, patch, 4 * self.answers).permute(0, 5, 1, 3, 2, 4)
        return picture.reshape(len(x), 4 * self.answers, size * patch, size * patch)[:, :4]


def normal(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def stirred(network: Any) -> Any:
    """With weights that say something."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            if weights.requires_grad:
                weights += 0.03 * torch.randn(weights.shape)
    return network.eval()
