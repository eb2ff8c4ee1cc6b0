r"""The VQ autoencoder as diffusers' ``VQModel``, both ways; the names of its layers are those of the KL one.

Their pipelines quantize latents that are scaled by one number. Ours are z = m + s z', and the nearest code of z is that
of z' among

.. math:: e' = (e - m) / s                                                                                       (1)

if s is one number for all channels; if not, distances are others, and there is no such codebook. Where m is 0 as well,
1 / s is their ``scaling_factor`` and nothing changes; else what was changed is written beside, and so is how often
codes were chosen, which nobody needs there.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from carrara.autoencoder import Vq, VqConfig
from carrara.errors import UserError
from carrara.export import kls
from carrara.export.names import Names, written

KEPT = (*kls.FOLDED, "codebook.codes", "codebook.counts", "codebook.sums")
"""What (1) changes, and what is not written there."""


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """``config.json`` of a ``VQModel``, with their defaults."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 3
    sample_size: int = 32
    num_vq_embeddings: int = 256
    norm_num_groups: int = 32
    vq_embed_dim: int | None = None
    scaling_factor: float = 0.18215
    norm_type: str = "group"
    mid_block_add_attention: bool = True
    lookup_from_codebook: bool = False
    force_upcast: bool = False


def theirs(stage: Vq, config: VqConfig, shape: tuple[int, ...]) -> Theirs:
    """The configuration of an autoencoder of pictures (C, H, W).

    Raises:
        UserError: it has no place there; which part, and what to do.
    """
    if not bool((stage.std == stage.std[0]).all()):
        raise UserError(
            "stock diffusers has no VQ autoencoder whose latents have another deviation in each channel, as this one's "
            "have: nearest codes would be others, so train with model.first_stage={kind: kl, groups: 8, eps: 1.0e-06}"
        )
    found = kls.layers(stage, config, shape)
    return Theirs(
        in_channels=shape[0],
        out_channels=shape[0],
        down_block_types=found.down_block_types,
        up_block_types=found.up_block_types,
        block_out_channels=found.block_out_channels,
        layers_per_block=found.layers_per_block,
        latent_channels=config.latent_channels,
        sample_size=max(shape[1:]),
        num_vq_embeddings=config.codes,
        norm_num_groups=found.norm_num_groups,
        vq_embed_dim=config.latent_channels,
        scaling_factor=kls.factor_of(stage) or 1.0,
    )


def ours(found: Theirs) -> VqConfig:
    """The configuration of an autoencoder of theirs.

    Raises:
        UserError: it has a part that there is not here.
    """
    for fits, part in (
        (found.norm_type == "group", f"norms of the type {found.norm_type}"),
        (found.vq_embed_dim in (None, found.latent_channels), f"codes of {found.vq_embed_dim} numbers"),
        (not found.lookup_from_codebook, "codes in the place of latents"),
    ):
        if not fits:
            raise UserError(f"vqvae/config.json describes an autoencoder with {part}, which there is not here")
    known = {name: value for name, value in asdict(found).items() if name in kls.Theirs.__dataclass_fields__}
    layers = kls.ours(kls.Theirs(**known))
    try:
        return VqConfig(
            channels=layers.channels,
            multipliers=layers.multipliers,
            blocks=layers.blocks,
            latent_channels=layers.latent_channels,
            groups=layers.groups,
            eps=layers.eps,
            codes=found.num_vq_embeddings,
        )
    except ValueError as error:
        raise UserError(f"vqvae/config.json describes no autoencoder that can be built here: {error}") from None


def names(state: Mapping[str, Tensor]) -> Names:
    """Where each tensor of a stage's state is in a ``VQModel``; m, s and how often codes were chosen are nowhere."""
    layers = {name: one for name, one in state.items() if not name.startswith("codebook.")}
    return {**kls.names(layers), "codebook.codes": ("quantize.embedding.weight",)}


def folded(stage: Vq) -> dict[str, Tensor]:
    """The tensors under their names, after equation (1)."""
    state = {name: value.detach() for name, value in stage.state_dict().items()}
    if kls.factor_of(stage) is None:
        m, s = stage.mean.double(), stage.std[0].double()
        weight = state["from_latent.weight"].double()
        state["codebook.codes"] = ((state["codebook.codes"].double() - m) / s).float()
        state["from_latent.bias"] = (state["from_latent.bias"].double() + weight[:, :, 0, 0] @ m).float()
        state["from_latent.weight"] = (weight * s).float()
        state["to_raw.weight"] = (state["to_raw.weight"].double() / s).float()
        state["to_raw.bias"] = ((state["to_raw.bias"].double() - m) / s).float()
    return written(state, names(state))


def chosen(codes: Tensor) -> dict[str, Tensor]:
    """How often codes were chosen, where nobody knows: once each."""
    return {"codebook.counts": torch.ones(len(codes)), "codebook.sums": codes}


def as_json(found: Theirs) -> dict[str, Any]:
    """The contents of ``config.json``."""
    return {"_class_name": "VQModel", **asdict(found)}
