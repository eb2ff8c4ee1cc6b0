"""Saving a training: rank 0 writes whole tensors, or every rank what it has, while the training goes on.

Where weights are parted among the ranks (``train.sharding``), each copies its parts to the CPU and goes on; a thread
writes them, with messages of a group of its own. The checkpoint gets its name when all parts are on the disk: until
then the one before it is the newest. The next one is begun when it is there, and so does the training end.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
import torch.distributed as dist

from carrara.errors import UserError
from carrara.files import write_parts
from carrara.train import checkpoint, distributed, sharding
from carrara.train.checkpoint import Checkpoint, Parts


@final
class Saving:
    """Writes the checkpoints of a training, one after the other; every rank calls each function.

    Args:
        folder: of the checkpoints.
        device: of the training.
        extra: files by name that each of them holds besides.
    """

    def __init__(self, folder: Path, device: torch.device, extra: Mapping[str, bytes] | None = None) -> None:
        self._folder, self._device, self._extra = folder, device, extra
        self._group: Any = None
        self._writing: Future[None] | None = None

    def save(self, moment: Checkpoint, keep: int | None) -> None:
        """Saves a moment; see ``checkpoint.save``. It is copied before this returns.

        Raises:
            UserError: the disk is full, or refuses, now or when the one before was written.
        """
        self.wait()
        if not any(sharding.is_part(tensor) for own in moment.parts.values() for tensor in own.values()):
            if distributed.is_main():
                checkpoint.save(self._folder, moment, extra=self._extra, keep=keep)
            distributed.wait()
            return
        final = self._folder / f"step-{moment.step}"
        if not distributed.anywhere(distributed.is_main() and checkpoint.is_missing(final), self._device):
            return
        if self._group is None:
            self._group = dist.new_group(backend="gloo", timeout=distributed.ALONE)
        copied = replace(moment, parts={part: sharding.copied(own) for part, own in moment.parts.items()})
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing = thread.submit(self._write, self._group, copied, keep)
        thread.shutdown(wait=False)

    def wait(self) -> None:
        """Until what is being written is there.

        Raises:
            UserError: it could not be written.
        """
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        error = writing.exception()
        if distributed.anywhere(error is not None, self._device):
            raise error or UserError("the checkpoint could not be written by another process, which says why")

    def finish(self) -> None:
        """Until nothing is being written, however that ends; nobody is asked."""
        if self._writing is not None:
            self._writing.exception()

    def _write(self, group: dist.ProcessGroup, moment: Checkpoint, keep: int | None) -> None:
        """In the thread: rank 0 makes the folder and seals it, and all write into it."""
        if not distributed.is_main():
            place = _told(None, group)
            if place is not None:
                write_parts(Path(place), checkpoint.by_name(moment.parts), group)
            return
        told = False

        def write(folder: Path, parts: Parts) -> None:
            nonlocal told
            told = True
            _told(str(folder.absolute()), group)
            write_parts(folder, checkpoint.by_name(parts), group)

        try:
            checkpoint.save(self._folder, moment, extra=self._extra, keep=keep, write=write)
        finally:
            if not told:
                _told(None, group)


def _told(place: str | None, group: dist.ProcessGroup) -> str | None:
    """What rank 0 says, on every rank: where to write, or that nothing is to be written."""
    said = [place]
    dist.broadcast_object_list(said, src=0, group=group)
    return said[0]
