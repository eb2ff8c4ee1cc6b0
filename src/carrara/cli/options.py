"""Options that verbs of ``carrara edit`` share; the texts below them are their help."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a diffusion model shall draw: the options that all of its verbs share."""

    prompt: Annotated[str | None, Parameter(name=["--prompt", "--wish"])] = None
    "What to draw, as 'carrara sample' takes it: words, or a label; nothing in particular, if not given."
    negative: str | None = None
    "What guidance leads away from, in the place of nothing in particular."
    weak: Path | None = None
    "A weaker model of the same data that guidance leads away from instead."
    guidance: float | None = None
    "Guidance scale: 1 = off, larger = more of what was asked for."
    grid: str | None = None
    "As of 'carrara sample'."
    steps: int | None = None
    "How many steps lead from noise to data; an edit that begins later makes the rest of them."
    size: str | None = None
    "Height x width that pictures are brought to first, as in 96x64, or one number for a square."
    tile: str | None = None
    "Show the network windows of this size, as it knows them, and make one large picture of its answers."
    fast: bool = False
    "Decode with the tiny decoder that 'carrara distill RUN --decoder' made."
    out: Path | None = None
    "The folder for the pictures; a new one in the run's samples/, if not given."

    def unless(self, **usual: Any) -> "Asking":
        """The same with ``usual`` in the place of what was not given."""
        return replace(self, **{name: value for name, value in usual.items() if getattr(self, name) is None})


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Drawing(Asking):
    """How it draws over pictures with fresh noise."""

    sampler: str | None = None
    "As of 'carrara sample'."
    seed: int = 0
    "The first result's seed; the others count up."
    count: Annotated[int, Parameter(name=["--count", "-n"])] = 4
    "How many results for each picture."
    classifier: Path | None = None
    "A classifier that guides to --class: a run of 'carrara train DATA --preset classifier'."
    label: Annotated[str | None, Parameter(name="--class")] = None
    "What the classifier shall find: one of its classes."
    classifier_scale: float = 1.0
    "How much it counts: 1 = as probability says, larger = surer."


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Painting(Drawing):
    """How it makes a part of a picture new."""

    feather: int | None = None
    """Of a model in latents: over how many pixels beside the mask the new part fades into the picture; beyond, every
    pixel is kept. 2, if not given."""
    resamplings: int | None = None
    """How often each step is gone over, so that the new part fits the rest: 1 is fast, and fits badly. 10, if not
    given; a model that was trained to fill holes takes none."""
    jump: int | None = None
    "How many steps are gone over at a time; 1, if not given."


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Between:
    """Where a way by the noise of a diffusion model begins and ends."""

    to: str | None = None
    "The prompt at the other end; the same, if not given."
    seed: int | None = None
    "The noise at the first end; 0, if not given. Pictures bring their own."
    to_seed: int | None = None
    "The noise at the other end; the same, if not given."
    refinements: int = 5
    "Of each step of an inversion; see invert."


ASKING = Asking()
DRAWING = Drawing()
PAINTING = Painting()
BETWEEN = Between()
"""Nothing is asked for."""
