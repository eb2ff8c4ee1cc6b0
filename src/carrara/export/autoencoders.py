"""The autoencoder that a network of latents was trained with: a folder of diffusers, or a file of latent diffusion.

Such a file (Rombach et al., 2022) numbers its levels on the way up from the pixels, and diffusers from the latents, so
of L levels theirs is level L - 1 - i there; attention's layers are convolutions of single places.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from carrara.autoencoder import KlConfig, VqConfig
from carrara.autoencoder.convolutional import ConvolutionalConfig
from carrara.errors import UserError, option
from carrara.export import folders, kls
from carrara.export.names import Names, written
from carrara.export.names import read as renamed
from carrara.export.weights import Weights
from carrara.files import BadFile, as_safetensors, is_folder, is_regular

SIGNS = ("encoder.conv_in.weight", "decoder.conv_out.weight", "encoder.mid.block_1.conv1.weight")
ABOVE = "first_stage_model."
CODES = "quantize.embedding.weight"
PASSED_OVER = r"loss\.|model_ema\."
"""What its training has beside."""
SCALE = 0.18215
"""By which latents are multiplied, where nothing says it: Stable Diffusion's, and DiT's and SiT's own code has it."""
_PLACES = (
    (r"(encoder)\.down_blocks\.(\d+)\.resnets\.(\d+)\.(.+)", r"\1.down.\2.block.\3.\4"),
    (r"(encoder)\.down_blocks\.(\d+)\.downsamplers\.0\.(.+)", r"\1.down.\2.downsample.\3"),
    (r"(.+)\.mid_block\.resnets\.0\.(.+)", r"\1.mid.block_1.\2"),
    (r"(.+)\.mid_block\.resnets\.1\.(.+)", r"\1.mid.block_2.\2"),
    (r"(.+)\.mid_block\.attentions\.0\.group_norm\.(.+)", r"\1.mid.attn_1.norm.\2"),
    (r"(.+)\.mid_block\.attentions\.0\.to_([qkv])\.(.+)", r"\1.mid.attn_1.\2.\3"),
    (r"(.+)\.mid_block\.attentions\.0\.to_out\.0\.(.+)", r"\1.mid.attn_1.proj_out.\2"),
    (r"(.+)\.conv_norm_out\.(.+)", r"\1.norm_out.\2"),
)


@dataclass(frozen=True, kw_only=True)
class Autoencoder:
    """What was read.

    Attributes:
        config: as diffusers has it.
        tensors: by diffusers' names.
        codes: (K, C) of a codebook; None for one with a KL term.
    """

    config: kls.Theirs
    tensors: Mapping[str, Tensor]
    codes: Tensor | None = None

    @property
    def stage(self) -> KlConfig | VqConfig:
        """As here."""
        return stage_of(self.config, None if self.codes is None else len(self.codes))

    @property
    def size(self) -> int:
        """Numbers in the tensors, and as many as a codebook has beside its own."""
        return sum(one.numel() for one in self.tensors.values()) + 4 * (0 if self.codes is None else self.codes.numel())

    def give(self, stage: nn.Module) -> None:
        """Gives a model's first stage the weights."""
        state = stage.state_dict()
        taken = renamed(self.tensors, names(state))
        taken |= {"mean": torch.zeros_like(state["mean"])}
        taken |= {"std": torch.full_like(state["std"], 1 / self.config.scaling_factor)}
        if self.codes is not None:
            taken |= {"codebook.codes": self.codes, "codebook.sums": self.codes.clone()}
            taken |= {"codebook.counts": torch.ones_like(state["codebook.counts"])}
        stage.load_state_dict(taken)


def read(path: Path | None, whose: str) -> Autoencoder:
    """An autoencoder from a folder or a file.

    Args:
        whose: the network's, for messages.

    Raises:
        UserError: there is none, or it is none that can be here.
    """
    if path is None:
        raise UserError(
            f"{whose} makes latents, and the file has no autoencoder: name the folder or the file of the one that it "
            f"was trained with by {option('autoencoder')}"
        )
    if is_folder(path):
        return in_folder(path)
    if not is_regular(path):
        raise UserError(f"there is no autoencoder '{path}': name a folder of diffusers, or a file")
    with as_safetensors(path) as source:
        weights = Weights(path, source)
        found = weights.below(ABOVE) if f"{ABOVE}{SIGNS[0]}" in weights.shapes else weights.unwrapped(SIGNS)
        if any(sign not in found.shapes for sign in SIGNS):
            raise BadFile(path, "holds no autoencoder of latent diffusion", "name another, or a folder of diffusers")
        return in_file(found)


def in_folder(path: Path) -> Autoencoder:
    """That of a folder of diffusers, its own or its pipeline's.

    Raises:
        UserError: it is missing, damaged, or of another kind.
    """
    place = next((one for one in (path, path / "vae", path / "vqvae") if is_regular(one / "config.json")), None)
    if place is None:
        raise UserError(f"'{path}' is no folder of an autoencoder: there is no config.json in it")
    said = folders.read_mapping(place / "config.json").get("_class_name")
    if said != "AutoencoderKL":
        raise BadFile(place / "config.json", f"is of a '{str(said)[:100]}', and an AutoencoderKL is due")
    config = folders.read_config(place / "config.json", kls.Theirs)
    tensors = folders.read_weights(folders.weight_files(place), _like(kls.ours(config), config), folders.current)
    return Autoencoder(config=config, tensors=tensors)


def in_file(weights: Weights, scale: float = SCALE) -> Autoencoder:
    """That of a file of latent diffusion.

    Raises:
        UserError: it is not whole, or of another kind.
    """
    config = look(weights, scale)
    shape = weights.shapes.get(CODES)
    like = _like(stage_of(config, shape[0] if shape else None), config)
    levels = len(config.block_out_channels)
    places = {name: place(name, levels) for name in like}
    wanted = {places[name]: _convolved(name, shape) for name, shape in like.items()}
    if shape is not None:
        wanted[CODES] = (shape[0] if shape else 0, config.latent_channels)
    weights.check_rest(list(wanted), PASSED_OVER)
    found = weights.read(wanted)
    tensors = {name: found[places[name]].reshape(like[name]) for name in like}
    return Autoencoder(config=config, tensors=tensors, codes=found.get(CODES))


def look(weights: Weights, scale: float) -> kls.Theirs:
    """What the weights say of the autoencoder.

    Raises:
        BadFile: it is not whole.
    """
    shapes = weights.shapes
    levels = len({name.split(".")[2] for name in shapes if name.startswith("encoder.down.")})
    blocks = len({name.split(".")[4] for name in shapes if name.startswith("encoder.down.0.block.")})
    try:
        widths = tuple(shapes[f"encoder.down.{level}.block.0.conv2.weight"][0] for level in range(levels))
        latents, channels = shapes["post_quant_conv.weight"][1], shapes["encoder.conv_in.weight"][1]
    except (KeyError, IndexError) as error:
        raise BadFile(weights.path, f"holds an autoencoder that is not whole ({error} is missing)") from None
    return kls.Theirs(
        in_channels=channels,
        out_channels=channels,
        down_block_types=levels * ("DownEncoderBlock2D",),
        up_block_types=levels * ("UpDecoderBlock2D",),
        block_out_channels=widths,
        layers_per_block=blocks,
        latent_channels=latents,
        scaling_factor=scale,
    )


def place(name: str, levels: int) -> str:
    """Where a tensor of diffusers' is in such a file."""
    name = name.replace(".conv_shortcut.", ".nin_shortcut.")
    if match := re.fullmatch(r"decoder\.up_blocks\.(\d+)\.(.+)", name):
        inner = match[2].replace("resnets.", "block.").replace("upsamplers.0.", "upsample.")
        return f"decoder.up.{levels - 1 - int(match[1])}.{inner}"
    for pattern, there in _PLACES:
        if match := re.fullmatch(pattern, name):
            return match.expand(there)
    return name


def names(state: Mapping[str, Tensor]) -> Names:
    """Where each tensor of a stage's state is in diffusers' tensors; those of a codebook are nowhere."""
    return kls.names({name: value for name, value in state.items() if not name.startswith("codebook.")})


def stage_of(config: kls.Theirs, codes: int | None) -> KlConfig | VqConfig:
    """The configuration here.

    Args:
        codes: K of a codebook; None for an autoencoder with a KL term.

    Raises:
        UserError: there is none.
    """
    kl = kls.ours(config)
    if codes is None:
        return kl
    try:
        return VqConfig(codes=codes, **{field.name: getattr(kl, field.name) for field in fields(ConvolutionalConfig)})
    except ValueError as error:
        raise UserError(f"the file describes no autoencoder that can be built here: {error}") from None


def _like(stage: KlConfig | VqConfig, config: kls.Theirs) -> dict[str, tuple[int, ...]]:
    """Names and shapes of diffusers' tensors."""
    with torch.device("meta"):
        state = stage.build((config.in_channels, 2 * stage.factor, 2 * stage.factor)).state_dict()
    return {name: tuple(value.shape) for name, value in written(state, names(state)).items()}


def _convolved(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1, 1) if ".attentions.0.to_" in name and name.endswith("weight") else shape
