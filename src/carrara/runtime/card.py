"""The card of an exported model: what its files are, and what one must know to draw with them. ``card.json``.

It is written by ``carrara export`` and read here, so what it says is looked at before anything is made of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from carrara.errors import UserError
from carrara.runtime.door import CARD, read_card
from carrara.runtime.noise import GRIDS, MAX_HALF_LOGSNR, PARAMETERIZATIONS, USUAL, Schedule
from carrara.runtime.samplers import SAMPLERS

FORMAT = 1
"""The cards that this version reads."""
LONGEST_TABLE = (1 << 20) + 1
LARGEST_EDGE = 1 << 14
NAMES = ("denoiser.onnx", "denoiser.int8.onnx", "decoder.onnx", "text.onnx", "condition.npy", "tokenizer.json")
"""The files that a folder may hold."""
Kind = Literal["none", "labels", "vectors", "text"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the model can be told.

    Attributes:
        kind: labels and vectors are rows of a table; text is read by a network.
        classes: names of labels.
        size: rows of the table, or the width of a token's features.
        width: of the vectors that the denoiser takes.
        apart: whether the windows of a long text are read one by one.
    """

    kind: Kind = "none"
    classes: tuple[str, ...] = ()
    size: int = 0
    width: int = 0
    apart: bool = False


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the model is sampled unless told otherwise; names and keys as in Carrara."""

    sampler: str
    sampler_keys: Mapping[str, Any]
    grid: str
    grid_keys: Mapping[str, Any]
    steps: int
    guidance: float
    interval: tuple[float, float]
    rescale: float
    clip: bool
    threshold: float | None


@dataclass(frozen=True, kw_only=True)
class Card:
    """See the module's head.

    Attributes:
        shape: (C, H, W) of its pictures.
        latent: (c, h, w) of what diffuses at this size.
        factor: pixels along an edge that are one latent.
        multiple: edges of latents are multiples of it.
        smallest: the shortest edge of latents.
        few_steps: in how many steps it draws, and in no other number; None = any.
        files: bytes and SHA-256 of each.
        raw: the whole document.
    """

    shape: tuple[int, int, int]
    latent: tuple[int, int, int]
    factor: int
    multiple: int
    smallest: int
    schedule: Schedule
    parameterization: str
    sigma_data: float
    told: float
    condition: Condition
    sampling: Sampling
    few_steps: int | None
    files: Mapping[str, tuple[int, str]]
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "Card":
        """The card of a folder.

        Raises:
            UserError: there is none, another version wrote it, or it is damaged.
        """
        found, path = read_card(folder), folder / CARD
        version = found.get("format")
        if version != FORMAT:
            raise UserError(
                f"'{path}' is a card of format {version!r}, and this carrara.runtime reads {FORMAT}: export the model "
                "again with this version of Carrara, or install the one that wrote it"
            )
        try:
            return cls._made(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            why = f"no key {error}" if isinstance(error, KeyError) else str(error)[:100]
            raise UserError(f"'{path}' is damaged ({why}): export the model again") from None

    @classmethod
    def _made(cls, found: Mapping[str, Any]) -> "Card":
        few = found.get("few_steps")
        parameterization = found["parameterization"]
        return cls(
            shape=_shape(found["shape"]),
            latent=_shape(found["latent"]),
            factor=_whole(found["factor"], 1, 1024),
            multiple=_whole(found["multiple"], 1, 1024),
            smallest=_whole(found["smallest"], 1, LARGEST_EDGE),
            schedule=_schedule(found["schedule"]),
            parameterization=_one_of(parameterization["kind"], PARAMETERIZATIONS),
            sigma_data=_number(parameterization.get("sigma_data", 0.5), 1e-6, 1e6),
            told=_number(parameterization.get("told", MAX_HALF_LOGSNR), -MAX_HALF_LOGSNR, MAX_HALF_LOGSNR),
            condition=_condition(found["condition"]),
            sampling=_sampling(found["sample"]),
            few_steps=None if few is None else _whole(few, 1, 10_000),
            files={
                _one_of(name, NAMES): (_whole(one["bytes"], 0, 1 << 40), str(one["sha256"]))
                for name, one in found["files"].items()
            },
            raw=found,
        )

    def latent_of(self, size: tuple[int, int] | None) -> tuple[int, int, int]:
        """The shape of latents of pictures of (height, width); None is the model's own.

        Raises:
            UserError: the model cannot make pictures of this size.
        """
        if size is None:
            return self.latent
        channels, edges = self.latent[0], tuple(-(-edge // self.factor) for edge in size)
        if not all(4 <= edge <= LARGEST_EDGE for edge in size):
            raise UserError(f"pictures of {size[0]}x{size[1]} cannot be made: take edges from 4 to {LARGEST_EDGE}")
        if min(edges) < self.smallest:
            raise UserError(
                f"pictures of {size[0]}x{size[1]} are too small for this export: take edges of "
                f"{self.factor * self.smallest} or more"
            )
        if any(edge % self.multiple for edge in edges):
            step = self.factor * self.multiple
            raise UserError(
                f"pictures of {size[0]}x{size[1]} cannot be made by this export: take edges in multiples of {step}"
            )
        return channels, edges[0], edges[1]


def _schedule(found: Mapping[str, Any]) -> Schedule:
    kind = _one_of(found["kind"], ("table", "rectified_flow", "ve"))
    alpha = np.zeros(0)
    if kind == "table":
        alpha = np.array(found["alpha"], np.float64)
        if alpha.ndim != 1 or not 3 <= len(alpha) <= LONGEST_TABLE or not ((alpha >= 0) & (alpha <= 1)).all():
            raise ValueError("the table of alpha has numbers outside [0, 1], or too few")
    names = {"table": (), "rectified_flow": ("shift",), "ve": ("sigma_min", "sigma_max", "rho")}[kind]
    return Schedule(kind=kind, alpha=alpha, keys={name: _number(found[name], 1e-9, 1e9) for name in names})


def _condition(found: Mapping[str, Any]) -> Condition:
    kind = cast(Kind, _one_of(found["kind"], ("none", "labels", "vectors", "text")))
    if kind == "none":
        return Condition()
    classes = tuple(str(name) for name in found.get("classes", ()))
    size, width = _whole(found["size"], 1, 1 << 20), _whole(found["width"], 1, 1 << 20)
    if kind == "labels" and len(classes) != size:
        raise ValueError(f"there are {len(classes)} names for {size} classes")
    return Condition(kind=kind, classes=classes, size=size, width=width, apart=bool(found.get("apart", False)))


def _sampling(found: Mapping[str, Any]) -> Sampling:
    sampler, grid = dict(found["sampler"]), dict(found["grid"])
    name, spaced = _one_of(sampler.pop("kind"), SAMPLERS), _one_of(grid.pop("kind"), GRIDS)
    for key in USUAL.get(spaced, {}):
        _number(grid.get(key, 1.0), 1e-9, 1e9)
    low, high = found["interval"]
    threshold = found.get("threshold")
    return Sampling(
        sampler=name,
        sampler_keys=sampler,
        grid=spaced,
        grid_keys={**USUAL.get(spaced, {}), **grid},
        steps=_whole(found["steps"], 1, 10_000),
        guidance=_number(found["guidance"], -1e4, 1e4),
        interval=(_number(low, 0.0, 1.0), _number(high, 0.0, 1.0)),
        rescale=_number(found["rescale"], 0.0, 1.0),
        clip=bool(found["clip"]),
        threshold=None if threshold is None else _number(threshold, 1e-9, 1.0),
    )


def _shape(found: Sequence[Any]) -> tuple[int, int, int]:
    channels, height, width = (_whole(edge, 1, LARGEST_EDGE) for edge in found)
    return channels, height, width


def _whole(found: Any, least: int, most: int) -> int:
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise ValueError(f"{str(found)[:40]} is no whole number from {least} to {most}")
    return found


def _number(found: Any, least: float, most: float) -> float:
    if not isinstance(found, int | float) or isinstance(found, bool) or not math.isfinite(found):
        raise ValueError(f"{str(found)[:40]} is no number")
    if not least <= found <= most:
        raise ValueError(f"{found} is not between {least:g} and {most:g}")
    return float(found)


def _one_of(found: Any, names: Mapping[str, Any] | Sequence[str]) -> str:
    if not isinstance(found, str) or found not in names:
        raise ValueError(f"'{str(found)[:40]}' is none of {', '.join(names)}")
    return found
