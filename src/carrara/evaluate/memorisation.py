r"""Does a model make pictures, or repeat those that it was trained on? Held-out pictures say what is normal.

With the distances d_1(x) <= d_2(x) <= ... of a picture x to the n training pictures in a space of features,

.. math:: r(x) = d_1(x) \Big/ \tfrac1k \sum_{j \le k} d_j(x), \quad k = \min(50, n)                              (1)

is near 0 for a copy, and for others says how much nearer one training picture is than those about it (after Carlini et
al., "Extracting training data from diffusion models", 2023). The distance d_1 itself would call a model that makes
simple pictures a copier, because simple pictures have near neighbours anyway.

Pictures that were held out of training are as near as chance has it. If the samples were as fresh as the l held-out
pictures, each order of all these numbers would be equally likely. So the number K of m samples that lie below the a-th
smallest of the held-out r would have the beta-binomial law

.. math:: P(K = j) = \binom{m}{j} \frac{B(a + j, b + m - j)}{B(a, b)}, \quad b = l + 1 - a,                      (2)

exactly, whatever the data are, with the mean m a / (l + 1). But a model may fail in another way: of samples that are
much alike, one training picture is a little nearer to all than the others are. That is no copying. So a sample is
suspicious only below

.. math:: \tau = \min \big( r_{(a)}, \tfrac12 \operatorname{median} r \big) \text{ of the held-out pictures},      (3)

where no more than (2) would lie. Meehan et al. ("A non-parametric test to detect data-copying", 2020) compare whole
distributions, which a few copies among many fresh samples do not move; this tail they do.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from carrara.autoencoder.efficientnet import as_colour
from carrara.evaluate.distances import nearest_neighbours
from carrara.pixels import Pictures, to_image, to_uint8
from carrara.plots import sheet
from carrara.shapes import PerSample

QUANTILE = 0.05
"""Which part of the held-out pictures lies below r_(a)."""
LEVEL = 1e-3
"""How unlikely equation (2) makes the samples of a model that is said to memorise; and
how unlikely half of them being copies must be for a model that is said not to."""
_COPY = 0.5  # of the held-out pictures' median nearness
_EXCESS = 2  # times as many suspicious samples as fresh pictures
_AROUND = 50
_SHOWN, _EDGE = 8, 96
_NUMBERS = ("share", "expected", "chance", "threshold", "training", "held_out")

Verdict = Literal["memorised", "sound", "too few pictures to say"]


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """What the nearest training pictures of m samples say.

    Attributes:
        neighbour: (m,) which training picture is the nearest.
        distance: (m,) d_1.
        nearness: (m,) r of equation (1).
        order: (m,) the samples, the most suspicious one first.
        training, held_out: how many pictures there were.
        threshold: tau of equation (3).
        share: of the samples that lie below it.
        expected: of fresh pictures, at most.
        chance: that as many fresh pictures or more would, at most, by equation (2).
        verdict: memorised, if ``chance`` is below ``LEVEL`` and ``share`` twice what is expected.
    """

    neighbour: Int[Tensor, "M"]
    distance: PerSample
    nearness: PerSample
    order: Int[Tensor, "M"]
    training: int
    held_out: int
    threshold: float
    share: float
    expected: float
    chance: float
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """The verdict with its reason."""
        count, few = len(self.distance), "too few pictures to say"
        if self.verdict == few:
            return f"{few}: copies among {count} samples would hardly stand out from {self.held_out} held-out pictures"
        share = f"{self.share:.1%} of {count} samples cling to one training picture"
        return f"{self.verdict}: {share}, where fresh pictures would do so in at most {self.expected:.1%} of all cases"

    def lines(self) -> list[str]:
        """For a terminal."""
        return [
            f"verdict       {self.sentence}",
            f"nearness      {self.nearness.median().item():.3f}    median; below {self.threshold:.3f} is suspicious",
            f"chance        {self.chance:.1g}    of that or more among fresh pictures, at most",
            f"compared      {len(self.distance)} samples; {self.training} training, {self.held_out} held-out pictures",
        ]

    def data(self) -> Mapping[str, Any]:
        """The same as JSON, with the closest pairs: sample, training picture, distance, nearness."""
        closest = self.order[:_SHOWN].tolist()
        columns = (self.neighbour, self.distance, self.nearness)
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            **{name: getattr(self, name) for name in _NUMBERS},
            "samples": len(self.distance),
            "closest": [[k, *(column[k].item() for column in columns)] for k in closest],
        }


def memorisation(
    samples: Float[Tensor, "M D"],
    training: Float[Tensor, "N D"],
    held_out: Float[Tensor, "L D"],
    *,
    quantile: float = QUANTILE,
) -> Memorisation:
    """Compares samples with training pictures, by features; memory is that of a few rows of distances.

    Args:
        samples: features of what the model made, each with its own seed.
        training: of the pictures that it was trained on, as it saw them.
        held_out: of those that it was not, brought to the same shape in the same way.
        quantile: a / (l + 1), about.

    Raises:
        ValueError: no samples, no held-out pictures, or fewer than two training pictures.
    """
    if min(len(samples), len(held_out)) < 1 or len(training) < 2:
        raise ValueError("memorisation is told from samples, held-out pictures, and two training pictures or more")
    distance, neighbour, nearness = _nearness(samples, training)
    usual = _nearness(held_out, training)[2].sort().values
    rank = max(1, int(quantile * (len(usual) + 1)))
    threshold = torch.minimum(usual[rank - 1], _COPY * usual.median())
    below = int((nearness < threshold).sum())
    chance = _at_least(below, len(samples), rank, len(usual))
    share, expected = below / len(samples), rank / (len(usual) + 1)
    copied = chance < LEVEL and share >= _EXCESS * expected
    telling = _at_least(math.ceil(len(samples) / 2), len(samples), rank, len(usual)) < LEVEL
    return Memorisation(
        neighbour=neighbour,
        distance=distance,
        nearness=nearness,
        order=nearness.argsort(stable=True),
        training=len(training),
        held_out=len(held_out),
        threshold=threshold.item(),
        share=share,
        expected=expected,
        chance=chance,
        verdict="memorised" if copied else "sound" if telling else "too few pictures to say",
    )


def _nearness(x: Tensor, training: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """d_1, whose it is, and r of equation (1), (B,) each."""
    distances, indices = nearest_neighbours(x, training, min(_AROUND, len(training)))
    around = distances.mean(1)
    return distances[:, 0], indices[:, 0], torch.where(around > 0, distances[:, 0] / around, 0)


def _at_least(count: int, samples: int, rank: int, held_out: int) -> float:
    """P(K >= count) by equation (2)."""
    j, a, b = torch.arange(count, samples + 1).double(), float(rank), float(held_out + 1 - rank)
    ways = -torch.log(torch.tensor(samples + 1.0).double()) - _log_beta(j + 1, samples - j + 1)
    total = (ways + _log_beta(a + j, b + samples - j)).logsumexp(0)
    whole = _log_beta(torch.tensor(a).double(), torch.tensor(b).double())
    return min(1.0, (total - whole).exp().item())


def _log_beta(p: Tensor, q: Tensor) -> Tensor:
    return torch.lgamma(p) + torch.lgamma(q) - torch.lgamma(p + q)


def closest_pairs(
    found: Memorisation,
    samples: Callable[[Sequence[int]], Pictures],
    training: Callable[[Sequence[int]], Pictures],
    count: int = _SHOWN,
) -> Image.Image:
    """The most suspicious samples, and below each its nearest training picture.

    Args:
        samples: the pictures (B, C, H, W) of some samples, by their numbers.
        training: the pictures (B, C, H, W) of some training examples, by their numbers.
        count: of pairs.
    """
    chosen = found.order[:count]
    pictures = samples(chosen.tolist()), training(found.neighbour[chosen].tolist())
    rows = [[to_image(pixels).resize((_EDGE, _EDGE)) for pixels in to_uint8(as_colour(x))] for x in pictures]
    headings = [f"{value:.2f}" for value in found.nearness[chosen].tolist()]
    return sheet(rows, headings, ["sample", "nearest training picture"])
