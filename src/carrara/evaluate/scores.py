"""Numbers that say how far samples are from data, each with its error, from features that were computed once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from carrara.errors import UserError, known, option
from carrara.evaluate.bootstrap import HALVES, bootstrap
from carrara.evaluate.features import Features
from carrara.evaluate.frechet import frechet_bias, frechet_distance_of_sets, moments
from carrara.evaluate.inception import InceptionFeatures, inception_score
from carrara.evaluate.kernel import Estimate, cmmd, kernel_distance
from carrara.evaluate.precision import NEIGHBOURS, precision_recall

FEWEST = 20
"""Pictures of each set, below which no number is worth its name."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number.

    Attributes:
        error: the standard error.
        note: what else to know about it.
    """

    name: str
    value: float
    error: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SampleMetrics:
    """Scores, and what they looked at.

    Attributes:
        features: whose.
        fake, real: how many pictures.
        split: which part of the data the real ones are.
    """

    scores: tuple[Score, ...]
    features: str
    fake: int
    real: int
    split: str

    def lines(self) -> list[str]:
        """For a terminal."""
        rows = [(s.name, f"{s.value:.4g} ± {s.error:.1g}", f"one standard error; {s.note}") for s in self.scores]
        rows += [("features", self.features, ""), ("compared", f"{self.fake} samples, {self.real} {self.split}", "")]
        width = max((len(value) for _, value, note in rows if note), default=0)
        return [f"{name:<12}  {value:<{width}}  {note}".rstrip() for name, value, note in rows]

    def data(self) -> Mapping[str, Any]:
        """The same as JSON."""
        looked = {"features": self.features, "fake": self.fake, "real": self.real, "split": self.split}
        return {**{score.name: asdict(score) for score in self.scores}, **looked}


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Features of samples and of data, and how to look at them."""

    fake: Tensor
    real: Tensor
    features: Features
    count: int
    seed: int


def _fid(sets: _Compared) -> list[Score]:
    def distance(fake: Tensor, real: Tensor) -> Mapping[str, float]:
        return {"fid": frechet_distance_of_sets(fake, real)}

    found = bootstrap(distance, sets.fake, sets.real, count=sets.count, seed=sets.seed)["fid"]
    few = min(len(sets.fake), len(sets.real))
    width = sets.fake.shape[1]
    if few <= width:
        bias = f"for {few} pictures in {width} dimensions mostly bias: compare only at this N"
    else:
        covariance = moments([sets.real]).covariance
        expected = sum(frechet_bias(covariance, len(x)) for x in (sets.fake, sets.real))
        bias = f"of which bias about {expected:.3g}; extrapolated to infinite N {found.extrapolated:.4g}"
    return [Score(name="fid", value=found.value, error=found.error, note=bias)]


def _kid(sets: _Compared) -> list[Score]:
    return [_score("kid", kernel_distance(sets.fake, sets.real), "unbiased; 0 is perfect")]


def _prdc(sets: _Compared) -> list[Score]:
    def statistic(fake: Tensor, real: Tensor) -> Mapping[str, float]:
        return precision_recall(fake, real).data()

    found = bootstrap(statistic, sets.fake, sets.real, count=sets.count, seed=sets.seed)
    note = f"k = {NEIGHBOURS}"
    return [Score(name=name, value=value.value, error=value.error, note=note) for name, value in found.items()]


def _cmmd(sets: _Compared) -> list[Score]:
    return [_score("cmmd", cmmd(sets.fake, sets.real), "unbiased; 0 is perfect")]


def _is(sets: _Compared) -> list[Score]:
    assert isinstance(sets.features, InceptionFeatures)
    return [_score("is", inception_score(sets.features.logits(sets.fake).cpu()), "of the samples alone; 10 parts")]


def _score(name: str, found: Estimate, note: str) -> Score:
    return Score(name=name, value=found.value, error=found.error, note=note)


_METRICS: dict[str, Callable[[_Compared], list[Score]]] = {
    "fid": _fid,
    "kid": _kid,
    "prdc": _prdc,
    "cmmd": _cmmd,
    "is": _is,
}
SAMPLE_METRICS = tuple(_METRICS)
"""What ``sample_metrics`` can compute; ``prdc`` is precision, recall, density and coverage."""
_NEEDS = {
    "cmmd": "cmmd is defined for CLIP's features alone: give the features clip:FOLDER",
    "is": "the Inception score needs Inception's classes: give the features inception:FILE",
}


def check_metrics(names: Sequence[str], fake: int, real: int, *, features: Features, split: str) -> None:
    """Refuses what ``sample_metrics`` could not compute, before samples are drawn for it.

    Args:
        fake, real: how many there will be.

    Raises:
        UserError: an unknown name, one that needs other features, or fewer than 20 pictures.
    """
    for name in (known("metric of samples", name, _METRICS) for name in names):
        if name in _NEEDS and name not in features.own_metrics:
            raise UserError(_NEEDS[name])
    if min(fake, real) < FEWEST:
        raise UserError(
            f"{fake} samples and {real} {split} are too few to compare: take {FEWEST} of each or more "
            f"({option('samples')}, and data.held_out in training)"
        )


def sample_metrics(
    fake: Float[Tensor, "M D"],
    real: Float[Tensor, "N D"],
    names: Sequence[str] = ("fid", "kid", "prdc"),
    *,
    features: Features,
    split: str,
    count: int = HALVES,
    seed: int = 0,
) -> SampleMetrics:
    """Computes metrics of samples by their names.

    Args:
        fake, real: features of samples and of real pictures.
        names: some of ``SAMPLE_METRICS``.
        features: that computed them.
        split: which part of the data the real pictures are, such as ``held-out pictures``.
        count: of halves, from which the errors of ``fid`` and ``prdc`` come.
        seed: which halves.

    Raises:
        UserError: an unknown name, one that needs other features, or fewer than 20 pictures.
    """
    check_metrics(names, len(fake), len(real), features=features, split=split)
    sets = _Compared(fake=fake, real=real, features=features, count=count, seed=seed)
    scores = [score for name in names for score in _METRICS[known("metric of samples", name, _METRICS)](sets)]
    return SampleMetrics(scores=tuple(scores), features=features.name, fake=len(fake), real=len(real), split=split)
