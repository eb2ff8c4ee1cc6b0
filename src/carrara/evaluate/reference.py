"""Features of a data set, computed once and kept: half of the work of every metric.

They lie in a folder that is named by its key, a hash of all that the numbers depend on, so that it is never stale:

reference/<key>/00000.safetensors    features of the first 2048 pictures, float32; 00001 has the next, and so on

A file is written whole or not at all; what was computed before an interruption stays. Nothing here deletes anything.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from carrara.data import Dataset, Transform, batch_of, fingerprint
from carrara.errors import UserError
from carrara.evaluate.features import Features, extract
from carrara.files import BadFile, NotWritten, read_tensors, replacing, shapes

REFERENCE_FORMAT = 1
"""Of the files and of what is computed; a part of the key."""
PICTURES_A_FILE = 2048
"""Pictures of a file: what an interruption costs at most."""
_TOGETHER = 32


@final
class Reference:
    """The features of a data set. A picture that cannot be read has those of the next one, as in training.

    Args:
        features: on its device.
        dataset: of pictures.
        transform: as in training; nothing is cropped or mirrored at random here.
        folder: where they are kept, for the next time; where the disk refuses, they are held in memory.
        split: what part of the data this is, for the record: ``train`` or ``held out``.
        within: see ``files.make_folder``.

    Attributes:
        key: what the folder is named by: 16 hexadecimal digits.
        name: whose features of how many pictures.

    Raises:
        UserError: there are no pictures.
    """

    def __init__(
        self,
        features: Features,
        dataset: Dataset,
        transform: Transform,
        folder: Path,
        *,
        split: str = "all",
        within: Path | None = None,
    ) -> None:
        if not len(dataset):
            raise UserError("there are no pictures to compare with: hold some of the data out, with data.held_out")
        self._features, self._dataset, self._transform = features, dataset, transform.plain()
        parts = (
            REFERENCE_FORMAT,
            features.fingerprint(),
            features.name,
            repr(self._transform),
            fingerprint(dataset),
            split,
        )
        self.key = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
        self.name = f"{features.name}; {len(dataset)} pictures of {dataset.info.name} ({split})"
        self._folder, self._within = folder / self.key, within
        self._held: dict[int, Tensor] = {}

    def complete(self) -> Iterator[tuple[int, int]]:
        """Computes what is not there yet; yields how many pictures of how many are done. Memory holds one file's,
        or all where the disk refuses.

        Raises:
            UserError: no picture can be read.
        """
        for number, examples in enumerate(self._shards()):
            done = examples[0]
            if number not in self._held and not _is_whole(self._path(number), len(examples)):
                parts: list[Tensor] = []
                for vectors in extract(self._features, self._pictures(examples)):
                    parts.append(vectors.float())
                    done += len(vectors)
                    yield done, len(self._dataset)
                self._keep(number, torch.cat(parts))
            yield examples[-1] + 1, len(self._dataset)

    def batches(self) -> Iterator[Float[Tensor, "_ D"]]:
        """The features, in the data set's order, file by file; what is not there yet is computed.

        Raises:
            UserError: as ``complete``.
        """
        for _ in self.complete():
            pass
        for number, _ in enumerate(self._shards()):
            if number in self._held:
                yield self._held[number]
            else:
                yield read_tensors(self._path(number))["features"]

    def vectors(self) -> Float[Tensor, "N D"]:
        """All of them."""
        return torch.cat(list(self.batches()))

    def _shards(self) -> list[range]:
        count = len(self._dataset)
        return [range(first, min(first + PICTURES_A_FILE, count)) for first in range(0, count, PICTURES_A_FILE)]

    def _pictures(self, examples: Sequence[int]) -> Iterator[Tensor]:
        for first in range(0, len(examples), _TOGETHER):
            yield batch_of(self._dataset, self._transform, examples[first : first + _TOGETHER]).x

    def _keep(self, number: int, vectors: Tensor) -> None:
        """In a file, or where that cannot be written, in memory: then it is only slow the next time."""
        try:
            with replacing(self._path(number), within=self._within) as file:
                file.write(save({"features": vectors}))
        except NotWritten:
            self._held[number] = vectors

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05}.safetensors"


def _is_whole(path: Path, count: int) -> bool:
    try:
        return shapes(path).get("features", (0,))[:1] == (count,)
    except BadFile:
        return False
