r"""The KL autoencoder as diffusers' ``AutoencoderKL``, both ways.

Their pipelines scale latents by one number; ours have a mean m and a deviation s for each channel. They fold into the
two 1x1 convolutions at the latents,

.. math::
    D(m + s z') &= \text{W} (m + s z') + b = (W s) z' + (W m + b)                                                (1) \\
    (\mu, \ln \sigma^2) &\to ((\mu - m) / s, \; \ln \sigma^2 - 2 \ln s)                                          (2)

which changes bits, so what they were is written beside (``carrara.safetensors``). Where m is 0 and s one number, that
is their ``scaling_factor``, and nothing changes.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from carrara.autoencoder import Kl, KlConfig, Vq, VqConfig
from carrara.errors import UserError
from carrara.export.names import Names, number_of_groups, written

EPS = 1e-6
"""What all of their group norms add to the variance."""
FOLDED = ("to_raw.weight", "to_raw.bias", "from_latent.weight", "from_latent.bias", "mean", "std")
"""What (1) and (2) change."""
_PLACES = (
    (r"encoder\.levels\.(\d+)\.(\d+)\.(.+)", r"encoder.down_blocks.\1.resnets.\2.\3"),
    (r"encoder\.reduce\.(\d+)\.conv\.(.+)", r"encoder.down_blocks.\1.downsamplers.0.conv.\2"),
    (r"decoder\.levels\.(\d+)\.(\d+)\.(.+)", r"decoder.up_blocks.\1.resnets.\2.\3"),
    (r"decoder\.enlarge\.(\d+)\.conv\.(.+)", r"decoder.up_blocks.\1.upsamplers.0.conv.\2"),
    (r"(\w+)\.middle\.0\.(.+)", r"\1.mid_block.resnets.0.\2"),
    (r"(\w+)\.middle\.2\.(.+)", r"\1.mid_block.resnets.1.\2"),
    (r"(\w+)\.middle\.1\.norm\.(.+)", r"\1.mid_block.attentions.0.group_norm.\2"),
    (r"(\w+)\.middle\.1\.out\.(.+)", r"\1.mid_block.attentions.0.to_out.0.\2"),
    (r"(\w+)\.inp\.(.+)", r"\1.conv_in.\2"),
    (r"(\w+)\.norm\.(.+)", r"\1.conv_norm_out.\2"),
    (r"(\w+)\.out\.(.+)", r"\1.conv_out.\2"),
    (r"to_raw\.(.+)", r"quant_conv.\1"),
    (r"from_latent\.(.+)", r"post_quant_conv.\1"),
)


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """``config.json`` of an ``AutoencoderKL``, with their defaults."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 4
    norm_num_groups: int = 32
    sample_size: int | tuple[int, int] = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True


def theirs(stage: Kl, config: KlConfig, shape: tuple[int, ...]) -> Theirs:
    """The configuration of an autoencoder of pictures (C, H, W).

    Raises:
        UserError: it has no place there; which part, and what to do.
    """
    return replace(layers(stage, config, shape), scaling_factor=factor_of(stage) or 1.0)


def layers(stage: Kl | Vq, config: KlConfig | VqConfig, shape: tuple[int, ...]) -> Theirs:
    """The same of its layers alone, which are those of a VQ autoencoder, too.

    Raises:
        UserError: it has no place there; which part, and what to do.
    """
    try:
        groups = number_of_groups(stage)
    except ValueError as error:
        raise _refused(f"with {error}", "train with model.first_stage.groups=8, say") from None
    if config.group_eps != EPS:
        raise _refused("whose group norms add 1e-5 to the variance", "train with model.first_stage.eps=1e-6")
    if config.patch != 1:
        raise _refused(f"with patches of {config.patch} pixels", "train with model.first_stage.patch=1")
    if config.multipliers[0] != 1:
        raise _refused("whose first level is wider than its input", "begin model.first_stage.multipliers by 1")
    levels = len(config.widths)
    return Theirs(
        in_channels=shape[0],
        out_channels=shape[0],
        down_block_types=levels * ("DownEncoderBlock2D",),
        up_block_types=levels * ("UpDecoderBlock2D",),
        block_out_channels=config.widths,
        layers_per_block=config.blocks,
        latent_channels=config.latent_channels,
        norm_num_groups=groups,
        sample_size=max(shape[1:]),
    )


def ours(found: Theirs) -> KlConfig:
    """The configuration of an autoencoder of theirs.

    Raises:
        UserError: it has a part that there is not here.
    """
    widths, levels = found.block_out_channels, len(found.block_out_channels)
    for fits, part in (
        (found.down_block_types == levels * ("DownEncoderBlock2D",), f"blocks of {found.down_block_types}"),
        (found.up_block_types == levels * ("UpDecoderBlock2D",), f"blocks of {found.up_block_types} on the way up"),
        (found.act_fn in ("silu", "swish"), f"the activation {found.act_fn}"),
        (found.use_quant_conv and found.use_post_quant_conv, "no convolutions at the latents"),
        (found.mid_block_add_attention, "no attention in the middle"),
        (found.in_channels == found.out_channels, f"{found.in_channels} channels in and {found.out_channels} out"),
        (not (found.shift_factor or found.latents_mean or found.latents_std), "latents that are shifted"),
        (1e-6 < found.scaling_factor < 1e6, f"latents that are scaled by {found.scaling_factor}"),
        (bool(widths) and widths[0] > 0 and not any(width % widths[0] for width in widths), "uneven widths"),
    ):
        if not fits:
            raise UserError(f"vae/config.json describes an autoencoder with {part}, which there is not here")
    try:
        return KlConfig(
            channels=widths[0],
            multipliers=tuple(width // widths[0] for width in widths),
            blocks=found.layers_per_block,
            latent_channels=found.latent_channels,
            groups=found.norm_num_groups,
            eps=EPS,
        )
    except ValueError as error:
        raise UserError(f"vae/config.json describes no autoencoder that can be built here: {error}") from None


def names(state: Mapping[str, Tensor]) -> Names:
    """Where each tensor of a stage's state is in an ``AutoencoderKL``; m and s are nowhere."""
    return {name: _named(name) for name in state if name not in ("mean", "std")}


def folded(stage: Kl) -> dict[str, Tensor]:
    """The tensors under their names, after equations (1) and (2)."""
    state = {name: value.detach() for name, value in stage.state_dict().items()}
    if factor_of(stage) is None:
        m, s = stage.mean.double(), stage.std.double()
        weight, raw = state["from_latent.weight"].double(), state["to_raw.weight"].double()
        shift = torch.cat([m / s, 2 * s.log()])
        by = torch.cat([s, torch.ones_like(s)])
        state["from_latent.weight"] = (weight * s[None, :, None, None]).float()
        state["from_latent.bias"] = (state["from_latent.bias"].double() + weight[:, :, 0, 0] @ m).float()
        state["to_raw.weight"] = (raw / by[:, None, None, None]).float()
        state["to_raw.bias"] = (state["to_raw.bias"].double() / by - shift).float()
    return written(state, names(state))


def as_json(found: Theirs) -> dict[str, Any]:
    """The contents of ``config.json``."""
    return {"_class_name": "AutoencoderKL", **asdict(found)}


def factor_of(stage: Kl | Vq) -> float | None:
    """Their one number, if m is 0 and s one number: the shortest of those that are s again when they are read."""
    if not bool((stage.mean == 0).all()) or not bool((stage.std == stage.std[0]).all()):
        return None
    exact = 1 / stage.std[0].item()
    rounded = (float(f"{exact:.{digits}g}") for digits in range(4, 17))
    return next((one for one in rounded if bool(std_of(one) == stage.std[0])), exact)


def std_of(factor: float) -> Tensor:
    """s of their one number, ()."""
    return torch.ones(()) / factor


def _named(name: str) -> tuple[str, ...]:
    if ".qkv." in name:
        kind = name.rpartition(".")[2]
        return tuple(f"{name.split('.')[0]}.mid_block.attentions.0.{one}.{kind}" for one in ("to_q", "to_k", "to_v"))
    for pattern, place in _PLACES:
        if match := re.fullmatch(pattern, name):
            return (match.expand(place).replace(".skip.", ".conv_shortcut."),)
    raise AssertionError(name)


def _refused(part: str, advice: str) -> UserError:
    return UserError(f"stock diffusers has no autoencoder {part}: {advice}")
