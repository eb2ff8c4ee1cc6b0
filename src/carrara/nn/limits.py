"""How large a network may become: what it would have is counted while it is built, before there is memory for it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch.nn.modules import module

WIDEST = 1 << 16
"""More features at a place are taken for a mistake."""
DEEPEST = 1000
"""More layers, or blocks of a level, are taken for a mistake."""
MODULES = 20_000
"""More parts than that are taken for a mistake."""
BESIDE = 1 << 24
"""So many numbers may a network have beside those that are in its files."""
_FAILED = (MemoryError, RuntimeError, ArithmeticError, TypeError, LookupError, AssertionError)


class TooLarge(ValueError):
    """A network would have more numbers, or parts, than it may."""


class _Budget:
    def __init__(self, numbers: int) -> None:
        self.numbers, self.modules = numbers, MODULES


_budget: ContextVar[_Budget | None] = ContextVar("budget", default=None)


@contextmanager
def bounded(numbers: int) -> Generator[None]:
    """A block in which no network is built of more than ``numbers`` parameters and buffers.

    Raises:
        TooLarge: one would be, as soon as that is known; also where there is no memory for it.
    """
    token = _budget.set(_Budget(numbers))
    hooks = [
        module.register_module_parameter_registration_hook(_count_numbers),
        module.register_module_buffer_registration_hook(_count_numbers),
        module.register_module_module_registration_hook(_count_module),
    ]
    try:
        yield
    except _FAILED as error:
        reason = " ".join(str(error).split())[:100]
        raise TooLarge(f"it cannot be built ({reason or 'there is no memory for it'})") from None
    finally:
        _budget.reset(token)
        for hook in hooks:
            hook.remove()


def rehearse(build: Callable[[], Any], numbers: int) -> None:
    """Builds a network without memory for its numbers, to know how many it has.

    Raises:
        TooLarge: it has more than ``numbers``, or cannot be built.
        Exception: whatever ``build`` raises of itself.
    """
    with torch.device("meta"), bounded(numbers):
        build()


def _count_numbers(_: object, name: str, value: Any) -> None:
    budget = _budget.get()
    if budget is None or value is None:
        return
    budget.numbers -= value.numel()
    if budget.numbers < 0:
        raise TooLarge(f"it would have {value.numel():,} numbers in '{name}' alone, or too many in all")


def _count_module(_: object, name: str, value: Any) -> None:
    budget = _budget.get()
    if budget is not None:
        budget.modules -= 1
        if budget.modules < 0:
            raise TooLarge(f"it would have more than {MODULES} parts")
