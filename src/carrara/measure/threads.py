"""On how many threads a training step is the fastest, by measurement.

Torch takes a thread for each core. Small networks lose by it: their layers are done before all threads have heard of
them, and slow cores hold up fast ones.
"""

from collections.abc import Generator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import repeat

import torch

from carrara.measure.timing import Work, seconds_of, time_in_turns
from carrara.objective import Objective
from carrara.threads import others_at_work
from carrara.train import TrainSettings, TrainState, train
from carrara.types import Batch

LONG = 0.3
"""Seconds. A step that takes longer has enough to do for all cores, and is not measured."""
WORTH = 1.1
"""On fewer threads it must be so many times as fast."""
_ROUNDS, _FOREVER = 5, 10**9


def fewer(objective: Objective, batch: Batch, settings: TrainSettings) -> int | None:
    """On how many threads a step is ``WORTH`` times as fast, which are halved as long as it is; None: on all of them.

    Where other programs are at work nothing is measured, as it would say how busy they are. Steps are made with a copy.
    """
    count = before = torch.get_num_threads()
    if count == 1 or others_at_work() >= 1:
        return None
    settings = replace(settings, steps=_FOREVER, minutes=None, compile=False)
    state = TrainState(deepcopy(objective), settings)
    steps = train(state, lambda _: repeat(batch), settings, seed=0)

    def step(threads: int) -> object:
        torch.set_num_threads(threads)
        return next(steps)

    try:
        next(steps)  # the first one prepares memory
        took = seconds_of(partial(step, count), state.device)
        while count > 1 and took <= LONG:
            works = [Work(name=str(n), do=partial(step, n)) for n in (count, count // 2)]
            whole, half = (timing.median for timing in time_in_turns(works, _ROUNDS, state.device))
            if WORTH * half > whole:
                break
            count, took = count // 2, half
    finally:
        torch.set_num_threads(before)
    return count if count < before else None


@contextmanager
def as_before() -> Generator[None]:
    """Torch has as many threads after it as before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
