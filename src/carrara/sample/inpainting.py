r"""Inpainting by a model that was never trained for it (Lugmayr et al., "RePaint", 2022).

With y what is known, m = 1 where something new is made, and s below t, a step takes what is new from the sampler, and
what is known from the forward process:

.. math:: x_s = m \, x_s^{new} + (1 - m) (\alpha_s y + \sigma_s \epsilon).                                       (1)

So the new part was made beside a known one that has been exchanged since: replacement alone does not sample from
p(x | y). Going back up by the forward process, which mixes the two,

.. math:: x_t = \alpha_{ts} x_s + \sigma_{ts} \epsilon,                                                          (2)

and down again, r times in all, brings them together: the new part then forgets its start, and feels the known part
through the denoiser. It takes more resamplings r where the new part is tightly bound to the known one; docs/editing.md
has the error against r and the number of steps, where the answer is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise

import torch
from jaxtyping import Bool
from torch import Tensor

from carrara.noise import Schedule, transition
from carrara.sample.absorbing import Absorbing, Unmasking
from carrara.sample.base import Level, Sampler, SampleStep, Times, walk
from carrara.shapes import Samples
from carrara.types import DenoiseFn, NoiseFn

MOST_RESAMPLINGS = 1000
"""Resamplings, and intervals that they go over; more are taken for a mistake."""


@dataclass(frozen=True, kw_only=True)
class Repaint:
    """Equations (1) and (2) along a grid.

    Attributes:
        resamplings: r, how often each part of the grid is gone down; 1 is replacement alone.
        jump: how many intervals such a part has.
        eta: of the sampler, which is first-order: 1 is ancestral, 0 is DDIM.
    """

    resamplings: int = 10
    jump: int = 1
    eta: float = 1.0

    def __post_init__(self) -> None:
        if self.resamplings < 1 or self.jump < 1:
            raise ValueError(f"resamplings and jump are 1 or more, got {self.resamplings} and {self.jump}")
        if max(self.resamplings, self.jump) > MOST_RESAMPLINGS:
            raise ValueError(f"both are at most {MOST_RESAMPLINGS}, got {self.resamplings} and {self.jump}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta goes from 0 (deterministic) to 1 (ancestral), got {self.eta}")

    def steps(
        self,
        denoise: DenoiseFn,
        x: Samples,
        times: Times,
        schedule: Schedule,
        noise: NoiseFn,
        *,
        known: Samples,
        new: Bool[Tensor, "..."],
    ) -> Iterator[SampleStep]:
        """Goes down the grid, and back up in between; one ``SampleStep`` per step down.

        Args:
            x: (B, *S) the state at ``times[0]``; what is known is put into it.
            noise: called with 0, 1, 2, ...
            known: y, as ``x``; what stands in it where something new is made does not count.
            new: m, broadcast against ``x``.
        """
        intervals, fresh = list(walk(times, schedule)), map(noise, count())
        total = sum(b > a for a, b in moves(len(intervals), self.resamplings, self.jump))
        x, done = torch.where(new, x, _noised(known, intervals[0].t, fresh)), 0
        for a, b in moves(len(intervals), self.resamplings, self.jump):
            if b < a:
                up = transition(schedule, times[a], times[b])
                x = up.scale.item() * x + up.variance.sqrt().item() * next(fresh)
                continue
            step = intervals[a]
            x0 = denoise(x, step.now(x))
            x = step.add(step.mean(x, x0, self.eta), step.std(self.eta), lambda _: next(fresh))
            x = torch.where(new, x, _noised(known, step.s, fresh) if b < len(intervals) else known)
            yield SampleStep(index=done, total=total, t=step.s.t, x=x, x0=x0)
            done += 1


Inpainting = Repaint | Unmasking
"""What takes the sampler's place where a part of a sample is known."""


def inpainting(sampler: Sampler) -> Inpainting:
    """How samples of which a part is known are drawn, unless one says."""
    return Unmasking(remask=sampler.remask) if isinstance(sampler, Absorbing) else Repaint()


def moves(intervals: int, resamplings: int, jump: int) -> Iterator[tuple[int, int]]:
    """From which to which place of a grid equations (1) (one place on) and (2) (``jump`` back) go.

    Clean data are where it ends: the last interval is gone down once.
    """
    for top in range(0, intervals, jump):
        bottom = min(top + jump, intervals)
        turn = min(bottom, intervals - 1)
        for _ in range(resamplings - 1 if turn > top else 0):
            yield from pairwise(range(top, turn + 1))
            yield turn, top
        yield from pairwise(range(top, bottom + 1))


def _noised(known: Tensor, at: Level, fresh: Iterator[Tensor]) -> Tensor:
    return at.alpha * known + at.sigma * next(fresh)
