"""torchrun, or ``carrara train --launch``, whose processes are forked from this one, so that none imports torch anew.

Usage: forked_ranks.py FOLDER torchrun|carrara WORD ...: each process adds a line to FOLDER/ranks.txt, its rank and its
number, and for each batch that it takes a line to FOLDER/batches.jsonl.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch._dynamo
from PIL import Image
from torch.distributed import run as torchrun
from torch.distributed.launcher import api
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from carrara.cli import commands, main
from carrara.data import Loader
from carrara.train import distributed
from carrara.types import Batch

IMPORTED = torch._dynamo, commands, Image.init()
"""What every process needs, before they are forked."""


def work(ranks: str, *words: str) -> None:
    """One process: the command."""
    with Path(ranks).open("a") as file:
        file.write(f"{os.environ['RANK']} {os.getpid()}\n")
    try:
        main(list(words))
    except SystemExit as end:
        if end.code:
            raise


def leave_later(code: int) -> NoReturn:
    """Of forked processes torch sees one failure alone: it shall be that of who was killed, not of who misses him."""
    time.sleep(0.5)
    os._exit(code)


def noted(loader: Loader, start: int = 0, batches: Any = Loader.batches) -> Iterator[Batch]:
    """The loader's batches."""
    for step, batch in enumerate(batches(loader, start), start=start + 1):
        positions = batch.position.tolist()
        line = {"step": step, "rank": distributed.rank(), "positions": positions, "names": loader.names(positions)}
        with Path(sys.argv[1], "batches.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        yield batch


class Forked:
    """In the place of ``elastic_launch``."""

    def __init__(self, config: LaunchConfig, entrypoint: str) -> None:
        self.config = replace(config, start_method="fork")

    def __call__(self, *words: str) -> dict[int, Any]:
        return elastic_launch(self.config, work)(f"{sys.argv[1]}/ranks.txt", *words[words.index("carrara") + 1 :])


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    api.elastic_launch = torchrun.elastic_launch = Forked
    distributed.leave, Loader.batches = leave_later, noted
    main(sys.argv[3:]) if sys.argv[2] == "carrara" else torchrun.main(sys.argv[3:])
