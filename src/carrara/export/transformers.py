r"""The transformers of DiT (Peebles and Xie, 2023) and of SiT (Ma et al., 2024), from their authors' checkpoints.

Both are the same network, so their tensors have the same names. DiT predicts the noise of 1000 steps, and may answer a
variance. SiT's time s is how much of a state is data, and what it predicts leads to the data,

.. math:: x = s x_0 + (1 - s) \epsilon, \quad u = x_0 - \epsilon = - (\epsilon - x_0),                           (1)

the flow with the other sign, which its last layer takes over; a second answer, where it has one, is never looked at.
Neither sees states scaled. The rows of the last layer are in the order (row, column, channel) of a patch, and here
(channel, row, column).
"""

import re
from collections.abc import Iterator, Mapping
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from carrara.backbone import DiT, DiTConfig
from carrara.conditioning import LabelsConfig
from carrara.errors import UserError, known, option
from carrara.export import autoencoders
from carrara.export.guided import SCHEDULES, STEPS
from carrara.export.weights import Weights, built
from carrara.files import BadFile
from carrara.model import DiffusionModel, ModelConfig
from carrara.nn import step_features
from carrara.nn.transformer import sincos
from carrara.noise import Eps, RectifiedFlow, Velocity
from carrara.sample import Ddim, Euler, Leading, SampleSettings, Uniform

POSITIONS, TABLE = "pos_embed", "y_embedder.embedding_table.weight"
SIGNS = (
    "x_embedder.proj.weight",
    "t_embedder.mlp.0.weight",
    TABLE,
    "blocks.0.attn.qkv.weight",
    "final_layer.linear.weight",
)
HEADS: Mapping[int, int] = {384: 6, 768: 12, 1024: 16, 1152: 16}
"""Of the published sizes S, B, L and XL, by their width."""
EDGE = 32
"""Latents along an edge, where positions do not say it."""
CLASSES = 1000
CLOSE = 0.02
"""Positions in bfloat16 differ by less."""
_PLACES = (
    (r"noise\.layers\.(\d)\.(.+)", r"t_embedder.mlp.\1.\2"),
    (r"inp\.(.+)", r"x_embedder.proj.\1"),
    (r"blocks\.(\d+)\.modulation\.(.+)", r"blocks.\1.adaLN_modulation.1.\2"),
    (r"blocks\.(\d+)\.to_itself\.(?:q|kv)\.(.+)", r"blocks.\1.attn.qkv.\2"),
    (r"blocks\.(\d+)\.to_itself\.out\.(.+)", r"blocks.\1.attn.proj.\2"),
    (r"blocks\.(\d+)\.feed_forward\.0\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"blocks\.(\d+)\.feed_forward\.2\.(.+)", r"blocks.\1.mlp.fc2.\2"),
    (r"modulation\.(.+)", r"final_layer.adaLN_modulation.1.\1"),
    (r"out\.(.+)", r"final_layer.linear.\1"),
)


def read_dit(
    weights: Weights,
    out: Path,
    *,
    autoencoder: Path | None = None,
    heads: int | None = None,
    schedule: str | None = None,
) -> Iterator[str]:
    """Makes the model's folder ``out`` of a DiT, and yields what is to be said of it.

    Raises:
        UserError: the weights are of no such network, or an option means none.
    """
    name = known("schedule", schedule or "linear", SCHEDULES)
    shape, config, answers, heads = look(weights, heads, timesteps=STEPS)
    stage = autoencoders.read(autoencoder, "a DiT")
    model = made(
        weights,
        stage,
        ModelConfig(
            shape=_pixels(weights, shape, stage),
            backbone=config,
            schedule=SCHEDULES[name],
            parameterization=Eps(),
            conditioner=classes(weights),
            first_stage=stage.stage,
            learned_variance=answers == 2,
            sample=SampleSettings(sampler=Ddim(), grid=Leading(train_steps=STEPS), steps=50),
        ),
        "dit",
    )
    load(model, weights)
    model.eval().save(out)
    yield (
        f"the weights do not say it, so it is taken for one of {heads} heads, trained on the schedule {name} (as "
        "published, where no option says otherwise)"
    )


def read_sit(
    weights: Weights, out: Path, *, autoencoder: Path | None = None, heads: int | None = None
) -> Iterator[str]:
    """Makes the model's folder ``out`` of a SiT, and yields what is to be said of it.

    Raises:
        UserError: the weights are of no such network, or an option means none.
    """
    shape, config, answers, heads = look(weights, heads, share=True)
    stage = autoencoders.read(autoencoder, "a SiT")
    model = made(
        weights,
        stage,
        ModelConfig(
            shape=_pixels(weights, shape, stage),
            backbone=config,
            schedule=RectifiedFlow(),
            parameterization=Velocity(),
            conditioner=classes(weights),
            first_stage=stage.stage,
            sample=SampleSettings(sampler=Euler(), grid=Uniform(), steps=50),
        ),
        "sit",
    )
    load(model, weights, flow=True)
    model.eval().save(out)
    halves = ", and of its two answers the second is left out, which SiT never looks at" if answers == 2 else ""
    yield f"it is taken for one of {heads} heads that predicts the velocity of a straight line{halves}"


def look(
    weights: Weights, heads: int | None, *, timesteps: int | None = None, share: bool | None = None
) -> tuple[tuple[int, int, int], DiTConfig, int, int]:
    """What the weights say: the shape of latents, the network, how many numbers it answers for each, and its heads.

    Raises:
        UserError: they are of no such network, or do not say how many heads it has.
    """
    shapes = weights.shapes
    try:
        width, channels, patch, other = shapes["x_embedder.proj.weight"]
        rows = shapes["final_layer.linear.weight"][0]
        places = shapes[POSITIONS][1] if POSITIONS in shapes else (EDGE // patch) ** 2
        answers, rest = divmod(rows, channels * patch * patch)
    except (ValueError, IndexError, ZeroDivisionError):
        raise BadFile(weights.path, "holds a transformer whose tensors have other shapes than a DiT's") from None
    if patch != other or rest or answers not in (1, 2) or isqrt(places) ** 2 != places:
        raise BadFile(
            weights.path, f"holds a transformer of {patch}x{other} patches and {rows} answers, which is no DiT"
        )
    heads = HEADS.get(width) if heads is None else heads
    if heads is None:
        raise UserError(
            f"'{weights.path}' holds a transformer of width {width}, as none is published, and does not say in how "
            f"many heads: say it with {option('heads')}"
        )
    depth = len({name.split(".")[1] for name in shapes if name.startswith("blocks.")})
    try:
        config = DiTConfig(width=width, depth=depth, heads=heads, patch=patch, timesteps=timesteps, share=share)
    except ValueError as error:
        raise UserError(f"'{weights.path}' describes no transformer that can be built here: {error}") from None
    edge = isqrt(places) * patch
    return (channels, edge, edge), config, answers, heads


def classes(weights: Weights) -> LabelsConfig:
    """The classes, whose last row is that of none, by their numbers.

    Raises:
        BadFile: there is no class.
    """
    rows = weights.shapes[TABLE][0] if weights.shapes[TABLE] else 0
    count = rows if rows == CLASSES else rows - 1
    if not 0 < count <= 1 << 20:
        raise BadFile(weights.path, f"holds a table of {rows} classes")
    return LabelsConfig(classes=tuple(map(str, range(count))))


def made(weights: Weights, stage: autoencoders.Autoencoder, config: ModelConfig, about: str) -> DiffusionModel:
    """The model with its autoencoder's weights.

    Raises:
        UserError: its parts do not fit together.
    """
    model = built(config, weights, {"imported": about}, stage.size)
    stage.give(model.first_stage)
    return model


def load(model: DiffusionModel, weights: Weights, *, flow: bool = False) -> None:
    """Gives a model's network and its table of classes their weights.

    Args:
        flow: whether equation (1) holds.

    Raises:
        BadFile: some are missing, or of another shape, or there are more.
    """
    network = model.denoiser.backbone
    assert isinstance(network, DiT)
    config, state = network.config, network.state_dict()
    patch, channels = config.patch, model.latent_shape[0]
    places = {name: place(name) for name in state if not re.match(r"noise\.[^l]|noise\.levels", name)}
    wanted = {places[name]: tuple(state[name].shape) for name in places}
    for name, shape in [(name, shape) for name, shape in wanted.items() if ".attn.qkv." in name]:
        wanted[name] = (3 * config.width, *shape[1:])
    wanted["x_embedder.proj.weight"] = (config.width, channels, patch, patch)
    rows = weights.shapes["final_layer.linear.weight"][0]
    wanted |= {"final_layer.linear.weight": (rows, config.width), "final_layer.linear.bias": (rows,)}
    wanted[TABLE] = (weights.shapes[TABLE][0], config.width)
    weights.check_rest(list(wanted), POSITIONS)
    check_positions(weights, config.width)
    found = weights.read(wanted)
    taken = {name: of_ours(name, found[places[name]], config.width, patch) for name in places}
    for name in ("out.weight", "out.bias"):
        answered = taken[name].unflatten(0, (-1, patch * patch))[: len(state[name]) // patch**2].flatten(0, 1)
        taken[name] = -answered if flow else answered
    if config.timesteps is not None:
        features = step_features(STEPS, state["noise.table"].shape[1], cosines_first=True, shift=0.0)
        taken |= {"noise.levels": state["noise.levels"], "noise.table": features}
    network.load_state_dict(taken)
    table, last = found[TABLE], len(model.conditioner.state_dict()["table"])
    nothing = table[last] if len(table) > last else torch.zeros_like(table[0])
    model.conditioner.load_state_dict({"table": table[:last], "nothing": nothing})


def of_ours(name: str, value: Tensor, width: int, patch: int) -> Tensor:
    """A tensor of theirs as ours of this name; of the last layer with all its answers."""
    if ".to_itself.q." in name:
        return value[:width]
    if ".to_itself.kv." in name:
        return value[width:]
    if name == "inp.weight":
        return value.flatten(1)
    if name.startswith("out."):
        return value.unflatten(0, (patch, patch, -1)).movedim(2, 0).flatten(0, 2)
    return value


def check_positions(weights: Weights, width: int) -> None:
    """Refuses positions that were learned.

    Raises:
        BadFile: they are not the sines and cosines that a DiT has.
    """
    if POSITIONS not in weights.shapes:
        return
    shape = weights.shapes[POSITIONS]
    found = weights.read({POSITIONS: shape})[POSITIONS]
    edge = isqrt(shape[1])
    if tuple(shape) != (1, edge * edge, width) or (found[0] - sincos((edge, edge), width)).abs().max() > CLOSE:
        raise BadFile(weights.path, "holds positions of patches that are no sines and cosines, as a DiT's are")


def place(name: str) -> str:
    """Where a tensor of ours is in theirs."""
    for pattern, there in _PLACES:
        if match := re.fullmatch(pattern, name):
            return match.expand(there)
    raise AssertionError(name)


def _pixels(weights: Weights, latents: tuple[int, int, int], stage: autoencoders.Autoencoder) -> tuple[int, int, int]:
    """The shape of pictures whose latents have a shape.

    Raises:
        BadFile: the autoencoder's have another number of channels.
    """
    channels, factor = stage.config.latent_channels, stage.stage.factor
    if channels != latents[0]:
        why = f"holds a network of {latents[0]} channels, and the autoencoder's latents have {channels}"
        raise BadFile(weights.path, why, "name the autoencoder that it was trained with")
    return stage.config.in_channels, factor * latents[1], factor * latents[2]
