"""What reads the texts, as others call its parts: CLIP's text encoders as the package transformers does, and the
vector that a network is told as diffusers does."""

import re
from collections.abc import Mapping

from torch import Tensor

from carrara.naming.names import Names

_PLACES = (
    (r"tokens", r"embeddings.token_embedding.weight"),
    (r"places", r"embeddings.position_embedding.weight"),
    (r"layers\.(\d+)\.norm([12])\.(.+)", r"encoder.layers.\1.layer_norm\2.\3"),
    (r"layers\.(\d+)\.out\.(.+)", r"encoder.layers.\1.self_attn.out_proj.\2"),
    (r"layers\.(\d+)\.(fc[12])\.(.+)", r"encoder.layers.\1.mlp.\2.\3"),
    (r"norm\.(.+)", r"final_layer_norm.\1"),
)
_TOLD = {"told.0": "add_embedding.linear_1", "told.2": "add_embedding.linear_2"}


def clip_names(state: Mapping[str, Tensor]) -> Names:
    """Where each tensor of an encoder's state is in theirs; the tokenizer is nowhere."""
    return {name: _place(name) for name in state if name != "tokenizer"}


def told_names(state: Mapping[str, Tensor]) -> Names:
    """Where the tensors of the vector's layers are in a network of theirs, of those of a ``ClipText``."""
    found = {name: name.rpartition(".") for name in state if name.startswith("told.")}
    return {name: (f"{_TOLD[layer]}.{kind}",) for name, (layer, _, kind) in found.items()}


def _place(name: str) -> tuple[str, ...]:
    if name == "projection.weight":
        return ("text_projection.weight",)
    if match := re.fullmatch(r"layers\.(\d+)\.qkv\.(.+)", name):
        return tuple(f"text_model.encoder.layers.{match[1]}.self_attn.{one}_proj.{match[2]}" for one in "qkv")
    for pattern, there in _PLACES:
        if match := re.fullmatch(pattern, name):
            return (f"text_model.{match.expand(there)}",)
    raise AssertionError(name)
