"""A long training takes the fastest way through each layer on its machine, and as many threads as are the fastest for
its steps; both are measured before it begins.

The ways differ by rounding, so a run keeps those that it began with: they are in its folder, and hold wherever the
machine is the same. ``train.tune=false`` and the environment's ``CARRARA_TUNE=0`` turn all of it off.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from carrara.measure import threads
from carrara.measure.timing import machine
from carrara.measure.ways import Ways, keep_ways, measure_ways, read_ways, turned_off
from carrara.nn import choose, native
from carrara.objective import Objective
from carrara.run.compilation import Note
from carrara.train import TrainSettings, distributed
from carrara.types import Batch

LONG, LONG_STEPS = 10, 2000
"""Minutes from which on measuring is worth it, or steps."""
FILE = "ways.json"


def tuned(objective: Objective, batch: Batch, settings: TrainSettings, folder: Path) -> Iterator[Note]:
    """Has a training's layers take their fastest ways, where that is wanted and worth it.

    Args:
        objective: on its device.
        batch: of this process.
        folder: the run's.
    """
    device = next(objective.parameters()).device
    if not wanted(settings, device) or distributed.world() > 1:
        return
    ways = _recalled(folder / FILE, device)
    if ways is None:
        yield Note(text="measuring which ways of computing layers are the fastest here: once for a machine and a size")
        ways, why = measure_ways(objective, batch, settings)
        if why:
            yield Note(text=f"convolutions are torch's own: the faster kernels are not here ({why})")
        choose(objective, ways.fastest)
        ways = replace(ways, threads=threads.fewer(objective, batch.to(device), settings))
        keep_ways(folder / FILE, ways)
    elif ways.needs_kernels and (why := native.missing()):
        yield Note(text=f"the kernels with which this run began are not here ({why}): it goes on with torch's own")
        ways = Ways(machine=ways.machine, threads=ways.threads)
    choose(objective, ways.fastest)
    if ways.threads is not None:
        yield Note(
            text=f"steps are faster on {ways.threads} of {torch.get_num_threads()} threads here, and are made so"
        )
        torch.set_num_threads(ways.threads)
    other = [one for one in ways.measured if one.gain > 1]
    if other:
        most = max(other, key=lambda one: one.gain)
        yield Note(
            text=f"{len(other)} of {len(ways.measured)} kinds of layers take another way than torch's, up to "
            f"{most.gain:.1f} times as fast; the numbers differ by rounding (train.tune=false leaves all as it was)"
        )


def wanted(settings: TrainSettings, device: torch.device) -> bool:
    """Whether a training's layers are to be measured."""
    if device.type != "cpu" or settings.compile or turned_off():
        return False
    if settings.tune is None:
        return (settings.minutes or 0) >= LONG or (settings.steps or 0) >= LONG_STEPS
    return settings.tune


def _recalled(file: Path, device: torch.device) -> Ways | None:
    """What a run began with, if that was on this machine."""
    ways = read_ways(file)
    return ways if ways is not None and ways.machine == machine(device) else None
