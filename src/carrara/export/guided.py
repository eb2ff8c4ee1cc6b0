r"""The U-Nets of openai's guided-diffusion and of its forerunner improved-diffusion (Dhariwal and Nichol, 2021).

Their blocks stand in one row on the way down and in one on the way up: with n blocks at each of L levels,

.. math::
    \text{input}_{1 + l (n + 1) + b} &: \text{block b of level l, or at } b = n \text{ what halves it}           (1) \\
    \text{output}_{(L - 1 - l) (n + 1) + b} &: \text{block b of level l, the last of which also doubles}         (2)

so the weights say what levels there are, which have attention, and how they are halved. They do not say in how many
heads queries, keys and values are, nor whether these are split before the heads or after, nor anything of the noise
and of the pictures' size. ``PUBLISHED`` has what is said of the networks that were published.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from carrara.backbone import Conventions, UNet, UNetConfig
from carrara.backbone.base import MOST_TIMESTEPS
from carrara.conditioning import LabelsConfig, UnconditionalConfig
from carrara.errors import UserError, known, option
from carrara.export.weights import Weights, built
from carrara.files import BadFile
from carrara.model import DiffusionModel, ModelConfig
from carrara.nn import step_features
from carrara.noise import X0, AnyParameterization, Cosine, Eps, Linear, ScaledLinear
from carrara.sample import Ddim, Leading, SampleSettings

STEPS = 1000
"""T, unless it is told; the number of a step is told as if there were so many (``rescale_timesteps``)."""
GROUPS = 32
SCHEDULES: Mapping[str, Linear | Cosine] = {"linear": Linear(), "cosine": Cosine()}
PREDICTIONS: Mapping[str, AnyParameterization] = {"eps": Eps(), "x0": X0()}
ORDERS = ("heads", "qkv")
"""What is split first of the rows that make queries, keys and values: heads, or these three."""
SIGNS = ("time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.1.qkv.weight", "out.2.weight")
_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "emb": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "skip": "skip_connection",
}
_ATTENTION = {"norm": "norm", "qkv": "qkv", "out": "proj_out"}
_PLACE = re.compile(
    r"(?P<way>down|up|middle|downsample|upsample)\.(?P<number>\d+)(\.(?P<block>\d+))?(\.(?P<part>residual|attention))?"
    r"(\.(?P<inner>\w+))?"
)
_ENDS = {
    "noise.layers.0": "time_embed.0",
    "noise.layers.2": "time_embed.2",
    "inp": "input_blocks.0.0",
    "norm": "out.0",
    "out": "out.2",
}


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What the weights do not say.

    Attributes:
        size: pixels along an edge.
        schedule: of ``SCHEDULES``.
        heads, head_width: how attention is divided, one of them.
        order: of ``ORDERS``.
    """

    size: int = 64
    schedule: Literal["linear", "cosine"] = "linear"
    heads: int | None = None
    head_width: int | None = None
    order: Literal["heads", "qkv"] = "heads"


PUBLISHED: Mapping[tuple[int, tuple[int, ...], int], Usual] = {
    (192, (192, 384, 576, 768), 3): Usual(size=64, schedule="cosine", head_width=64, order="qkv"),
    (256, (256, 256, 512, 768, 1024), 2): Usual(size=128, heads=4),
    (256, (256, 256, 512, 512, 1024, 1024), 2): Usual(size=256, head_width=64),
    (256, (128, 256, 256, 512, 512, 1024, 1024), 2): Usual(size=512, head_width=64),
}
"""By what the embedding of steps is made for, widths of levels, and blocks of each: the project's own flags."""
OTHERS = Usual(heads=4)
"""What their training script takes unless it is told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Equations (1) and (2).

    Attributes:
        blocks: n.
        firsts: of each level, the number of the first block on the way down.
    """

    blocks: int
    firsts: tuple[int, ...]

    @classmethod
    def of(cls, weights: Weights) -> "Rows":
        """As the names of a network's tensors say."""
        shapes = weights.shapes
        count = len({name.split(".")[1] for name in shapes if name.startswith("output_blocks.")})
        doubling = [f"output_blocks.{{}}.{k}.{one}.weight" for k in (1, 2) for one in ("conv", "in_layers.0")]
        ends = [number for number in range(count) if any(name.format(number) in shapes for name in doubling)]
        blocks = max(1, ends[0] if ends else count - 1)
        return cls(blocks=blocks, firsts=tuple(range(1, count + 1, blocks + 1)))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the weights say.

    Attributes:
        embedded: features of the embedding of steps.
        widths: of the levels.
        blocks: n.
        attention: the levels that have it.
        residual: whether levels are halved and doubled within residual blocks.
        scaled: whether the embedding scales and shifts.
        channels, answers: of a picture; numbers that are answered for each of its own.
        classes: rows of the table of classes; None without one.
    """

    embedded: int
    widths: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    residual: bool
    scaled: bool
    channels: int
    answers: int
    classes: int | None


def is_one(weights: Weights) -> bool:
    """Whether these are the weights of such a network."""
    return all(name in weights.shapes for name in SIGNS)


def read(
    weights: Weights,
    out: Path,
    *,
    size: int | None = None,
    heads: int | None = None,
    head_width: int | None = None,
    order: str | None = None,
    schedule: str | None = None,
    prediction: str | None = None,
    train_steps: int | None = None,
) -> Iterator[str]:
    """Makes the model's folder ``out``, and yields what is to be said of it.

    Raises:
        UserError: the weights are of no such network, or an option means none.
    """
    seen = look(weights)
    published = PUBLISHED.get((seen.embedded, seen.widths, seen.blocks))
    usual = published or OTHERS
    size = usual.size if size is None else size
    if heads is None and head_width is None:
        heads, head_width = usual.heads, usual.head_width
    order = known("order", order or usual.order, ORDERS)
    named = known("schedule", schedule or usual.schedule, SCHEDULES)
    predicted = known("prediction", prediction or "eps", PREDICTIONS)
    config = configured(weights, seen, (size, heads, head_width), noise_of(named, train_steps), PREDICTIONS[predicted])
    model = built(config, weights, {"imported": "guided-diffusion"})
    load(model, weights, seen, order)
    divided = f"{heads} heads" if heads else f"heads of width {head_width}"
    whose = "as the published network of this shape is" if published else "as the project's script has it"
    model.eval().save(out)
    yield (
        f"the weights do not say it, so it is taken for one of {size}x{size} pixels, {divided}, {order} split first, "
        f"the schedule {named}, and the prediction {predicted} ({whose}, where no option says otherwise)"
    )
    if seen.classes is not None:
        yield "it has always been told a class: guidance away from none means nothing to it"


def noise_of(name: str, steps: int | None) -> Linear | Cosine:
    """A schedule of ``SCHEDULES`` of another number of steps; linear betas are as much larger as there are fewer.

    Raises:
        UserError: there is none of so many.
    """
    schedule, steps = SCHEDULES[name], STEPS if steps is None else steps
    if not 2 <= steps <= MOST_TIMESTEPS:
        raise UserError(f"{option('train_steps')} are 2 to {MOST_TIMESTEPS}, got {steps}")
    if not isinstance(schedule, Linear):
        return replace(schedule, steps=steps)
    scale = STEPS / steps
    try:
        return Linear(steps=steps, beta_start=scale * schedule.beta_start, beta_end=scale * schedule.beta_end)
    except ValueError as error:
        raise UserError(f"{option('train_steps', steps)} makes no linear schedule: {error}") from None


def sampling(steps: int) -> SampleSettings:
    """How pixels are sampled unless told otherwise."""
    return SampleSettings(sampler=Ddim(), grid=Leading(train_steps=steps), steps=min(50, steps), clip=True)


def look(weights: Weights) -> Seen:
    """What the weights say.

    Raises:
        BadFile: they are of no such network.
    """
    shapes, rows = weights.shapes, Rows.of(weights)
    firsts = rows.firsts
    try:
        widths = tuple(shapes[f"input_blocks.{k}.0.out_layers.3.weight"][0] for k in firsts)
        embedded, scaled = shapes["time_embed.0.weight"][1], shapes["middle_block.0.emb_layers.1.weight"][0]
        channels, answered = shapes["input_blocks.0.0.weight"][1], shapes["out.2.weight"][0]
        classes = shapes["label_emb.weight"][0] if "label_emb.weight" in shapes else None
    except (KeyError, IndexError):
        raise BadFile(weights.path, "holds no whole U-Net of guided-diffusion: a level of it is missing") from None
    if answered not in (channels, 2 * channels):
        raise BadFile(
            weights.path,
            f"holds a network of {channels} channels that answers {answered}, and only as many or twice as "
            "many have a meaning here",
        )
    return Seen(
        embedded=embedded,
        widths=widths,
        blocks=rows.blocks,
        attention=tuple(level for level, k in enumerate(firsts) if f"input_blocks.{k}.1.qkv.weight" in shapes),
        residual=any(f"input_blocks.{k - 1}.0.in_layers.0.weight" in shapes for k in firsts[1:]),
        scaled=scaled == 2 * widths[-1],
        channels=channels,
        answers=answered // channels,
        classes=classes,
    )


def configured(
    weights: Weights,
    seen: Seen,
    said: tuple[int, int | None, int | None],
    schedule: Linear | ScaledLinear | Cosine,
    parameterization: AnyParameterization,
) -> ModelConfig:
    """How the model is built.

    Args:
        said: the size, and the heads or their width.

    Raises:
        UserError: there is no such model.
    """
    size, heads, head_width = said
    first = seen.widths[0]
    if not first or any(width % first for width in seen.widths):
        raise BadFile(weights.path, f"holds a network with levels of {seen.widths} channels, which there is not here")
    try:
        config = UNetConfig(
            channels=first,
            multipliers=tuple(width // first for width in seen.widths),
            blocks=seen.blocks,
            attention_levels=seen.attention,
            heads=heads,
            head_width=head_width,
            modulation="scale_shift" if seen.scaled else "shift",
            conventions=Conventions(
                groups=GROUPS,
                timesteps=schedule.steps,
                resampling="residual" if seen.residual else None,
                embedded=None if seen.embedded == first else seen.embedded,
            ),
        )
        for level in {*seen.attention, len(seen.widths) - 1}:
            config.heads_at(level)
        classes = tuple(map(str, range(seen.classes or 0)))
        return ModelConfig(
            shape=(seen.channels, size, size),
            backbone=config,
            schedule=schedule,
            parameterization=parameterization,
            conditioner=LabelsConfig(classes=classes) if classes else UnconditionalConfig(),
            learned_variance=seen.answers == 2,
            sample=sampling(schedule.steps),
        )
    except ValueError as error:
        raise UserError(
            f"'{weights.path}' describes no network that can be built so: {error} (see {option('heads')} and "
            f"{option('size')})"
        ) from None


def load(model: DiffusionModel, weights: Weights, seen: Seen, order: str) -> None:
    """Gives a model its weights.

    Raises:
        BadFile: some are missing, or of another shape, or there are more.
    """
    network = model.denoiser.backbone
    assert isinstance(network, UNet)
    state = network.state_dict()
    places = {name: place(name, seen) for name in state if not name.startswith(("noise.levels", "noise.table"))}
    wanted = {places[name]: shape_of(name, state[name]) for name in places}
    if seen.classes is not None:
        wanted["label_emb.weight"] = (seen.classes, network.config.vector_width)
    weights.check_rest(list(wanted))
    found = weights.read(wanted)
    if seen.classes is not None:
        rows = found.pop("label_emb.weight")
        model.conditioner.load_state_dict({"table": rows, "nothing": torch.zeros_like(rows[0])})
    taken = {name: found.pop(places[name]).reshape(state[name].shape) for name in places}
    for name in taken:
        if order == "heads" and ".attention.qkv." in name:
            taken[name] = split_first(taken[name], heads_of(network.config, taken[name]))
    levels, features = state["noise.levels"], network.config.embedded
    table = step_features(len(levels), features, cosines_first=True, shift=0.0, stride=STEPS / len(levels))
    network.load_state_dict({**taken, "noise.levels": levels, "noise.table": table})


def split_first(rows: Tensor, heads: int) -> Tensor:
    """Rows in the order (head, q or k or v, feature), in the order (q or k or v, head, feature)."""
    return rows.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2).contiguous()


def heads_of(config: UNetConfig, rows: Tensor) -> int:
    """In how many heads attention is that has ``rows`` for its queries, keys and values."""
    return config.heads_at(config.widths.index(len(rows) // 3))


def shape_of(name: str, value: Tensor) -> tuple[int, ...]:
    """Of a tensor of theirs: attention's layers are convolutions over a row of places."""
    row = ".attention." in name and name.endswith(("qkv.weight", "attention.out.weight"))
    return (*value.shape, 1) if row else tuple(value.shape)


def place(name: str, seen: Seen) -> str:
    """Where a tensor of ours is in theirs, equations (1) and (2)."""
    stem, _, kind = name.rpartition(".")
    if stem in _ENDS:
        return f"{_ENDS[stem]}.{kind}"
    match = _PLACE.fullmatch(stem)
    assert match is not None, name
    way, part, inner = match.group("way", "part", "inner")
    number, block = int(match["number"]), int(match["block"] or 0)
    row, last = seen.blocks + 1, len(seen.widths) - 1
    at = {
        "down": f"input_blocks.{1 + number * row + block}.0",
        "up": f"output_blocks.{(last - number) * row + block}.0",
        "middle": f"middle_block.{2 * number}",
        "downsample": f"input_blocks.{(number + 1) * row}.0",
        "upsample": f"output_blocks.{(last - number) * row - 1}.{2 if number + 1 in seen.attention else 1}",
    }[way]
    if part == "attention":
        return f"{at.rpartition('.')[0]}.1.{_ATTENTION[inner]}.{kind}"
    layer = "op" if way == "downsample" and inner is None else "conv" if inner == "conv" else _RESIDUAL[inner]
    return f"{at}.{layer}.{kind}"
