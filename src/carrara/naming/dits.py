"""The diffusion transformer as diffusers calls its parts, ``DiTTransformer2DModel``."""

import re
from collections.abc import Mapping

from torch import Tensor

from carrara.naming.names import Names

EMBEDDING = "norm1.emb."
"""Below each block: what is one embedding here."""
_PLACES = (
    (r"noise\.layers\.0\.(.+)", rf"transformer_blocks.0.{EMBEDDING}timestep_embedder.linear_1.\1"),
    (r"noise\.layers\.2\.(.+)", rf"transformer_blocks.0.{EMBEDDING}timestep_embedder.linear_2.\1"),
    (r"inp\.(.+)", r"pos_embed.proj.\1"),
    (r"blocks\.(\d+)\.modulation\.(.+)", r"transformer_blocks.\1.norm1.linear.\2"),
    (r"blocks\.(\d+)\.to_itself\.q\.(.+)", r"transformer_blocks.\1.attn1.to_q.\2"),
    (r"blocks\.(\d+)\.to_itself\.out\.(.+)", r"transformer_blocks.\1.attn1.to_out.0.\2"),
    (r"blocks\.(\d+)\.feed_forward\.0\.(.+)", r"transformer_blocks.\1.ff.net.0.proj.\2"),
    (r"blocks\.(\d+)\.feed_forward\.2\.(.+)", r"transformer_blocks.\1.ff.net.2.\2"),
    (r"modulation\.(.+)", r"proj_out_1.\1"),
    (r"out\.(.+)", r"proj_out_2.\1"),
)


def dit_names(state: Mapping[str, Tensor]) -> Names:
    """Where each tensor of a network's state is there, in the first block what all of them have."""
    found = {name: dit_place(name) for name in state if name not in ("noise.levels", "noise.table")}
    assert all(found.values()), [name for name, there in found.items() if not there]
    return found


def dit_place(name: str) -> tuple[str, ...]:
    """The tensors there that one of a network is made of; none if it has no equal."""
    if match := re.fullmatch(r"blocks\.(\d+)\.to_itself\.kv\.(.+)", name):
        return tuple(f"transformer_blocks.{match[1]}.attn1.{one}.{match[2]}" for one in ("to_k", "to_v"))
    for pattern, there in _PLACES:
        if match := re.fullmatch(pattern, name):
            return (match.expand(there),)
    return ()
