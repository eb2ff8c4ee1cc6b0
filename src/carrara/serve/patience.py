"""How torch behaves beside a server: its threads wait asleep, and it remembers no more than it needs.

OpenMP's threads wait for each other in a loop, for as long as there seem to be enough cores. A studio has other things
to do: it answers while it draws, and others work on the machine. Then a thread that loops keeps the one from working
that it waits for: on two cores on which others worked, the same digit took four times as long.

oneDNN keeps how a layer is computed for each size of a batch, 1,024 of them by itself. Requests that are drawn together
make batches of many sizes: a studio of a small model grew by 59 MiB in a thousand requests. With 64 the shipped model
drew about as fast.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager

from carrara.memory import share_arena

_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""As GNU's library and Intel's read it, once, when they are loaded."""
_REMEMBERED = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
"""As oneDNN reads it, once, when the first layer is computed."""


@contextmanager
def patient() -> Generator[None]:
    """Torch, if it is imported in here, lets its threads sleep; what the environment says already counts more, and
    processes that are started later wait as they like."""
    share_arena()
    for name, value in _REMEMBERED.items():
        os.environ.setdefault(name, value)
    said = {name: value for name, value in _WAITING.items() if name not in os.environ}
    os.environ.update(said)
    try:
        yield
    finally:
        for name in said:
            os.environ.pop(name, None)
