"""U-Nets as diffusers calls their parts: ``UNet2DModel``, and ``UNet2DConditionModel`` where there are transformers."""

import re
from collections.abc import Mapping

from torch import Tensor

from carrara.backbone import UNetConfig
from carrara.naming.names import Names

LINEAR = {"noise.layers.0": "time_embedding.linear_1", "noise.layers.2": "time_embedding.linear_2"}
ENDS = {"inp": "conv_in", "norm": "conv_norm_out", "out": "conv_out"}
INNER = {
    "residual.norm1": "norm1",
    "residual.conv1": "conv1",
    "residual.emb": "time_emb_proj",
    "residual.norm2": "norm2",
    "residual.conv2": "conv2",
    "residual.skip": "conv_shortcut",
    "attention.norm": "group_norm",
    "attention.out": "to_out.0",
}
WITHIN = {
    "attention.norm": ("norm",),
    "attention.inp": ("proj_in",),
    "attention.out": ("proj_out",),
    "norm1": ("norm1",),
    "norm2": ("norm2",),
    "norm3": ("norm3",),
    "to_itself.q": ("attn1.to_q",),
    "to_itself.kv": ("attn1.to_k", "attn1.to_v"),
    "to_itself.out": ("attn1.to_out.0",),
    "to_tokens.q": ("attn2.to_q",),
    "to_tokens.kv": ("attn2.to_k", "attn2.to_v"),
    "to_tokens.out": ("attn2.to_out.0",),
    "feed_forward.inp": ("ff.net.0.proj",),
    "feed_forward.out": ("ff.net.2",),
}
"""Of spatial transformers, and of each of their layers."""
_BLOCK = re.compile(r"(down|up)\.(\d+)\.(\d+)\.(.+)|(middle)\.(\d+)\.(.+)")


def unet_names(config: UNetConfig, state: Mapping[str, Tensor]) -> Names:
    """Where each tensor of a network's state is there; tables of noise levels are nowhere."""
    found = {name: unet_place(config, name) for name in state if not re.match(r"noise\.[^l]|noise\.levels", name)}
    assert all(found.values()), [name for name, there in found.items() if not there]
    return found


def unet_place(config: UNetConfig, name: str) -> tuple[str, ...]:
    """The tensors there that one of a network is made of; none if it has no equal."""
    stem, _, kind = name.rpartition(".")
    if stem in LINEAR or stem in ENDS:
        return (f"{(LINEAR | ENDS)[stem]}.{kind}",)
    if match := re.fullmatch(r"downsample\.(\d+)", stem):
        return (f"down_blocks.{match[1]}.downsamplers.0.conv.{kind}",)
    depth = len(config.widths)
    if match := re.fullmatch(r"upsample\.(\d+)\.conv", stem):
        return (f"up_blocks.{depth - 2 - int(match[1])}.upsamplers.0.conv.{kind}",)
    if (match := _BLOCK.fullmatch(stem)) is None:
        return ()
    if match[5]:
        above, number, inner = "mid_block", int(match[6]), match[7]
    else:
        level = int(match[2]) if match[1] == "down" else depth - 1 - int(match[2])
        above, number, inner = f"{match[1]}_blocks.{level}", int(match[3]), match[4]
    part = "resnets" if inner.startswith("residual") else "attentions"
    within = _within(inner, config.context_width is not None)
    return tuple(f"{above}.{part}.{number}.{one}.{kind}" for one in within)


def _within(inner: str, transformers: bool) -> tuple[str, ...]:
    if inner == "attention.qkv":
        return ("to_q", "to_k", "to_v")
    if not transformers or inner.startswith("residual"):
        return (INNER[inner],) if inner in INNER else ()
    match = re.fullmatch(r"attention\.layers\.(\d+)\.(.+)", inner)
    above = f"transformer_blocks.{match[1]}." if match else ""
    return tuple(f"{above}{one}" for one in WITHIN.get(match[2] if match else inner, ()))
