r"""Stable Diffusion in one file (Rombach et al., 2022; Podell et al., 2023), as a folder of diffusers.

The network's blocks stand in one row on the way down and in one on the way up, see ``guided``, and there by levels; see
``carrara.naming`` for their names. Weights do not say what the network predicts, nor for which size
it is; how many heads it has is v1's 8, or what gives them 64 channels.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from carrara.errors import known
from carrara.export import autoencoders, folders, importing, kls, openclip
from carrara.export.guided import Rows
from carrara.export.latent import AVERAGE, UNET, scale_of, schedule_of
from carrara.export.weights import Weights
from carrara.files import BadFile, delete
from carrara.naming import compvis_place
from carrara.noise import ScaledLinear

SIGNS = (
    f"{UNET}input_blocks.0.0.weight",
    f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight",
    f"{autoencoders.ABOVE}{autoencoders.SIGNS[0]}",
)
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
HEADS, HEAD_WIDTH = 8, 64
SCALE_XL = 0.13025
BETAS = (0.00085, 0.012)


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a file is taken for.

    Attributes:
        name: of the version.
        encoders: where its text encoders are, and whether they are OpenCLIP's.
        prediction, size: of the network.
        scale: by which latents are multiplied.
    """

    name: str
    encoders: tuple[tuple[str, bool], ...]
    prediction: str = "eps"
    size: int = 512
    scale: float = autoencoders.SCALE


VERSIONS = (
    Version(
        name="Stable Diffusion XL",
        encoders=(("conditioner.embedders.0.transformer.", False), ("conditioner.embedders.1.model.", True)),
        size=1024,
        scale=SCALE_XL,
    ),
    Version(name="Stable Diffusion v2", encoders=(("cond_stage_model.model.", True),), prediction="v", size=768),
    Version(name="Stable Diffusion v1", encoders=(("cond_stage_model.transformer.", False),)),
)


def read(
    weights: Weights,
    out: Path,
    *,
    tokenizer: Path | None = None,
    heads: int | None = None,
    head_width: int | None = None,
    prediction: str | None = None,
    size: int | None = None,
) -> Iterator[str]:
    """Makes the model's folder ``out``, by way of a folder of diffusers beside it, and yields sentences.

    Raises:
        UserError: the file is none of Stable Diffusion's, or an option means nothing or is missing.
    """
    version = version_of(weights)
    words = openclip.vocabulary(tokenizer, version.name)
    predicted = known("prediction", prediction or version.prediction, PREDICTIONS)
    if size is None:
        size = 512 if version.prediction == "v" and predicted != "v" else version.size
    weights = weights.averaged(UNET, AVERAGE)
    if heads is None and head_width is None:
        heads, head_width = (HEADS, None) if version is VERSIONS[-1] else (None, HEAD_WIDTH)
    divided = f"{heads} heads" if heads else f"heads of width {head_width}"
    copy = ", the moving average of its network" if weights.average else ""
    yield (
        f"it is {version.name}{copy}, and taken for one of {size}x{size} pixels, {divided}, and the prediction "
        f"{predicted}, where no option says otherwise: the weights do not say it"
    )
    folder = out.parent / "parts"
    try:
        write(weights, folder, replace(version, prediction=predicted, size=size), words, (heads, head_width))
        yield from importing.read(folder, out)
    finally:
        delete(folder)


def version_of(weights: Weights) -> Version:
    """By the text encoders.

    Raises:
        BadFile: they are none that Stable Diffusion has.
    """
    for version in VERSIONS:
        if all(any(name.startswith(above) for name in weights.shapes) for above, _ in version.encoders):
            return version
    raise BadFile(weights.path, "holds no text encoder of CLIP, as Stable Diffusion v1, v2 and XL have")


def write(
    weights: Weights,
    out: Path,
    version: Version,
    words: Mapping[str, bytes],
    divided: tuple[int | None, int | None],
) -> None:
    """Fills the folder ``out`` as diffusers would have written the pipeline.

    Args:
        words: the tokenizer's files by their names.
        divided: heads, or their width.

    Raises:
        UserError: a part of the file is missing, or of another kind.
    """
    stage = autoencoders.in_file(weights.below(autoencoders.ABOVE), scale_of(weights, version.scale))
    schedule = schedule_of(weights, BETAS)
    if stage.codes is not None:
        raise BadFile(weights.path, "holds an autoencoder with a codebook, and Stable Diffusion's has none")
    unet = weights.below(UNET)
    config = network(unet, *divided)
    factor = 2 ** (len(stage.config.block_out_channels) - 1)
    folders.write_part(out / "unet", {**config, "sample_size": max(1, version.size // factor)}, renamed(unet))
    folders.write_part(out / "vae", kls.as_json(stage.config), stage.tensors)
    for number, (above, is_open) in enumerate(version.encoders):
        after = "_2" if number else ""
        openclip.write_encoder(weights.below(above), out / f"text_encoder{after}", is_open=is_open, last=bool(number))
        openclip.write_vocabulary(words, out / f"tokenizer{after}", pad="!" if is_open else "<|endoftext|>")
    folders.write_json(
        out / "scheduler" / "scheduler_config.json", scheduler(schedule, PREDICTIONS[version.prediction])
    )
    write_index(out, xl=len(version.encoders) == 2)


def network(weights: Weights, heads: int | None, head_width: int | None) -> dict[str, Any]:
    """``config.json`` of a ``UNet2DConditionModel``.

    Raises:
        BadFile: the weights are of no such network.
    """
    shapes, rows = weights.shapes, Rows.of(weights)
    firsts = rows.firsts
    try:
        widths = [shapes[f"input_blocks.{k}.0.out_layers.3.weight"][0] for k in firsts]
        depths = [_layers(shapes, f"input_blocks.{k}.1.") for k in firsts]
        context = shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1]
        channels, answered = shapes["input_blocks.0.0.weight"][1], shapes["out.2.weight"][0]
        linear = len(shapes["middle_block.1.proj_in.weight"]) == 2
        told = shapes["label_emb.0.0.weight"][1] if "label_emb.0.0.weight" in shapes else None
    except (KeyError, IndexError):
        raise BadFile(weights.path, "holds a U-Net of Stable Diffusion that is not whole") from None
    crossed = [f"{'CrossAttn' if depth else ''}DownBlock2D" for depth in depths]
    added = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": told,
        "transformer_layers_per_block": [depth or 1 for depth in depths[:-1]] + [_layers(shapes, "middle_block.1.")],
    }
    return {
        "_class_name": "UNet2DConditionModel",
        "flip_sin_to_cos": True,
        "freq_shift": 0.0,
        "in_channels": channels,
        "out_channels": answered,
        "block_out_channels": widths,
        "layers_per_block": rows.blocks,
        "down_block_types": crossed,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(crossed)],
        "cross_attention_dim": context,
        "attention_head_dim": heads or [max(1, width // (head_width or HEAD_WIDTH)) for width in widths],
        "use_linear_projection": linear,
        **({} if told is None else added),
    }


def renamed(weights: Weights) -> dict[str, Tensor]:
    """The network's tensors by diffusers' names.

    Raises:
        BadFile: one is called as nothing there is.
    """
    rows = Rows.of(weights)
    return {place(weights, rows, name): value for name, value in weights.read(weights.shapes).items()}


def place(weights: Weights, rows: Rows, name: str) -> str:
    """Where a tensor of a network is in diffusers'.

    Raises:
        BadFile: nowhere.
    """
    stem, _, kind = name.rpartition(".")
    if kind not in ("weight", "bias") or (there := compvis_place(stem, rows.blocks)) is None:
        raise BadFile(weights.path, f"holds '{name[:100]}', which has no place in a U-Net of Stable Diffusion")
    return f"{there}.{kind}"


def scheduler(schedule: ScaledLinear, prediction: str) -> dict[str, Any]:
    """``scheduler_config.json``."""
    return {
        "_class_name": "DDIMScheduler",
        "beta_start": schedule.beta_start,
        "beta_end": schedule.beta_end,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": schedule.steps,
        "prediction_type": prediction,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }


def write_index(out: Path, *, xl: bool) -> None:
    """Writes ``model_index.json``."""
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    parts |= {"scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"]}
    parts |= {"tokenizer": ["transformers", "CLIPTokenizer"]}
    if xl:
        parts |= {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]}
        parts |= {"tokenizer_2": ["transformers", "CLIPTokenizer"]}
    name = "StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline"
    more = {"force_zeros_for_empty_prompt": True} if xl else {}
    index = {"_class_name": name, "_diffusers_version": folders.VERSION, **parts, **more}
    folders.write_json(out / folders.INDEX, index)


def _layers(shapes: Mapping[str, tuple[int, ...]], above: str) -> int:
    """How many layers a spatial transformer has."""
    start = f"{above}transformer_blocks."
    return len({name.removeprefix(start).split(".")[0] for name in shapes if name.startswith(start)})
