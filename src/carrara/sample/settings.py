"""How to sample, as one value: what a recipe states, a model carries with it, and a command overrides."""

import math
from dataclasses import dataclass
from typing import Annotated

from carrara.errors import UserError, option
from carrara.kinds import BY_KIND, SPELLED
from carrara.noise import Schedule
from carrara.sample.catalogue import AnyGrid, AnySampler
from carrara.sample.grids import Uniform
from carrara.sample.guidance import AnyMethod, Both, Cfg, clip, dynamic_threshold, guide
from carrara.sample.multistep import DpmPp
from carrara.types import DenoiseFn, Wrapper

MOST_STEPS = 10_000
"""More than that are taken for a mistake."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How to go from noise to data.

    Attributes:
        sampler, grid: the method, and where it stops on its way.
        steps: how many steps.
        guidance: guidance scale; 1 = off.
        method: how guidance goes beyond the condition.
        interval: the times between which guidance acts.
        rescale: how far to undo guidance's change of contrast, 0 to 1.
        clip: clips estimates to [-1, 1]; for pixels, not for latents or points.
        threshold: dynamic thresholding's percentile, as in 0.995, in the place of clipping; None = off.
    """

    sampler: Annotated[AnySampler, SPELLED, BY_KIND] = DpmPp()
    grid: Annotated[AnyGrid, SPELLED, BY_KIND] = Uniform()
    steps: int = 20
    guidance: float = 1.0
    method: Annotated[AnyMethod, SPELLED, BY_KIND] = Cfg()
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0
    clip: bool = False
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"sampling takes at least 1 step, got {self.steps}")
        if self.steps > MOST_STEPS:
            raise ValueError(f"sampling takes at most {MOST_STEPS} steps, got {self.steps}")
        if not math.isfinite(self.guidance):
            raise ValueError(f"guidance is a number, got {self.guidance}")
        low, high = self.interval
        if not 0 <= low <= high <= 1 or not 0 <= self.rescale <= 1:
            raise ValueError(
                "the interval of guidance and its rescale lie in [0, 1], and the interval's low comes first"
            )
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is a percentile in (0, 1], got {self.threshold}")

    def check(self, levels: bool) -> None:
        """Refuses what does not go with a model, whether of ``levels`` or of numbers.

        Raises:
            UserError: the sampler is of the other kind, or guidance of levels is to be changed.
        """
        if levels and not self.sampler.masks:
            raise UserError(
                f"this model goes from masks to levels, and {self.sampler.kind} from noise to numbers: take "
                f"{option('sampler', 'absorbing')}"
            )
        if self.sampler.masks and not levels:
            raise UserError(
                f"the sampler {self.sampler.kind} is for models of levels (objective.kind=absorbing), and this one "
                f"goes from noise to numbers: take another, as in {option('sampler', 'dpmpp')}"
            )
        if levels and (self.method.kind != "cfg" or self.rescale or self.threshold is not None):
            raise UserError("guidance of levels is a product of probabilities: leave method, rescale and threshold out")

    def wrap(
        self,
        cond: DenoiseFn,
        null: DenoiseFn,
        schedule: Schedule,
        within: Wrapper | None = None,
        both: Both | None = None,
    ) -> DenoiseFn:
        """Guides ``cond`` away from ``null`` and keeps the result in range, as these settings say, for one sampling.

        Args:
            within: what else becomes of the guided estimate before it is kept in range.
            both: ``cond`` and ``null`` at once, where that is cheaper; see ``guide``.
        """
        rule = self.sampler.rule(self.method, schedule)
        guided = guide(cond, null, self.guidance, rule=rule, interval=self.interval, rescale=self.rescale, both=both)
        guided = guided if within is None else within(guided)
        if self.threshold is not None:
            return dynamic_threshold(guided, self.threshold)
        return clip(guided) if self.clip else guided
