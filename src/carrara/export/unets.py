"""The U-Net of pixels as diffusers' ``UNet2DModel``: its configuration, both ways. The names of its weights are in
``carrara.naming``.

Two things have no equal there, and are rewritten: the sines and cosines of the half log-SNR at each step become the
rows of their learned table of steps; and queries, keys and values, one matrix here, are three there. What has another
number of groups, of channels in the first level, or of pixels in a patch cannot be rewritten, and is refused.
"""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from carrara.backbone import Conventions, UNet, UNetConfig
from carrara.errors import UserError
from carrara.export.names import number_of_groups
from carrara.nn import NoiseEmbedding, StepEmbedding, step_features


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """``config.json`` of a ``UNet2DModel``, with their defaults."""

    sample_size: int | tuple[int, int] | None = None
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: float = 0.0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1.0
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: int | None = None


def theirs(network: UNet, shape: tuple[int, ...], steps: int) -> Theirs:
    """The configuration of a network for pictures (C, H, W).

    Args:
        steps: T.

    Raises:
        UserError: it has no place there; which part, and what to do.
    """
    config = network.config
    check(config)
    groups, positions = _groups(network), positions_of(network.noise)
    attends = [level in config.attention_levels for level in range(len(config.widths))]
    return Theirs(
        sample_size=shape[1] if shape[1] == shape[2] else (shape[1], shape[2]),
        in_channels=shape[0],
        out_channels=shape[0],
        time_embedding_type="learned" if positions is None else "positional",
        flip_sin_to_cos=positions is not None and positions[0],
        freq_shift=0.0 if positions is None else positions[1],
        num_train_timesteps=steps if positions is None else None,
        down_block_types=tuple("AttnDownBlock2D" if one else "DownBlock2D" for one in attends),
        up_block_types=tuple("AttnUpBlock2D" if one else "UpBlock2D" for one in reversed(attends)),
        block_out_channels=config.widths,
        layers_per_block=config.blocks,
        downsample_padding=1 if config.others.halving == "centred" else 0,
        dropout=config.dropout,
        attention_head_dim=_head_width(config),
        norm_num_groups=groups,
        attn_norm_num_groups=groups,
        norm_eps=config.others.eps,
        resnet_time_scale_shift="scale_shift" if config.modulation == "scale_shift" else "default",
    )


def check(config: UNetConfig) -> None:
    """Refuses a network whose parts are not those of a ``UNet2DModel``.

    Raises:
        UserError: which, and what to do.
    """
    if config.modulation == "context":
        raise _refused("the modulation 'context'", "train with model.backbone.modulation=scale_shift")
    if config.patch != 1:
        raise _refused(f"patches of {config.patch} pixels", "train with model.backbone.patch=1")
    if config.multipliers[0] != 1:
        raise _refused("a first level that is wider than the network's input", "begin model.backbone.multipliers by 1")


def ours(found: Theirs, steps: int) -> UNetConfig:
    """The configuration of a network of theirs.

    Args:
        steps: T of its scheduler.

    Raises:
        UserError: it has a part that there is not here.
    """
    _check_theirs(found)
    first = found.block_out_channels[0]
    attends = [kind.startswith("Attn") for kind in found.down_block_types]
    try:
        return UNetConfig(
            channels=first,
            multipliers=tuple(width // first for width in found.block_out_channels),
            blocks=found.layers_per_block,
            attention_levels=tuple(level for level, one in enumerate(attends) if one),
            head_width=found.attention_head_dim,
            modulation="scale_shift" if found.resnet_time_scale_shift == "scale_shift" else "shift",
            dropout=found.dropout,
            conventions=Conventions(
                groups=found.norm_num_groups,
                eps=found.norm_eps,
                halving="centred" if found.downsample_padding == 1 else "right",
                timesteps=steps,
            ),
        )
    except ValueError as error:
        raise UserError(f"unet/config.json describes no network that can be built here: {error}") from None


def table(noise: nn.Module, levels: Tensor) -> Tensor:
    """What the two layers of an embedding see at each step, (T, features)."""
    if isinstance(noise, StepEmbedding):
        return noise.table
    assert isinstance(noise, NoiseEmbedding)
    phase = levels[:, None] * noise.rates
    return torch.cat([torch.cos(phase), torch.sin(phase)], dim=1)


def as_json(found: Theirs) -> dict[str, Any]:
    """The contents of ``config.json``."""
    return {"_class_name": "UNet2DModel", **asdict(found)}


def _check_theirs(found: Theirs) -> None:
    first, depth = found.block_out_channels[:1], len(found.block_out_channels)
    ups = tuple(kind.replace("Down", "Up") for kind in reversed(found.down_block_types))
    for fits, part in (
        (set(found.down_block_types) <= {"DownBlock2D", "AttnDownBlock2D"}, f"blocks of {found.down_block_types}"),
        (found.up_block_types == ups and len(ups) == depth, f"blocks of {found.up_block_types} on the way up"),
        (found.mid_block_type == "UNetMidBlock2D" and found.add_attention, "no middle with attention"),
        (found.attn_norm_num_groups == found.norm_num_groups or _default(found), "a middle with other group norms"),
        (found.act_fn in ("silu", "swish"), f"the activation {found.act_fn}"),
        (
            (found.downsample_type, found.upsample_type) == ("conv", "conv"),
            "levels that no convolutions change",
        ),
        (found.downsample_padding in (0, 1), f"a padding of {found.downsample_padding}"),
        (found.resnet_time_scale_shift in ("default", "scale_shift"), f"'{found.resnet_time_scale_shift}' blocks"),
        (not found.center_input_sample and found.mid_block_scale_factor == 1, "an input or a middle that is scaled"),
        (found.time_embedding_type in ("positional", "learned"), f"times that are '{found.time_embedding_type}'"),
        (0 <= found.freq_shift <= 1, f"rates that are shifted by {found.freq_shift}"),
        (found.class_embed_type is None and found.num_class_embeds is None, "a table of classes"),
        (found.in_channels == found.out_channels, f"{found.in_channels} channels in and {found.out_channels} out"),
        (bool(first) and first[0] > 0 and not any(w % first[0] for w in found.block_out_channels), "uneven widths"),
        (found.time_embedding_dim in (None, 4 * (first or (0,))[0]), "a time embedding of another width"),
    ):
        if not fits:
            raise UserError(f"unet/config.json describes a network with {part}, which there is not here")


def _default(found: Theirs) -> bool:
    return found.attn_norm_num_groups is None and found.resnet_time_scale_shift == "default"


def _groups(network: UNet) -> int:
    try:
        return number_of_groups(network)
    except ValueError as error:
        raise _refused(str(error), "train with model.backbone.conventions={groups: 8}, say") from None


def positions_of(noise: nn.Module) -> tuple[bool, float] | None:
    """Whether cosines come first, and the shift, of what they compute; None if the table is another."""
    if isinstance(noise, StepEmbedding):
        for first, shift in product((False, True), (0.0, 1.0)):
            if torch.equal(noise.table, step_features(*noise.table.shape, cosines_first=first, shift=shift)):
                return first, shift
    return None


def _head_width(config: UNetConfig) -> int | None:
    levels = {*config.attention_levels, len(config.widths) - 1}
    widths = {config.widths[level] // config.heads_at(level) for level in levels}
    if config.heads is None and config.head_width is None:
        return None
    if len(widths) > 1:
        raise _refused("attention of as many heads at every level", "train with model.backbone.head_width")
    return widths.pop()


def _refused(part: str, advice: str) -> UserError:
    return UserError(f"stock diffusers has no U-Net with {part}: {advice}")
