"""The latent cache: a data set that is encoded once, because encoding costs more than a step of diffusion in latents.

A cache is a folder that is named by its key, a hash of all that its numbers depend on. So a stale cache is never used.

latents/<key>/00000.safetensors    raw latents of the first examples; 00001 has the next, and so on
latents/<key>/manifest.json        written last: the size and SHA-256 of each shard

A shard has one tensor per example, (V, R, *n): the picture and, if the transform mirrors, its mirror image, each as
the encoder sees it. An example that cannot be read is in the shard's metadata instead, with the reason; the loader puts
the next one in its place, as it does without a cache. Columns, captions and names are the data set's own. Nothing here
deletes anything.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import save
from torch import Tensor

from carrara.data.base import Dataset, Preparation, Unreadable, View, fingerprint
from carrara.data.transforms import Transform
from carrara.errors import UserError, command
from carrara.files import BadFile, is_regular, open_tensors, read_as, replacing
from carrara.files.sealed import sha256
from carrara.pixels import Pixels
from carrara.seeds import Draws

CACHE_FORMAT = 1
"""Of the folder's layout, ``SHARD`` included; a part of the key."""
MANIFEST = "manifest.json"
SHARD = 256
"""Examples of a shard: what an interruption costs at most."""
HASHED = 1 << 30
"""Up to so many bytes, all of a cache is verified when it is opened; of larger ones only the sizes are."""
_LARGEST = torch.finfo(torch.float16).max
_OPEN = 64
_WORKERS = min(4, os.cpu_count() or 1)

EncodeRaw = Callable[[Tensor], Tensor]
"""Pictures (B, C, *N) in [-1, 1], on the CPU, to raw latents (B, R, *n): a first stage's ``encode_raw``."""


Edge = Annotated[int, Field(ge=1, le=1 << 24)]
Count = Annotated[int, Field(ge=0, le=1 << 53)]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file of latents, as it was written; type and shape are None if no example could be read."""

    examples: Count
    bytes: Count
    sha256: str
    dtype: str | None
    shape: tuple[Edge, ...] | None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``manifest.json`` holds.

    Attributes:
        key: see ``cache_key``.
        shape: of the first latents, (V, R, *n).
        shards: by their file names.
    """

    key: str
    examples: Count
    shape: Annotated[tuple[Edge, ...], Field(min_length=2, max_length=5)]
    shards: Mapping[Annotated[str, Field(pattern=r"^\d{5,9}\.safetensors$")], Shard]
    format: int = 1


@dataclass(frozen=True, kw_only=True)
class LatentTransform(Preparation):
    """To cached latents what ``Transform`` is to pictures: it takes the mirror images where that would mirror."""

    flip: bool

    def suited(self, dataset: Dataset, index: int) -> "LatentTransform":
        """The same for every example: its latents have the size that it was encoded in."""
        return self

    def prepare(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Leaves latents (V, R, *n) as they are."""
        return pixels

    def plain(self) -> "LatentTransform":
        """The same without anything random."""
        return LatentTransform(flip=False)

    def finish(self, prepared: Sequence[NDArray[Any]], draws: Draws) -> Tensor:
        """Makes float32 (B, R, *n) of cached latents, one per sample of ``draws``."""
        mirrored = draws.uniform("flip") < 0.5 if self.flip else torch.zeros(len(prepared), dtype=torch.bool)
        chosen = [views[int(k)] for views, k in zip(prepared, mirrored.tolist(), strict=True)]
        return torch.from_numpy(np.stack(chosen).astype(np.float32))


@final
class CachedLatents(View):
    """A data set whose ``pixels`` are raw latents: (V, R, *n), float16 or float32. Threads may share it.

    Args:
        folder: the run's ``latents``.
        key: see ``cache_key``.
        dataset: the one that was encoded.

    Attributes:
        transform: see ``preparation``.

    Raises:
        UserError: the cache is not complete, is damaged, or is another autoencoder's.
    """

    def __init__(self, folder: Path, key: str, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._folder = folder / key
        manifest = _manifest(folder, key)
        if manifest is None:
            raise _damaged(self._folder / MANIFEST, "is missing")
        if manifest.examples != len(dataset):  # the key is a hash of the data, too
            raise _damaged(self._folder / MANIFEST, f"is of {manifest.examples} examples and not of {len(dataset)}")
        _verify(self._folder, manifest.shards)
        self.transform = LatentTransform(flip=manifest.shape[0] == 2)
        self._shard = lru_cache(_OPEN)(self._opened)

    def pixels(self, index: int) -> NDArray[Any]:
        shard = self._shard(index // SHARD)
        if (why := (shard.metadata() or {}).get(str(index))) is not None:
            raise Unreadable(why)
        try:
            return shard.get_tensor(str(index))
        except Exception as error:  # safetensors has a type of its own
            raise _damaged(_shard(self._folder, index // SHARD), f"cannot be read ({error})") from None

    def preparation(self, pictures: Preparation | None) -> Preparation:
        return self.transform

    def _opened(self, number: int) -> Any:
        """A shard's tensors, on the disk."""
        path = _shard(self._folder, number)
        try:
            return open_tensors(path, "numpy")
        except BadFile as error:
            raise _damaged(path, error.why) from None


def cacheable(transform: Transform | None) -> str | None:
    """Why the latents of a training's pictures cannot be cached, as a clause; None if they can."""
    if transform is None:
        return "points are not pictures"
    if transform.fit == "cover" and transform.crop == "random":
        return "each picture is cropped elsewhere each time (data.crop=random)"
    return None


def cache_key(first_stage: str, transform: Transform, dataset: Dataset) -> str:
    """Names a cache: 16 hexadecimal digits over all that its numbers depend on.

    Args:
        first_stage: a fingerprint of configuration and weights.
        dataset: exactly what the loader gets: the training part, not the whole.
    """
    parts = (CACHE_FORMAT, first_stage, repr(transform), fingerprint(dataset))
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


def has_cache(folder: Path, key: str) -> bool:
    """Whether ``folder`` has the cache of this key, whole.

    Raises:
        UserError: what lies in its place is another one, or its manifest cannot be read.
    """
    manifest = _manifest(folder, key)
    return manifest is not None and all(is_regular(folder / key / name) for name in manifest.shards)


def write(
    folder: Path,
    key: str,
    dataset: Dataset,
    transform: Transform,
    encode: EncodeRaw,
    *,
    batch: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[int]:
    """Encodes this rank's shards: every ``world``-th. Those that are whole already are kept.

    When all ranks have done so, one of them calls ``seal``.

    Args:
        folder, key, dataset, transform: see ``CachedLatents`` and ``cache_key``.
        batch: pictures that ``encode`` takes at a time.

    Yields:
        How many of this rank's examples are done, ``len(dataset) / world`` or so in the end.

    Raises:
        UserError: the folder has another cache's shards, the disk is full, a file of many pictures cannot be read, or
            the latents are not finite.
    """
    assert cacheable(transform) is None
    encoder, done = _Encoder(dataset, transform, encode), 0
    for number, examples in list(enumerate(_chunks(range(len(dataset)), SHARD)))[rank::world]:
        path = _shard(folder / key, number)
        if not _is_whole(path, key, examples):
            latents, faults = dict[str, Tensor](), dict[str, str]()
            for chunk in _chunks(examples, batch):
                encoded, unreadable = encoder(chunk)
                latents, faults = latents | encoded, faults | unreadable
                yield done + len(latents) + len(faults)
            _save(path, latents, {"key": key, **faults})
        done += len(examples)
        yield done


def seal(folder: Path, key: str, dataset: Dataset) -> None:
    """Declares a cache complete. One rank calls it, after ``write`` has ended on all.

    Raises:
        UserError: a shard is missing, no example could be read, or the disk is full.
    """
    shards = dict[str, dict[str, Any]]()
    for number, examples in enumerate(_chunks(range(len(dataset)), SHARD)):
        path = _shard(folder / key, number)
        if not _is_whole(path, key, examples):
            raise UserError(f"'{path}' is not there: put the run on a disk that all processes share")
        shards[path.name] = {"examples": len(examples), "bytes": path.stat().st_size, "sha256": sha256(path)}
        shards[path.name] |= _form(path)
    shape = next((shard["shape"] for shard in shards.values() if shard["shape"]), None)
    if shape is None:
        raise UserError(f"none of the {len(dataset)} examples can be used: see why with '{command('inspect data')}'")
    manifest = {"format": CACHE_FORMAT, "key": key, "examples": len(dataset), "shape": shape, "shards": shards}
    with _lasting(folder / key / MANIFEST) as file:
        file.write(json.dumps(manifest, indent=1).encode())


class _Encoder:
    """Raw latents of some examples, and why others have none, both by the example's number."""

    def __init__(self, dataset: Dataset, transform: Transform, encode: EncodeRaw) -> None:
        self._dataset, self._transform, self._encode = dataset, transform, encode

    def __call__(self, examples: Sequence[int]) -> tuple[dict[str, Tensor], dict[str, str]]:
        with ThreadPoolExecutor(_WORKERS, "carrara-encoder") as pool:
            found = dict(zip(map(str, examples), pool.map(self._prepared, examples), strict=True))
        faults = {name: str(fault) for name, fault in found.items() if isinstance(fault, Unreadable)}
        alike: dict[tuple[int, ...], dict[str, Pixels]] = {}
        for name, picture in found.items():
            if not isinstance(picture, Unreadable):
                alike.setdefault(picture.shape, {})[name] = picture
        return {k: latents for pictures in alike.values() for k, latents in self._latents(pictures).items()}, faults

    def _prepared(self, index: int) -> Pixels | Unreadable:
        try:
            return self._transform.suited(self._dataset, index).prepare(self._dataset.pixels(index))
        except Unreadable as fault:
            if fault.fault == "lost":  # a cache would lack all that is in that file for ever
                raise UserError(
                    f"'{self._dataset.name(index)}' cannot be encoded ({fault}): make that file readable, and run the "
                    "same command again, which goes on from there"
                ) from None
            return fault

    def _latents(self, pictures: Mapping[str, Pixels]) -> dict[str, Tensor]:
        """(V, R, *n) float32 each, of pictures of one size."""
        x = self._transform.plain().finish(list(pictures.values()), Draws(0, torch.arange(len(pictures))))
        with torch.no_grad():
            views = [self._encode(view).float().cpu() for view in ([x, x.flip(-1)] if self._transform.flip else [x])]
        latents = torch.stack(views, dim=1)
        if not latents.isfinite().all():
            raise UserError("the autoencoder's latents are not finite numbers: train it with train.precision=float32")
        return dict(zip(pictures, latents, strict=True))


def _chunks(examples: range, size: int) -> list[range]:
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _is_whole(path: Path, key: str, examples: Sequence[int]) -> bool:
    """Whether a shard holds just these examples.

    Raises:
        UserError: it is another cache's.
    """
    try:
        shard = open_tensors(path, "numpy")
    except BadFile:
        return False
    metadata: dict[str, str] = shard.metadata() or {}
    if metadata.get("key") != key:
        raise _foreign(path, metadata.get("key"), key)
    return {*shard.keys(), *metadata} == {"key", *map(str, examples)}


def _form(path: Path) -> dict[str, Any]:
    """Type and shape of a shard's latents; None if it has none."""
    shard = open_tensors(path, "numpy")
    for name in list(shard.keys())[:1]:
        latents = shard.get_tensor(name)
        return {"dtype": str(latents.dtype), "shape": latents.shape}
    return {"dtype": None, "shape": None}


def _save(path: Path, latents: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes a shard, as float16 if that holds the numbers."""
    half = all(views.abs().max() <= _LARGEST for views in latents.values())
    dtype = torch.float16 if half else torch.float32
    stored = {name: views.to(dtype, copy=True).contiguous() for name, views in latents.items()}
    with _lasting(path) as file:
        file.write(save(stored, metadata))


def _lasting(path: Path) -> AbstractContextManager[BinaryIO]:
    """A file of a cache, in a run that is there: its name is taken when all of it is on the disk."""
    return replacing(path, lasting=True, within=path.parents[2], advice="what was encoded before is kept")


def _manifest(folder: Path, key: str) -> Manifest | None:
    """What is known about a cache; None if it was never completed.

    Raises:
        UserError: it is another cache's, or cannot be read.
    """
    path = folder / key / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = read_as(path, Manifest, known=CACHE_FORMAT)
    except BadFile as error:
        raise _damaged(path, f"cannot be read: it {error.why}") from None
    if manifest.key != key:
        raise _foreign(path, manifest.key[:40], key)
    return manifest


def _verify(folder: Path, shards: Mapping[str, Shard]) -> None:
    """Compares the shards with the manifest: their contents too, where that takes seconds."""
    hashed = sum(shard.bytes for shard in shards.values()) <= HASHED
    for name, shard in shards.items():
        path = folder / name
        size = path.stat().st_size if is_regular(path) else 0
        if size != shard.bytes:
            raise _damaged(path, f"has {size} bytes and not {shard.bytes}")
        if hashed and sha256(path) != shard.sha256:
            raise _damaged(path, "is not what was written")


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"the latent cache is damaged: '{path}' {why}; delete the folder '{path.parent}', and run the same command to "
        "encode the data again"
    )


def _foreign(path: Path, found: str | None, key: str) -> UserError:
    return UserError(
        f"'{path}' is of a latent cache of another autoencoder or other data (its key is {found}, and not {key}): move "
        f"the folder '{path.parent}' away, and run the same command to encode the data here"
    )
