"""How far an exported folder is from torch: each graph at several batches and sizes, and a drawing by the runtime."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carrara.errors import UserError
from carrara.evaluate.features import EfficientNetFeatures, extract
from carrara.evaluate.kernel import kernel_distance
from carrara.export.onnx_graphs import Graph
from carrara.model import DiffusionModel
from carrara.pixels import to_uint8
from carrara.runtime import OnnxModel
from carrara.runtime.draws import integer
from carrara.runtime.model import Settings
from carrara.sample import generate

TOLERANCE = 1e-4
"""Of the largest value, or of 1."""
LARGEST_DIFFERENCE = 2
"""Of a picture's 255."""
CASES = ((1, 0.0), (2, 1.0), (3, 1.5), (1, 2.0))
"""Batches, and how many times larger than the example the edges are; 0 is the model's own size."""
STEPS = 8
PICTURES = (8, 32)
"""At least and at most, of which a kernel distance is measured,"""
PATIENCE = 60_000
"""as many as can be drawn in so many milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A graph in onnxruntime beside torch.

    Attributes:
        largest_error: the largest difference of a value.
        largest_value: in torch.
        cases: the shapes of the first input.
    """

    largest_error: float
    largest_value: float
    cases: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Pictures by the runtime beside torch's.

    Attributes:
        largest, mean: differences of their values, of 255.
        steps: of the sampler.
        milliseconds: of a step of one picture, guidance included, by one thread.
    """

    largest: int
    mean: float
    steps: int
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Moved:
    """How far int8 weights move pictures, as features see it.

    Attributes:
        distance, error: kernel distance of pairs of one seed, float32 and int8, and its standard error.
        other_seeds: that of float32 pictures to such of other seeds, with which no other noise is told apart.
        pictures: how many of each.
        features: whose.
    """

    distance: float
    error: float
    other_seeds: float
    pictures: int
    features: str


def check_graph(graph: Graph, content: bytes) -> Checked:
    """Asks onnxruntime and torch the same.

    Raises:
        UserError: their answers differ by more than ``TOLERANCE``.
    """
    onnxruntime: Any = import_module("onnxruntime")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    error = value = 0.0
    shapes: list[tuple[int, ...]] = []
    for inputs in _cases(graph):
        with torch.no_grad():
            ours = graph.network(*inputs.values()).numpy()
        theirs = session.run(None, {name: one.numpy() for name, one in inputs.items()})[0]
        error, value = max(error, float(np.abs(ours - theirs).max())), max(value, float(np.abs(ours).max()))
        shapes.append(tuple(next(iter(inputs.values())).shape))
    if not error <= TOLERANCE * max(1.0, value):
        raise UserError(
            f"onnxruntime does not say what torch says: {graph.name} differs by {error:.2g}, and by {TOLERANCE:g} at "
            "most is accepted; another version of onnxruntime or torch may do it"
        )
    return Checked(largest_error=error, largest_value=value, cases=tuple(shapes))


def _cases(graph: Graph) -> Iterator[Mapping[str, Tensor]]:
    """The example, and others of its kind with other edges."""
    noise = torch.Generator().manual_seed(0)
    for batch, scale in CASES:
        edges: dict[str, int] = {"batch": batch}
        found: dict[str, Tensor] = {}
        for name, example in graph.inputs.items():
            shape = list(example.shape)
            for axis, (edge, multiple) in graph.open[name].items():
                larger = multiple * max(1, round(scale * shape[axis] / multiple))
                larger = larger if scale else graph.own.get(edge, shape[axis])
                shape[axis] = edges.setdefault(edge, larger)
            found[name] = _like(example, shape, graph.numbers, noise)
        yield found


def _like(example: Tensor, shape: list[int], numbers: int, noise: torch.Generator) -> Tensor:
    if example.dtype is torch.bool:
        return torch.rand(shape, generator=noise) < 0.7
    if example.dtype is torch.int64:
        return torch.randint(0, numbers, shape, generator=noise)
    return torch.randn(shape, generator=noise)


def check_drawing(model: DiffusionModel, folder: Path, *, int8: bool = False) -> Drawn:
    """Draws two pictures with the runtime and with torch.

    Raises:
        UserError: they differ by more than ``LARGEST_DIFFERENCE``, where they should not.
    """
    opened = OnnxModel(folder, precision="int8" if int8 else "float32", threads=1)
    few = opened.card.few_steps
    settings = Settings() if few else Settings(steps=min(STEPS, model.config.sample.steps), sampler="ddim")
    steps = few or settings.steps or 1
    wishes, seeds = wishes_for(model), [0, 1]
    theirs = opened.sample(wishes, seeds=seeds, settings=settings)
    difference = np.abs(theirs.astype(int) - drawn(model, wishes, seeds, steps, None if few else "ddim").astype(int))
    if not int8 and difference.max() > LARGEST_DIFFERENCE:
        raise UserError(
            f"pictures that carrara.runtime draws from this export differ from torch's by {difference.max()}/255, and "
            f"by {LARGEST_DIFFERENCE} at most are accepted: the model may be too sensitive to rounding to be exported"
        )
    began = time.perf_counter()
    opened.sample(wishes[:1], seeds=[0], settings=settings)
    taken = 1000 * (time.perf_counter() - began) / steps
    return Drawn(largest=int(difference.max()), mean=float(difference.mean()), steps=steps, milliseconds=taken)


def wishes_for(model: DiffusionModel) -> list[str | None]:
    """What to ask a model for: something, and nothing."""
    match model.conditioner.column:
        case "label":
            return [model.conditioner.classes[-1], None]
        case "vector":
            return [",".join(["0.5"] * int(getattr(model.conditioner, "size", 1))), None]
        case "text":
            words = ("a red heart", "a", "1")
            return [next((word for word in words if model.conditioner.as_prompt(word) is not None), None), None]
        case _:
            return [None, None]


def drawn(
    model: DiffusionModel, wishes: list[str | None], seeds: list[int], steps: int, sampler: str | None
) -> NDArray[np.uint8]:
    """Torch's pictures (B, H, W, C), at the model's own size."""
    from carrara.sample import sampler as sampler_of

    changes: dict[str, Any] = {"steps": steps}
    if sampler is not None:
        changes["sampler"] = sampler_of(sampler)
    settings = model.settings(**changes)
    with torch.no_grad():
        cond, null = (model.denoiser.bind(model.conditions(said)) for said in (wishes, [None] * len(wishes)))
        *_, last = generate(
            settings.wrap(cond, null, model.config.schedule),
            model.latent_shape,
            seeds,
            sampler=settings.sampler,
            grid=settings.grid,
            steps=settings.steps,
            schedule=model.config.schedule,
        )
        return to_uint8(model.pixels(last.x))


def check_moved(model: DiffusionModel, folder: Path, milliseconds: float) -> Moved | None:
    """The kernel distance between pictures with and without int8 weights; None where EfficientNet is not installed, or
    the pictures have channels that it cannot see.

    Args:
        milliseconds: of a step of one picture.
    """
    try:
        features = EfficientNetFeatures()
    except UserError:
        return None
    if model.shape[0] not in (1, 3, 4):
        return None
    exact, coarse = (OnnxModel(folder, precision=p, threads=1) for p in ("float32", "int8"))
    few = exact.card.few_steps
    settings = Settings() if few else Settings(steps=min(STEPS, model.config.sample.steps), sampler="ddim")
    count = min(max(int(PATIENCE / (3 * (few or settings.steps or 1) * milliseconds)), PICTURES[0]), PICTURES[1])
    known = wishes_for(model)

    def seen(opened: OnnxModel, first: int) -> Tensor:
        seeds = range(first, first + count)
        wishes = [known[integer("wish", seed) % len(known)] for seed in seeds]  # by chance, or sets would be too alike
        pictures = opened.sample(wishes, seeds=seeds, settings=settings)
        pixels = torch.from_numpy(pictures).movedim(-1, 1).float() / 127.5 - 1
        return torch.cat(list(extract(features, pixels.split(16))))

    ours, theirs = seen(exact, 0), seen(coarse, 0)
    found = kernel_distance(ours, theirs, paired=True)
    others = kernel_distance(ours, seen(exact, count)).value
    return Moved(distance=found.value, error=found.error, other_seeds=others, pictures=count, features=features.name)
