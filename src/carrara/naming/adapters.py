r"""Adapters (LoRA) of other programs' layers, as adapters of ours.

Where a weight of ours is k of theirs, one below the other, what is learned about these becomes one pair of factors,

.. math:: A = \begin{pmatrix} A_1 \\ \vdots \\ A_k \end{pmatrix}, \quad
    B = \operatorname{diag}(s_1 B_1, \dots, s_k B_k)                                                             (1)

with scales s; so B A is s_i B_i A_i in the rows of each, and zero where nothing is learned.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from carrara.backbone import Controlled, DiT, UNet
from carrara.conditioning import ClipEncoder, ClipText
from carrara.errors import UserError
from carrara.lora import unfit
from carrara.naming.clips import clip_names, told_names
from carrara.naming.compvis import compvis_place
from carrara.naming.dits import dit_place
from carrara.naming.names import Names
from carrara.naming.unets import unet_place
from carrara.nn.layers import modules_of
from carrara.nn.low_rank import Factors

CONDITION = "conditioner."
"""Before the names of layers that are not the network's, but its condition's."""
NETWORK = "unet_"
_PARTS = {
    "lora_unet_": NETWORK,
    "lora_te_": "text_encoder_",
    "lora_te1_": "text_encoder_",
    "lora_te2_": "text_encoder_2_",
    "transformer.": NETWORK,
    "diffusion_model.": NETWORK,
    "model.diffusion_model.": NETWORK,
    "unet.": NETWORK,
    "text_encoder.": "text_encoder_",
    "text_encoder_2.": "text_encoder_2_",
}
"""What names begin with, as kohya's, diffusers' and others' files have it; without any of it they are the network's."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a layer of theirs is here.

    Attributes:
        layer: of ours.
        part, parts: which of those it is that the layer's weight is made of, and how many these are.
        order: of ours, which row of theirs each is; None: the same.
    """

    layer: str
    part: int = 0
    parts: int = 1
    order: Tensor | None = None


def adopted(factors: Mapping[str, Factors], network: nn.Module, condition: nn.Module, file: str) -> dict[str, Factors]:
    """An adapter by our names of layers, whoever has named them; those of the condition begin with ``CONDITION``.

    Raises:
        UserError: it is for another network.
    """
    weights = dict(_weights(network, condition))
    if factors.keys() <= weights.keys():
        return dict(factors)
    places = dict(_places(network, condition))
    unet = network.network if isinstance(network, Controlled) else network
    blocks = unet.config.blocks if isinstance(unet, UNet) else None
    found = dict[str, dict[int, Factors]]()
    for name, one in factors.items():
        place = Place(layer=name) if name in weights else places.get(_key(name, blocks))
        if place is None:
            raise unfit(file, name)
        whole = weights[place.layer]
        shape = whole[0] // place.parts, *whole[1:]
        if (like := _like(one, shape)) is None:
            raise unfit(file, name, one.shape, shape)
        up = like.up if place.order is None else like.up[place.order]
        taken = found.setdefault(place.layer, {})
        if place.part in taken:
            raise UserError(f"the adapter '{file}' has two pairs of factors for '{name[:100]}': name another one")
        taken[place.part] = Factors(down=like.down, up=up, scale=like.scale)
    return {layer: _joined(parts, weights[layer]) for layer, parts in found.items()}


def _weights(network: nn.Module, condition: nn.Module) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The shapes of weights, by the names of layers."""
    for above, part in (("", network), (CONDITION, condition)):
        for name, layer in part.named_modules():
            weight = getattr(layer, "weight", None)
            if isinstance(weight, Tensor):
                yield above + name, tuple(weight.shape)


def _places(network: nn.Module, condition: nn.Module) -> Iterator[tuple[str, Place]]:
    """Where each layer of theirs is, by its name with underscores in the place of dots."""
    unet, above = (network.network, "network.") if isinstance(network, Controlled) else (network, "")
    if isinstance(unet, UNet):
        yield from _named(NETWORK, above, {name: unet_place(unet.config, name) for name in unet.state_dict()})
    if isinstance(network, DiT):  # each block of theirs has an embedding of its own
        inner = {name: dit_place(name) for name in network.state_dict() if not name.startswith("noise.")}
        yield from _named(NETWORK, "", inner)
        rows, patch = torch.arange(len(network.out.weight)), network.config.patch
        if len(rows) % patch**2 == 0:  # (row, column, channel) of a patch there, and (channel, row, column) here
            order = rows.unflatten(0, (patch, patch, -1)).movedim(2, 0).flatten()
            yield f"{NETWORK}proj_out_2", Place(layer="out", order=order)
    if isinstance(condition, ClipText):
        yield from _named(NETWORK, CONDITION, told_names(condition.state_dict()))
        for number, encoder in enumerate(modules_of(condition, ClipEncoder)):
            above = f"text_encoder_{number + 1}_" if number else "text_encoder_"
            for name, place in _named(above, f"{CONDITION}encoders.{number}.", clip_names(encoder.state_dict())):
                yield name, place
                yield name.replace("text_model_", "", 1), place  # as newer versions of transformers have it


def _named(theirs: str, ours: str, names: Names) -> Iterator[tuple[str, Place]]:
    """Of a table of names, with what stands before them."""
    for name, parts in names.items():
        if name.endswith(".weight"):
            for part, there in enumerate(parts):
                place = Place(layer=ours + name.removesuffix(".weight"), part=part, parts=len(parts))
                yield theirs + there.removesuffix(".weight").replace(".", "_"), place


def _key(name: str, blocks: int | None) -> str:
    """The name of a layer of theirs among ``_places``.

    Args:
        blocks: of each level of a U-Net, whose names may be CompVis's.
    """
    begins = next((begin for begin in _PARTS if name.startswith(begin)), "")
    above, inner = _PARTS.get(begins, NETWORK), name.removeprefix(begins).replace(".", "_")
    there = compvis_place(inner, blocks, "_") if above == NETWORK and blocks is not None else None
    return above + (there or inner)


def _like(one: Factors, shape: tuple[int, ...]) -> Factors | None:
    """Factors for a weight of a shape, if it is theirs, or if a kernel is a matrix of the same numbers."""
    if one.shape == shape:
        return one
    same = one.shape[0] == shape[0] and prod(one.shape[1:]) == prod(shape[1:])
    if not same or len(shape) < 2 or 2 not in (len(one.shape), len(shape)):
        return None
    up = one.up.reshape(*one.up.shape[:2], *(1,) * (len(shape) - 2))
    return Factors(down=one.down.reshape(one.rank, *shape[1:]), up=up, scale=one.scale)


def _joined(parts: Mapping[int, Factors], shape: tuple[int, ...]) -> Factors:
    """Equation (1)."""
    given = list(parts.values())
    if len(given) == 1 and given[0].shape == shape:
        return given[0]
    down = torch.cat([one.down for one in given])
    up = down.new_zeros(shape[0], len(down), *(1,) * (len(shape) - 2))
    first = 0
    for part, one in parts.items():
        rows = len(one.up)
        up[part * rows : (part + 1) * rows, first : first + one.rank] = one.scale * one.up
        first += one.rank
    return Factors(down=down, up=up, scale=1.0)
