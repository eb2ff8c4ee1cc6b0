"""Torch's threads sleep while they wait for each other, where others are at work on the machine.

OpenMP's threads wait in a loop, a thousandth of a second and longer, before they sleep. On a machine with nothing else
to do that is the fastest: woken threads come too late for layers of a tenth of a millisecond. But where others work,
too, a thread that loops keeps the one from working that it waits for (benchmarks/results/first_picture.md).
"""

import os
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import sleep

from carrara.errors import UserError

_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""As GNU's library and Intel's read it, once, when torch loads them."""
_SAID = (*_WAITING, "GOMP_SPINCOUNT")
_rested = list[bool]()
_LOOKS, _BETWEEN = 9, 0.006
"""So often is it looked who else would run, with so many seconds between: what a command that begins sets going in the
system runs for up to 20 milliseconds."""


def rest() -> None:
    """Lets the threads sleep, if torch is not loaded yet. What the environment says counts more."""
    if not any(name in os.environ for name in _SAID):
        os.environ.update(_WAITING)
        _rested.append(True)


def as_before() -> dict[str, str]:
    """The environment without what ``rest`` has said: other processes look for themselves."""
    ours = {name: value for name, value in _WAITING.items() if _rested and os.environ.get(name) == value}
    return {name: value for name, value in os.environ.items() if name not in ours}


def rest_beside_others() -> None:
    """The same where others keep half of the cores at work, or more."""
    if others_at_work() >= max(1.0, (os.cpu_count() or 1) / 2):
        rest()


def others_at_work() -> float:
    """How many threads of other programs run now, or would; 0 where the system does not say."""
    counts = [0.0]
    with suppress(OSError, UserError, ValueError, IndexError):
        counts = [_running() - 1 for _ in range(_LOOKS) if not sleep(_BETWEEN)]
    return max(0.0, median(counts))


def _running() -> float:
    """How many threads run or would run, as Linux says it; this one is among them."""
    from carrara.files import read_text  # imports more than a help needs

    return float(read_text(Path("/proc/loadavg")).split()[3].partition("/")[0])
