"""Work in another process, which shares what this one has imported, and may be killed."""

import os
import sys
from collections.abc import Callable

import torch


def child(work: Callable[[], object]) -> int:
    """Starts ``work`` in another process."""
    process = os.fork()
    if process == 0:
        torch.set_num_threads(1)  # makes torch's pool of threads anew, before several of them ask for it
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return process


def was_killed(process: int) -> bool:
    """Waits for the end; False is a normal one."""
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "what was begun again failed"
    return os.WIFSIGNALED(status)
