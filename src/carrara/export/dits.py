r"""The diffusion transformer as diffusers' ``DiTTransformer2DModel``, both ways.

Patches are cut by a convolution there, so its kernel is our matrix in another shape; the rows of the last layer are in
the order (row, column, channel) of a patch, and here (channel, row, column). Each of their blocks has a copy of the
embedding of step and class. Their classes are 1000, and row 1000 is what is said of none, in their pipeline as a fixed
number; rows that are no class here are zero.

What they are told is the number of a step, by 256 sines and cosines and a layer as wide as the network, which cannot
give what the half log-SNR gives here. So such a network has to be told steps here, too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from carrara.backbone import DiT, DiTConfig
from carrara.errors import UserError
from carrara.export.names import read, written
from carrara.export.unets import positions_of
from carrara.naming import EMBEDDING, dit_names

CLASSES = 1000
"""The row of what is said of none, in their pipeline."""
TABLE = EMBEDDING + "class_embedder.embedding_table.weight"


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """``config.json`` of a ``DiTTransformer2DModel``, with their defaults; and what older ones say besides."""

    num_attention_heads: int = 16
    attention_head_dim: int = 72
    in_channels: int = 4
    out_channels: int | None = None
    num_layers: int = 28
    dropout: float = 0.0
    norm_num_groups: int = 32
    attention_bias: bool = True
    sample_size: int = 32
    patch_size: int = 2
    activation_fn: str = "gelu-approximate"
    num_embeds_ada_norm: int | None = 1000
    upcast_attention: bool = False
    norm_type: str = "ada_norm_zero"
    norm_elementwise_affine: bool = False
    norm_eps: float = 1e-5
    cross_attention_dim: int | None = None
    double_self_attention: bool = False
    num_vector_embeds: int | None = None
    only_cross_attention: bool = False
    use_linear_projection: bool = False


STALE = ("cross_attention_dim", "double_self_attention", "num_vector_embeds", "only_cross_attention")
"""Of ``Theirs``, what only older ones say."""


def theirs(network: DiT, shape: tuple[int, ...], answers: int) -> Theirs:
    """The configuration of a network for latents (C, h, w).

    Raises:
        UserError: it has no place there; which part, and what to do.
    """
    config = network.config
    for fits, part, advice in (
        (config.positions == "sincos", "positions that are rotary", "train with model.backbone.positions=sincos"),
        (not config.qk_norm, "normalised queries and keys", "train with model.backbone.qk_norm=false"),
        (config.context_width is None, "tokens that it looks at", "train it on classes"),
        (shape[1] == shape[2], "latents that are not square", "train on square pictures"),
        (shape[1] % config.patch == 0, "patches that do not divide the latents", "take another patch"),
        (positions_of(network.noise) == (True, 1), "half log-SNRs", "train with model.backbone.timesteps=1000"),
    ):
        if not fits:
            raise UserError(f"stock diffusers has no transformer with {part}: {advice}")
    return Theirs(
        num_attention_heads=config.heads,
        attention_head_dim=config.head_width,
        in_channels=shape[0],
        out_channels=answers * shape[0],
        num_layers=config.depth,
        sample_size=shape[1],
        patch_size=config.patch,
        num_embeds_ada_norm=CLASSES,
        norm_eps=1e-6 if config.eps is None else config.eps,
    )


def ours(found: Theirs, steps: int) -> DiTConfig:
    """The configuration of a network of theirs.

    Raises:
        UserError: it has a part that there is not here.
    """
    for fits, part in (
        (found.activation_fn == "gelu-approximate", f"the activation {found.activation_fn}"),
        (found.norm_type == "ada_norm_zero", f"norms that are '{found.norm_type}'"),
        (found.attention_bias and not found.norm_elementwise_affine, "attention without biases, or affine norms"),
        (not found.cross_attention_dim and not found.num_vector_embeds, "tokens that it looks at"),
        (not found.double_self_attention and not found.only_cross_attention, "other attention"),
        (found.out_channels in (None, found.in_channels, 2 * found.in_channels), f"{found.out_channels} channels out"),
        (found.num_embeds_ada_norm is not None and 0 < found.num_embeds_ada_norm <= 1 << 20, "no table of classes"),
    ):
        if not fits:
            raise UserError(f"transformer/config.json describes a network with {part}, which there is not here")
    try:
        return DiTConfig(
            width=found.num_attention_heads * found.attention_head_dim,
            depth=found.num_layers,
            heads=found.num_attention_heads,
            patch=found.patch_size,
            timesteps=steps,
            eps=found.norm_eps,
        )
    except ValueError as error:
        raise UserError(f"transformer/config.json describes no network that can be built here: {error}") from None


def tensors(network: DiT, table: Tensor) -> dict[str, Tensor]:
    """The tensors under their names.

    Args:
        table: (1001, D) the vectors of classes, and of none.
    """
    config = network.config
    state = {name: value.detach() for name, value in network.state_dict().items()}
    state["inp.weight"] = state["inp.weight"].unflatten(1, (-1, config.patch, config.patch))
    for name in ("out.weight", "out.bias"):
        state[name] = _turned(state[name], config.patch, (1, 2, 0))
    found = written(state, dit_names(state))
    first = {name: value for name, value in found.items() if EMBEDDING in name} | {
        f"transformer_blocks.0.{TABLE}": table
    }
    for block in range(config.depth):
        found |= {name.replace(".0.", f".{block}.", 1): value.clone() for name, value in first.items()}
    return found


def state_of(network: DiT, found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Our tensors, but for the table of steps; and the table of classes.

    Raises:
        UserError: their blocks have embeddings of their own.
    """
    patch = network.config.patch
    for name, value in found.items():
        if EMBEDDING in name and not torch.equal(value, found[re.sub(r"blocks\.\d+", "blocks.0", name)]):
            raise UserError(f"'{name}' is not as in the first block, and there is one embedding for all of them here")
    state = read(found, dit_names(network.state_dict()))
    state["inp.weight"] = state["inp.weight"].flatten(1)
    for name in ("out.weight", "out.bias"):
        rows = state[name].unflatten(0, (patch, patch, -1))
        state[name] = rows.movedim(2, 0).flatten(0, 2).contiguous()
    return state, found[f"transformer_blocks.0.{TABLE}"]


def table_of(classes: Sequence[Tensor], nothing: Tensor) -> Tensor:
    """The vectors (D,) of classes and of none as their table, (1001, D).

    Raises:
        UserError: there are more classes than rows.
    """
    if len(classes) > CLASSES:
        raise UserError(
            f"stock diffusers has transformers of at most {CLASSES} classes, and this one has {len(classes)}"
        )
    table = nothing.new_zeros(CLASSES + 1, len(nothing))
    for row, vector in enumerate(classes):
        table[row] = vector
    table[CLASSES] = nothing
    return table


def as_json(found: Theirs) -> dict[str, Any]:
    """The contents of ``config.json``."""
    kept = {name: value for name, value in asdict(found).items() if name not in (*STALE, "use_linear_projection")}
    return {"_class_name": "DiTTransformer2DModel", **kept}


def _turned(rows: Tensor, patch: int, order: tuple[int, int, int]) -> Tensor:
    parts = rows.unflatten(0, (-1, patch, patch))
    return parts.permute(*order, *range(3, parts.ndim)).flatten(0, 2).contiguous()
