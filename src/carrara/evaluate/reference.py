"""Features of a data set, computed once and kept: half of the work of every metric.

They lie in a folder that is named by its key, a hash of all that the numbers depend on, so that it is never stale:

reference/<key>/00000.safetensors    features of the first 2048 pictures, float32; 00001 has the next, and so on

A file is written whole or not at all; what was computed before an interruption stays. Nothing here deletes anything.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
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
from carrara.ranks import each, from_all, in_all, rank

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
        or all where the disk refuses. All ranks call it, and share the work; the first one writes.

        Raises:
            UserError: no picture can be read.
        """
        missing = from_all(self._missing)[0]
        for number, examples in enumerate(self._shards()):
            if number in missing:
                parts: list[Tensor] = []
                for vectors in each(self._vectors_of, _chunks(examples)):
                    parts.append(vectors)
                    yield examples[0] + sum(map(len, parts)), len(self._dataset)
                in_all(partial(self._keep, number, torch.cat(parts)))
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

    def _missing(self) -> set[int]:
        """The files that are not there, whole."""
        every = enumerate(self._shards())
        return {k for k, examples in every if k not in self._held and not _is_whole(self._path(k), len(examples))}

    def _vectors_of(self, examples: Sequence[int]) -> Tensor:
        (vectors,) = extract(self._features, [batch_of(self._dataset, self._transform, examples).x])
        return vectors.float()

    def _keep(self, number: int, vectors: Tensor) -> None:
        """In a file, or where that cannot be written, in memory: then it is only slow the next time."""
        if rank() > 0:
            self._held[number] = vectors
            return
        try:
            with replacing(self._path(number), within=self._within) as file:
                file.write(save({"features": vectors}))
        except NotWritten:
            self._held[number] = vectors

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05}.safetensors"


def _chunks(examples: Sequence[int]) -> list[Sequence[int]]:
    return [examples[first : first + _TOGETHER] for first in range(0, len(examples), _TOGETHER)]


def _is_whole(path: Path, count: int) -> bool:
    try:
        return shapes(path).get("features", (0,))[:1] == (count,)
    except BadFile:
        return False
