r"""What a finished model draws beside held-out pictures, in the few numbers that show most mistakes: ``likeness.json``.

Of the n samples and as many pictures, with w = ``NEAR``, a picture's share of values near black, and near white, is

.. math:: b_i = \operatorname{mean} [x_i \le -1 + w], \qquad e_i = \operatorname{mean} [x_i \ge 1 - w]            (1)

over its colours. Both are means of independent pictures, so the difference of two sets has the standard error

.. math:: s^2 = \operatorname{Var}(b) / n + \operatorname{Var}(b') / n'.                                         (2)

Contrast is the standard deviation of all values of a channel. The kernel distance is that of ``evaluate.kernel``.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from carrara import evaluate, pixels
from carrara.evaluate import Features
from carrara.files import BadFile, read_as, replacing
from carrara.pixels import Pictures

LIKENESS = "likeness.json"
NEAR = 0.05
"""Values within this of -1 are near black, and within this of 1 near white."""
COLOURS = 3
"""Channels after these are no colours, but transparency."""
SMALLEST = 16
"""Fewer samples say nothing."""
PART = 0.03
"""Of what the training asked of the network, so much may be asked for samples that are compared."""
_A_TIME = 64

Numbers = Annotated[tuple[float, ...], Field(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Equation (1) of samples and of pictures.

    Attributes:
        made: of the samples.
        real: of the pictures.
        error: of their difference, equation (2).
    """

    made: float
    real: float
    error: float


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How samples compare with as many held-out pictures.

    Attributes:
        step: of the model.
        count: of each.
        led: whether samples were led away from the model's earlier self.
        black, white: values near these.
        made, real: the contrast of each channel, of samples and of pictures.
        distance, error: the kernel distance and its standard error; None without features.
    """

    format: int = 1
    step: Annotated[int, Field(ge=0, le=1 << 53)]
    count: Annotated[int, Field(ge=2, le=1 << 20)]
    led: bool
    black: Shares
    white: Shares
    made: Numbers
    real: Numbers
    distance: float | None = None
    error: float | None = None


def affordable(most: int, *, images: int, calls: int) -> int:
    """How many samples may be compared, at most ``most``: 0 if fewer than ``SMALLEST``.

    A step of training is worth three calls of the network.

    Args:
        images: that were trained on.
        calls: of the network for a sample.
    """
    count = min(most, int(PART * 3 * images / calls))
    return count if count >= SMALLEST else 0


@torch.no_grad()
def likeness(made: Pictures, real: Pictures, features: Features | None, *, step: int, led: bool) -> Likeness:
    """Compares samples with pictures, (n, C, H, W) in [-1, 1] each.

    Args:
        features: what the kernel distance looks at; None measures none.
    """
    made, real = pixels.rounded(made.float().cpu()), real.float().cpu()
    found = None
    if features is not None:
        vectors = [torch.cat(list(evaluate.extract(features, x.split(_A_TIME)))) for x in (made, real)]
        found = evaluate.kernel_distance(*vectors)
    return Likeness(
        step=step,
        count=len(made),
        led=led,
        black=_shares(*(x[:, :COLOURS] <= NEAR - 1 for x in (made, real))),
        white=_shares(*(x[:, :COLOURS] >= 1 - NEAR for x in (made, real))),
        made=_contrast(made),
        real=_contrast(real),
        distance=None if found is None else found.value,
        error=None if found is None else found.error,
    )


def write(found: Likeness, folder: Path) -> None:
    """Writes it into a run's folder."""
    with replacing(folder / LIKENESS) as file:
        file.write(json.dumps(asdict(found)).encode())


def read(folder: Path, step: int | None) -> Likeness | None:
    """What was found of the model of a step; None if nothing was, or of another one."""
    try:
        found = read_as(folder / LIKENESS, Likeness)
    except BadFile:
        return None
    return found if found.step == step else None


def _shares(made: Tensor, real: Tensor) -> Shares:
    """Equations (1) and (2), of booleans."""
    each = [x.flatten(1).double().mean(1) for x in (made, real)]
    variance = sum((x.var() / len(x) for x in each), torch.zeros(()))
    return Shares(made=each[0].mean().item(), real=each[1].mean().item(), error=variance.sqrt().item())


def _contrast(x: Pictures) -> tuple[float, ...]:
    """Of each channel."""
    return tuple(x.transpose(0, 1).flatten(1).double().std(1).tolist())


def said(values: Sequence[float]) -> str:
    """The numbers of the channels."""
    return " ".join(f"{value:.2f}" for value in values)
