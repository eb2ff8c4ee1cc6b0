"""What a metric found, and how it is to be found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from carrara.errors import UserError

CountWatch = Callable[[Iterable[int], int, str], Iterable[int]]
"""Passes on how many of so many are done, of what; a progress bar, for example."""


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """What one metric found.

    Attributes:
        lines: for a terminal.
        data: the same as JSON.
        picture: for those who would rather look.
    """

    lines: list[str]
    data: dict[str, Any]
    picture: Image.Image | None = None


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    """How to measure.

    Attributes:
        samples: how many are drawn, for metrics of samples.
        features: what these look at; see ``evaluate.extractor``.
        seed: of the first sample, and of the noise.
        exact: the variational bound with all of its terms, which takes long; else with some, drawn without bias.
        watch: what is done on the way.
    """

    samples: int = 1000
    features: str = "efficientnet-lite0"
    seed: int = 0
    exact: bool = False
    watch: CountWatch = lambda done, total, what: done

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise UserError(f"metrics of samples need 2 of them or more, not {self.samples}: 1000 are usual")
