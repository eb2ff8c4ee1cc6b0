"""A model's adapter (LoRA) under the names of stock diffusers, for its base exported by itself.

Where one weight of ours is several of theirs, one below the other, they share the factor A, and B is cut into rows.
The factor a / r is multiplied into B, so that alpha is the rank.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from carrara.backbone import DiT, UNet
from carrara.files import is_regular, make_folder, read_tensors, write_tensors
from carrara.lora import LOADED, WEIGHTS, read_adapter, write_adapter
from carrara.naming import Names, dit_names, unet_names
from carrara.nn.low_rank import Factors

FOLDER = "lora"
"""Where it is written."""
NETWORK = "diffusion_pytorch_model.safetensors"


def renamed(factors: Mapping[str, Factors], names: Names, theirs: Mapping[str, Tensor]) -> dict[str, Factors]:
    """Factors by the names of their layers.

    Args:
        names: which tensors of theirs each of ours is made of.
        theirs: these, as they are written: a linear layer of ours may be a kernel of a single place.
    """
    found = dict[str, Factors]()
    for layer, one in factors.items():
        parts = names[f"{layer}.weight"]
        for part, up in zip(parts, (one.scale * one.up).chunk(len(parts)), strict=True):
            ones = (1,) * (theirs[part].ndim - up.ndim)
            down, up = (x.reshape(*x.shape, *ones).contiguous().clone() for x in (one.down, up))
            found[part.removesuffix(".weight")] = Factors(down=down, up=up, scale=1.0)
    return found


def write_lora(model_folder: Path, out: Path, network: UNet | DiT, part: str) -> Iterator[str]:
    """Writes the adapter of a model's folder, if it has one, into ``lora/``, and says so.

    Args:
        part: the folder of the network, which is written already.
    """
    if not is_regular(model_folder / WEIGHTS):
        return
    state, learned = network.state_dict(), read_adapter(model_folder)
    if isinstance(network, DiT):  # other layers are in another order there
        names = {name: parts for name, parts in dit_names(state).items() if name.startswith("blocks.")}
    else:
        names = unet_names(network.config, state)
    if (other := next((layer for layer in learned if f"{layer}.weight" not in names), None)) is not None:
        yield f"what it has learned beside its base is merged alone: '{other}' has no equal layer there"
        return
    factors = renamed(learned, names, read_tensors(out / part / NETWORK))
    make_folder(out / FOLDER)
    write_adapter(out / FOLDER, factors, "")
    both = {
        f"unet.{name}.lora_{end}.weight": x
        for name, one in factors.items()
        for end, x in (("A", one.down), ("B", one.up))
    }
    write_tensors(out / FOLDER / LOADED, both)
    yield (
        f"what it has learned beside its base is in {FOLDER}/, too, for that base exported by itself: a Stable "
        "Diffusion loads it by load_lora_weights, any network by peft"
    )
