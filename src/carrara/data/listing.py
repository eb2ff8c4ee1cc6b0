"""Which files a folder of pictures has, and all folders below it."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".npy")
_MADE_UP = ("/proc", "/sys", "/dev")
_MEMORY = "/dev/shm"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a folder and of all below it, by their names within it, with slashes.

    Attributes:
        pictures: those whose endings are of pictures, in order.
        texts: those that end in ``.txt``.
        others: how many files have each other ending, or no ending and this name.
        closed: the folders that may not be looked into.
    """

    pictures: list[str] = field(default_factory=list[str])
    texts: set[str] = field(default_factory=set[str])
    others: Counter[str] = field(default_factory=Counter[str])
    closed: list[str] = field(default_factory=list[str])


def find(folder: Path) -> Listing:
    """Finds the files of a folder.

    Symbolic links are followed, and each folder is visited once, by whatever names it is there. Links to a folder that
    holds this one, which lead in a circle, and to what the system makes up, such as ``/proc``, are not followed. Names
    that begin with a dot are passed over.
    """
    found = Listing()
    for within, names in _folders(folder, found):
        for name in names:
            _add(found, _joined(within, name), name)
    found.pictures.sort(key=os.fsencode)
    return found


def relative(path: Path, folder: Path) -> str:
    """The name of a file within its folder, with slashes."""
    return "/".join(path.parts[len(folder.parts) :])


def _add(found: Listing, file: str, name: str) -> None:
    _, dot, end = name.rpartition(".")
    ending = (dot + end).lower() if dot else ""
    if ending in ENDINGS:
        found.pictures.append(file)
        return
    found.others[ending or name] += 1
    if ending == ".txt":
        found.texts.add(file)


def _folders(folder: Path, found: Listing) -> Iterator[tuple[str, list[str]]]:
    """The folder and all below it, each before those that are in it, and the names of its files."""
    above = {_identity(path) for path in Path(os.path.realpath(folder)).parents}
    seen, waiting = above - {_identity(folder)}, [""]
    while waiting:
        within = waiting.pop()
        here = folder / within
        identity = _identity(here)
        if identity in seen or _is_made_up(here):
            continue
        seen.add(identity)
        try:
            with os.scandir(here) as entries:
                named = sorted((entry.name, _is_folder(entry)) for entry in entries if entry.name[0] != ".")
        except OSError:
            found.closed.append(within)
            continue
        yield within, [name for name, is_folder in named if not is_folder]
        waiting.extend(_joined(within, name) for name, is_folder in reversed(named) if is_folder)


def _joined(within: str, name: str) -> str:
    return f"{within}/{name}" if within else name


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _identity(folder: Path) -> tuple[int, int] | Path:
    """What a folder is, by whatever name."""
    try:
        found = folder.stat()
    except OSError:
        return folder
    return found.st_dev, found.st_ino


def _is_made_up(folder: Path) -> bool:
    """Whether the files there are no files, but what the system has to say."""
    real = os.path.realpath(folder)
    return not _is_in(real, _MEMORY) and any(_is_in(real, name) for name in _MADE_UP)


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
