"""What other programs call the parts of our networks: tables of names, of weights and of adapters.

A weight of ours is one of theirs, or several of theirs, one below the other: queries, keys and values are one matrix
here, and three there. ``export`` writes and reads whole models by these tables, and ``--lora`` reads adapters by them.
"""

from carrara.naming.adapters import CONDITION, adopted
from carrara.naming.clips import clip_names, told_names
from carrara.naming.compvis import compvis_place
from carrara.naming.dits import EMBEDDING, dit_names
from carrara.naming.names import Names
from carrara.naming.unets import unet_names

__all__ = [
    "CONDITION",
    "EMBEDDING",
    "Names",
    "adopted",
    "clip_names",
    "compvis_place",
    "dit_names",
    "told_names",
    "unet_names",
]
