"""The U-Net that looks at tokens as diffusers' ``UNet2DConditionModel``: its configuration, both ways. The names of its
weights are in ``carrara.naming``.

Two spellings have the same meaning there: a number of heads (``attention_head_dim``, a name that stayed) goes with
projections that are 1x1 convolutions, as in Stable Diffusion 1, and a width of heads with matrices, as in 2 and XL.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from carrara.backbone import Conventions, UNet, UNetConfig
from carrara.errors import UserError
from carrara.export.names import number_of_groups
from carrara.export.unets import positions_of
from carrara.nn import SpatialTransformer, StepEmbedding
from carrara.nn.layers import modules_of

SEEN, PLAIN, MIDDLE = "CrossAttn{}Block2D", "{}Block2D", "UNetMidBlock2DCrossAttn"


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """``config.json`` of a ``UNet2DConditionModel``, with their defaults."""

    sample_size: int | tuple[int, int] | None = None
    in_channels: int = 4
    out_channels: int = 4
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0
    down_block_types: tuple[str, ...] = (*3 * (SEEN.format("Down"),), PLAIN.format("Down"))
    mid_block_type: str | None = MIDDLE
    up_block_types: tuple[str, ...] = (PLAIN.format("Up"), *3 * (SEEN.format("Up"),))
    only_cross_attention: bool | tuple[bool, ...] = False
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int | tuple[int, ...] = 2
    downsample_padding: int = 1
    mid_block_scale_factor: float = 1.0
    dropout: float = 0.0
    act_fn: str = "silu"
    norm_num_groups: int | None = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int | tuple[int, ...] = 1280
    transformer_layers_per_block: int | tuple[int, ...] = 1
    reverse_transformer_layers_per_block: tuple[int, ...] | None = None
    encoder_hid_dim: int | None = None
    encoder_hid_dim_type: str | None = None
    attention_head_dim: int | tuple[int, ...] = 8
    num_attention_heads: int | None = None
    dual_cross_attention: bool = False
    use_linear_projection: bool = False
    class_embed_type: str | None = None
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    num_class_embeds: int | None = None
    upcast_attention: bool | None = False
    resnet_time_scale_shift: str = "default"
    resnet_skip_time_act: bool = False
    resnet_out_scale_factor: float = 1.0
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    time_embedding_act_fn: str | None = None
    timestep_post_act: str | None = None
    time_cond_proj_dim: int | None = None
    conv_in_kernel: int = 3
    conv_out_kernel: int = 3
    projection_class_embeddings_input_dim: int | None = None
    attention_type: str = "default"
    class_embeddings_concat: bool = False
    mid_block_only_cross_attention: bool | None = None
    cross_attention_norm: str | None = None
    addition_embed_type_num_heads: int = 64


UNSEEN = (
    "center_input_sample",
    "only_cross_attention",
    "mid_block_scale_factor",
    "reverse_transformer_layers_per_block",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "num_attention_heads",
    "dual_cross_attention",
    "class_embed_type",
    "num_class_embeds",
    "resnet_skip_time_act",
    "resnet_out_scale_factor",
    "time_embedding_type",
    "time_embedding_act_fn",
    "timestep_post_act",
    "time_cond_proj_dim",
    "conv_in_kernel",
    "conv_out_kernel",
    "attention_type",
    "class_embeddings_concat",
    "mid_block_only_cross_attention",
    "cross_attention_norm",
)
"""What must be as it is by default."""


def ours(found: Theirs, steps: int) -> UNetConfig:
    """The configuration of a network of theirs.

    Args:
        steps: T of its scheduler.

    Raises:
        UserError: it has a part that there is not here.
    """
    check_theirs(found)
    widths = found.block_out_channels
    seen = [kind == SEEN.format("Down") for kind in found.down_block_types]
    depths = _each(found.transformer_layers_per_block, len(widths), "transformer_layers_per_block")
    heads = _each(found.attention_head_dim, len(widths), "attention_head_dim")
    if min(*heads, *widths) < 1 or any(width % number for width, number in zip(widths, heads, strict=True)):
        raise _foreign(f"{heads} heads of attention at levels of {widths} channels")
    head_widths = {width // number for width, number in zip(widths, heads, strict=True)}
    by_width = len(head_widths) == 1 and not (isinstance(found.attention_head_dim, int) and len(set(widths)) > 1)
    if not by_width and len(set(heads)) > 1:
        raise _foreign("attention of neither as many heads nor as wide ones at every level")
    try:
        return UNetConfig(
            channels=widths[0],
            multipliers=tuple(width // widths[0] for width in widths),
            blocks=_one(found.layers_per_block, "layers_per_block"),
            attention_levels=tuple(level for level, one in enumerate(seen) if one),
            transformer_depths=tuple(
                depth if one or level == len(widths) - 1 else 0
                for level, (depth, one) in enumerate(zip(depths, seen, strict=True))
            ),
            heads=None if by_width else heads[0],
            head_width=head_widths.pop() if by_width else None,
            context_width=_one(found.cross_attention_dim, "cross_attention_dim"),
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


def theirs(network: UNet, shape: tuple[int, ...], told: int | None, numbers: int | None) -> Theirs:
    """The configuration of a network for latents (C, H, W).

    Args:
        told: how many numbers its vector is made of, beside the text; None if it is told none.
        numbers: sines and cosines of each.

    Raises:
        UserError: it has no place there; which part, and what to do.
    """
    config = network.config
    _check_ours(network)
    seen = [level in config.attention_levels for level in range(len(config.widths))]
    positions = positions_of(network.noise)
    assert positions is not None
    depths = tuple(max(1, depth) for depth in config.transformer_depths)
    return Theirs(
        sample_size=shape[1] if shape[1] == shape[2] else (shape[1], shape[2]),
        in_channels=shape[0],
        out_channels=shape[0],
        flip_sin_to_cos=positions[0],
        freq_shift=positions[1],
        down_block_types=tuple((SEEN if one else PLAIN).format("Down") for one in seen),
        up_block_types=tuple((SEEN if one else PLAIN).format("Up") for one in reversed(seen)),
        block_out_channels=config.widths,
        layers_per_block=config.blocks,
        downsample_padding=1 if config.others.halving == "centred" else 0,
        dropout=config.dropout,
        norm_num_groups=number_of_groups(network),
        norm_eps=config.others.eps,
        cross_attention_dim=config.context_width or 0,
        transformer_layers_per_block=depths[0] if len(set(depths)) == 1 else depths,
        attention_head_dim=config.heads or tuple(config.heads_at(level) for level in range(len(config.widths))),
        use_linear_projection=config.heads is None,
        addition_embed_type=None if told is None else "text_time",
        addition_time_embed_dim=numbers,
        projection_class_embeddings_input_dim=told,
        resnet_time_scale_shift="scale_shift" if config.modulation == "scale_shift" else "default",
    )


def as_json(found: Theirs) -> dict[str, Any]:
    """The contents of ``config.json``."""
    return {"_class_name": "UNet2DConditionModel", **asdict(found)}


def kernels(tensors: Mapping[str, Tensor], found: Theirs) -> dict[str, Tensor]:
    """The tensors as their network has them, whose projections may be 1x1 convolutions."""
    if found.use_linear_projection:
        return dict(tensors)
    ends = (".proj_in.weight", ".proj_out.weight")
    return {name: one[:, :, None, None] if name.endswith(ends) else one for name, one in tensors.items()}


def check_theirs(found: Theirs) -> None:
    """Refuses a network with a part that there is not here.

    Raises:
        UserError: which.
    """
    usual, depth, first = Theirs(), len(found.block_out_channels), found.block_out_channels[:1]
    for name in UNSEEN:
        if (value := getattr(found, name)) not in (getattr(usual, name), None):
            raise _foreign(f"{name} {value}")
    ups = tuple(kind.replace("Down", "Up") for kind in reversed(found.down_block_types))
    for fits, part in (
        (
            set(found.down_block_types) <= {SEEN.format("Down"), PLAIN.format("Down")},
            f"blocks of {found.down_block_types}",
        ),
        (found.up_block_types == ups and len(ups) == depth, f"blocks of {found.up_block_types} on the way up"),
        (found.mid_block_type == MIDDLE, "no middle with attention"),
        (found.act_fn in ("silu", "swish"), f"the activation {found.act_fn}"),
        (found.downsample_padding in (0, 1), f"a padding of {found.downsample_padding}"),
        (found.resnet_time_scale_shift in ("default", "scale_shift"), f"'{found.resnet_time_scale_shift}' blocks"),
        (0 <= found.freq_shift <= 1, f"rates that are shifted by {found.freq_shift}"),
        (found.in_channels == found.out_channels, f"{found.in_channels} channels in and {found.out_channels} out"),
        (found.addition_embed_type in (None, "text_time"), f"addition_embed_type '{found.addition_embed_type}'"),
        (
            found.addition_embed_type is None or (found.flip_sin_to_cos and found.freq_shift == 0),
            "sizes whose sines come first",
        ),
        (bool(first) and first[0] > 0 and not any(w % first[0] for w in found.block_out_channels), "uneven widths"),
        (found.time_embedding_dim in (None, 4 * (first or (0,))[0]), "a time embedding of another width"),
    ):
        if not fits:
            raise _foreign(part)


def _check_ours(network: UNet) -> None:
    config = network.config
    attends = {*config.attention_levels, len(config.widths) - 1}
    positions = positions_of(network.noise) if isinstance(network.noise, StepEmbedding) else None
    try:
        number_of_groups(network)
    except ValueError as error:
        raise _refused(str(error), "train with model.backbone.conventions={groups: 32, timesteps: 1000}") from None
    for fits, part, advice in (
        (positions is not None, "half log-SNRs for times", "model.backbone.conventions={groups: 32, timesteps: 1000}"),
        (config.modulation != "context", "the modulation 'context'", "model.backbone.modulation=shift"),
        (config.patch == 1, f"patches of {config.patch} pixels", "model.backbone.patch=1"),
        (config.multipliers[0] == 1, "a first level that is wider", "model.backbone.multipliers that begin with 1"),
        (
            all(config.transformer_depth(level) for level in attends),
            "attention that does not look at the text",
            "model.backbone.transformer_depths of 1 or more where there is attention",
        ),
        (
            all(one.norm.eps == 1e-6 for one in modules_of(network, SpatialTransformer)),
            "other group norms before its transformers",
            "model.backbone.conventions={groups: 32, timesteps: 1000}",
        ),
    ):
        if not fits:
            raise _refused(part, f"train with {advice}")


def _each(value: int | Sequence[int], count: int, name: str) -> tuple[int, ...]:
    found = count * (value,) if isinstance(value, int) else tuple(value)
    if len(found) != count:
        raise _foreign(f"{len(found)} numbers as {name}, and {count} levels")
    return found


def _one(value: int | Sequence[int], name: str) -> int:
    found = {value} if isinstance(value, int) else {*value}
    if len(found) != 1:
        raise _foreign(f"{name} that differ from level to level")
    return found.pop()


def _foreign(part: str) -> UserError:
    return UserError(f"unet/config.json describes a network with {part}, which there is not here")


def _refused(part: str, advice: str) -> UserError:
    return UserError(f"stock diffusers has no U-Net of texts with {part}: {advice}")
