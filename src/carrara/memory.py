"""Memory that is freed stays with the process.

Each step of a training makes and frees the same large tensors. The C library gives memory of that size back to the
system at once, and the system clears every page that is asked for again: some 70,000 of them in a step of DDPM's
CIFAR-10 network at a batch of 16, a twentieth of its time.

A server is the other case: each of its threads has an arena of its own, whose gaps no other thread uses, and what lies
between two things that are in use is not given back. A studio of a small model grew by 4 to 13 % in a thousand
requests; with one arena, from which pages are given back after each job, by 3 %. And oneDNN keeps how a layer is
computed for each size of a batch, 1,024 of them by itself. Requests that are drawn together make batches of many sizes:
a studio of a small model grew by 59 MiB in a thousand requests. With 64 the shipped model drew about as fast.
"""

import ctypes
import os
from contextlib import suppress

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's mallopt
_ARENA_MAX = -8
_LARGEST, _AHEAD = 2**31 - 1, 1 << 26
_REMEMBERED = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # as oneDNN reads it, once, when the first layer is computed


def installed() -> int:
    """The bytes of memory that this machine has; 16 GiB where that cannot be known."""
    with suppress(AttributeError, OSError, ValueError):  # another system
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1 << 34


def keep_freed() -> bool:
    """Asks the C library to keep what is freed, for the rest of the process; whether it can (glibc)."""
    return _set((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, _AHEAD))


def share_arena() -> bool:
    """Asks the C library for one arena for all threads that begin from now on; whether it can (glibc)."""
    return _set((_ARENA_MAX, 1))


def remember_few_layers() -> None:
    """Lets oneDNN keep few sizes of layers, if it has computed none yet; what the environment says counts more."""
    os.environ.setdefault(*_REMEMBERED)


def give_back() -> bool:
    """Gives the system the pages back that nothing is in; whether the C library can (glibc)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    return True


def _set(*settings: tuple[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    return [mallopt(name, value) for name, value in settings] == [1] * len(settings)
