"""A command that several processes run together, or one alone: one of them speaks."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import NoReturn

import torch

from carrara.cli.terminal import Terminal, console
from carrara.errors import UserError
from carrara.ranks import from_all, rank, world
from carrara.train import launched
from carrara.train.distributed import is_main, leave, wait


@contextmanager
def together() -> Generator[torch.device]:
    """Joins the processes that were started with this one, if there are any; yields the device to work on.

    Within it they speak to each other by ``ranks.from_all`` and its kin alone, so that a mistake of one of them is
    known to all, and said once.
    """
    with launched() as device:
        console.quiet = not is_main()
        try:
            yield device
        except UserError as error:
            if world() == 1:
                raise
            _end(error)


def _end(error: UserError) -> NoReturn:
    """Ends all of them, when one has said what is wrong."""

    def tell() -> None:
        raise error

    if error.rank is None:
        try:
            from_all(tell)
        except UserError as first:
            error = first
    if error.rank == rank():
        Terminal(stderr=True).print(error.message, style="red")
    with suppress(RuntimeError):  # one of them has gone already
        wait()
    leave(2)
