"""Memory that is freed stays with the process.

Each step of a training makes and frees the same large tensors. The C library gives memory of that size back to the
system at once, and the system clears every page that is asked for again: some 70,000 of them in a step of DDPM's
CIFAR-10 network at a batch of 16, a twentieth of its time.
"""

import ctypes
import os
from contextlib import suppress

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's mallopt
_LARGEST, _AHEAD = 2**31 - 1, 1 << 26


def installed() -> int:
    """The bytes of memory that this machine has; 16 GiB where that cannot be known."""
    with suppress(AttributeError, OSError, ValueError):  # another system
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1 << 34


def keep_freed() -> bool:
    """Asks the C library to keep what is freed, for the rest of the process; whether it can (glibc)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _AHEAD))
    return [mallopt(name, value) for name, value in settings] == [1] * len(settings)
