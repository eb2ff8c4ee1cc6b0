"""Torch's threads sleep while they wait for each other.

OpenMP's threads wait in a loop, a thousandth of a second and longer, before they sleep. Where others work on the
machine, too, a thread that loops keeps the one from working that it waits for: on two cores with eight other programs,
one answer of the shipped model's network took 9.4 s of looping threads, and 0.11 s of sleeping ones.
"""

import os

_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""As GNU's library and Intel's read it, once, when torch loads them."""


def rest() -> None:
    """Lets the threads sleep, if torch is not loaded yet. What the environment says already counts more."""
    if "GOMP_SPINCOUNT" not in os.environ:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)
