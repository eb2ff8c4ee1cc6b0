"""Folders that are whole or not there, and that can be told from damaged ones.

A sealed folder has ``manifest.json`` with the size and the SHA-256 of every file. It is written under a hidden name,
each file forced to the disk and the manifest last; then it is renamed, which is atomic, and the folder above is forced
to the disk, too. So a process that is killed, or a disk that fills up, at any moment leaves what was there before.

Hashing takes time, so what was found good is remembered in the user's cache folder, by size, times of change and inode
of each file; a file that has changed a moment ago is never remembered.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path

from carrara.errors import UserError
from carrara.files.documents import read_as
from carrara.files.reading import BadFile, check_inside, opened
from carrara.files.writing import REPLACED, cache_folder, delete, explained, hidden, replacing, sweep, sync

MANIFEST = "manifest.json"
FORMAT = 1
"""Of the manifest; a reader refuses a higher one."""
_SETTLED = 5_000_000_000
"""Nanoseconds after which a file that has not changed counts as at rest: clocks of file systems are coarse."""
_verifying = ContextVar("verifying", default=True)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file as it was written."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a sealed folder holds.

    Attributes:
        files: by name.
    """

    files: Mapping[str, Entry]
    format: int


@dataclass(frozen=True, kw_only=True)
class Known:
    """A file that was found good.

    Attributes:
        stamp: size, times of change in nanoseconds, and inode.
    """

    stamp: tuple[int, int, int, int]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is remembered of a folder."""

    files: Mapping[str, Known] = field(default_factory=dict[str, Known])


def write_folder(final: Path, fill: Callable[[Path], None], advice: str = "") -> None:
    """Writes a sealed folder in the place of the one of this name, if there is one.

    Args:
        fill: writes the files into the folder that it is given.
        advice: for the sentence if the disk refuses.

    Raises:
        NotWritten: the disk is full, or refuses; what was there before is as it was.
    """
    new, old = hidden(final), hidden(final, REPLACED)
    with explained(final, advice=advice):
        try:
            sweep(final.parent)
            new.mkdir()
            fill(new)
            seal(new)
            if final.exists():
                final.rename(old)
            new.rename(final)
            sync(final.parent)
        except BaseException:
            if old.exists() and not final.exists():
                old.rename(final)
            raise
        finally:
            delete(new)
            delete(old)


def take_away(folder: Path) -> None:
    """Takes a folder away in one moment, then its files; what cannot be deleted stays."""
    with suppress(OSError):
        folder.rename(doomed := hidden(folder, "gone~"))
        delete(doomed)


def seal(folder: Path, names: Iterable[str] | None = None) -> None:
    """Forces a folder's files to the disk, and writes its manifest last.

    Args:
        names: of the files that belong to it; None are all that there are.

    Raises:
        OSError: the disk is full, or refuses.
    """
    found = sorted(names or (path.name for path in folder.iterdir() if path.name != MANIFEST))
    for name in found:
        sync(folder / name)
    sizes = {name: (folder / name).stat().st_size for name in found}
    files = {name: Entry(bytes=sizes[name], sha256=sha256(folder / name)) for name in found}
    manifest = Manifest(files=files, format=FORMAT)
    with replacing(folder / MANIFEST, lasting=True) as file:
        file.write(json.dumps(asdict(manifest), indent=1).encode())


def read_manifest(folder: Path) -> Manifest:
    """What a sealed folder should hold.

    Raises:
        BadFile: the manifest is missing, or cannot be read.
        UserError: a newer version wrote it.
    """
    manifest = read_as(folder / MANIFEST, Manifest, known=FORMAT)
    if manifest.format < 1:
        raise BadFile(folder / MANIFEST, "is of no format that there is")
    if any(Path(name).name != name for name in manifest.files):
        raise BadFile(folder / MANIFEST, "names files outside its folder")
    return manifest


def damage(folder: Path, needed: tuple[str, ...] = ()) -> str | None:
    """Why a sealed folder is not what was written, or None: every file of its manifest is there, byte by byte.

    Args:
        needed: files that the manifest must name.
    """
    try:
        check_inside(folder)
    except BadFile as error:
        return error.message
    try:
        manifest = read_manifest(folder)
    except BadFile as error:
        return f"its {MANIFEST} {error.why}"
    except UserError as error:  # a newer version wrote it, or a bit of its format has flipped
        return error.message
    for name in needed:
        if name not in manifest.files:
            return f"its {MANIFEST} does not list {name}"
    memory = _recalled(folder)
    found: dict[str, Known] = {}
    for name, entry in manifest.files.items():
        try:
            known = _known(folder / name, entry, memory.files.get(name))
        except (BadFile, OSError):
            return f"{name} is missing or cannot be read"
        if isinstance(known, str):
            return f"{name} {known}"
        found[name] = known
    if found != memory.files:
        _remember(folder, Memory(files=found))
    return None


def is_verifying() -> bool:
    """Whether folders are compared with their manifests when they are opened."""
    return _verifying.get()


@contextmanager
def unverified() -> Generator[None]:
    """A block in which sealed folders are taken for whole when they are opened."""
    token = _verifying.set(False)
    try:
        yield
    finally:
        _verifying.reset(token)


def sha256(path: Path) -> str:
    """The hash of a file, as hexadecimal digits.

    Raises:
        BadFile: it is no regular file, or cannot be read.
    """
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known(path: Path, entry: Entry, known: Known | None) -> Known | str:
    """A file that is as it was written, or in which way it is not."""
    stamp = _stamp(path)
    if stamp[0] != entry.bytes:
        return f"has {stamp[0]} bytes and not {entry.bytes}"
    if known is not None and known.stamp == stamp and known.sha256 == entry.sha256:
        return known
    if sha256(path) != entry.sha256:
        return "is not what was written"
    return Known(stamp=stamp, sha256=entry.sha256)


def _stamp(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _memory(folder: Path) -> Path:
    name = hashlib.blake2b(os.fsencode(folder.resolve()), digest_size=8).hexdigest()
    return cache_folder() / "verified" / f"{name}.json"


def _recalled(folder: Path) -> Memory:
    try:
        return read_as(_memory(folder), Memory)
    except UserError:  # damaged, or of a newer version: files are hashed again
        return Memory()


def _remember(folder: Path, memory: Memory) -> None:
    settled = time.time_ns() - _SETTLED
    if any(max(known.stamp[1:3]) > settled for known in memory.files.values()):
        return
    with suppress(OSError), replacing(_memory(folder)) as file:  # a memory that cannot be written is only slow
        file.write(json.dumps(asdict(memory)).encode())
