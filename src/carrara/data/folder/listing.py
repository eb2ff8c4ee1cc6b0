"""Which files a folder of pictures has, and all folders below it; or a zip file, which is read as it is."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from carrara.data.formats import endings, is_noise
from carrara.errors import UserError
from carrara.files import is_archive, members, shown

ENDINGS = endings()
TEXTS = (
    ".txt",
    ".caption",
    ".captions",
    ".cap",
    ".text",
    ".prompt",
    ".prompts",
    ".tags",
    ".tag",
    ".json",
)
"""Endings of files that may hold the caption of the picture beside them; the first one counts."""
CLASS = ".cls"
"""The ending of a file that names the class of the picture beside it."""
TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Endings of files that may tell of many pictures."""
_TABLE_OF_TEXTS = "captions.txt"  # of Flickr's pictures
_MADE_UP = ("/proc", "/sys", "/dev")
_MEMORY = "/dev/shm"
_RECIPE = "recipe.yaml"  # in the folder of a run


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a folder and of all below it, by their names within it, with slashes.

    Attributes:
        pictures: those whose endings are of pictures, in order.
        texts: those that may hold a caption or a class, by their names with their endings in small letters.
        tables: those that may tell of many pictures, in order.
        archives: the zip files in it, and the Parquet files with pictures.
        others: how many files have each other ending, or no ending and this name.
        closed: the folders that may not be looked into.
        runs: folders in it that are runs of Carrara's, whose pictures are not taken.
    """

    pictures: list[str] = field(default_factory=list[str])
    texts: dict[str, str] = field(default_factory=dict[str, str])
    tables: list[str] = field(default_factory=list[str])
    archives: list[str] = field(default_factory=list[str])
    others: Counter[str] = field(default_factory=Counter[str])
    closed: list[str] = field(default_factory=list[str])
    runs: list[str] = field(default_factory=list[str])


def find(folder: Path, also: str = "", endings: Collection[str] = ENDINGS) -> Listing:
    """Finds the files of a folder or of an archive; of a folder without pictures, those of the archives in it.

    Symbolic links are followed, and each folder is visited once, by whatever names it is there. Links to a folder that
    holds this one, which lead in a circle, and to what the system makes up, such as ``/proc``, are not followed. Names
    that begin with a dot, and folders that systems make, are passed over.

    Args:
        also: another ending that files of captions may have.
        endings: of the files that are taken as pictures: those of sounds, for example.

    Raises:
        UserError: an archive cannot be read.
    """
    found = Listing()
    if is_archive(folder):
        _add_members(found, folder, "", also, endings)
    else:
        for within, names in _folders(folder, found):
            for name in names:
                _add(found, _joined(within, name), name, also, endings)
        if not found.pictures:
            rows = [table for table in found.tables if is_archive(folder / table)]
            found.tables[:] = [table for table in found.tables if table not in rows]
            found.archives.extend(rows)
            _add_archives(found, folder, also, endings)
    found.pictures.sort(key=os.fsencode)
    _sort_out(found)
    return found


def stem(file: str) -> str:
    """A name without its ending."""
    head, _, name = file.rpartition("/")
    bare = name.rpartition(".")[0] or name
    return f"{head}/{bare}" if head else bare


def ending_of(file: str) -> str:
    """In small letters, with its dot; empty if there is none."""
    _, dot, end = file.rpartition("/")[2].rpartition(".")
    return (dot + end).lower() if dot else ""


def _add(found: Listing, file: str, name: str, also: str, endings: Collection[str]) -> None:
    ending = ending_of(name)
    if is_noise(name):
        return
    if ending in endings:
        found.pictures.append(file)
    elif ending == ".zip":
        found.archives.append(file)
    elif ending and ending in (*TEXTS, CLASS, also.lower()):
        found.texts.setdefault(stem(file) + ending, file)
    elif ending in TABLES:
        found.tables.append(file)
    else:
        found.others[ending or name] += 1


def _add_archives(found: Listing, folder: Path, also: str, endings: Collection[str]) -> None:
    """The files of the archives in a folder; what cannot be read is no archive."""
    for archive in list(found.archives):
        try:
            _add_members(found, folder / archive, archive, also, endings)
        except UserError:
            found.archives.remove(archive)
            found.others[ending_of(archive)] += 1


def _add_members(found: Listing, archive: Path, within: str, also: str, endings: Collection[str]) -> None:
    try:
        names = members(archive)
    except OSError as error:
        why = error.strerror or error
        raise UserError(f"'{shown(archive)}' cannot be read: it is {why}. Unpack it, and give the folder") from None
    for name in names:
        if not any(map(is_noise, name.split("/"))):
            _add(found, _joined(within, name), name, also, endings)


def _sort_out(found: Listing) -> None:
    """A ``.json`` is beside its picture, or is a table."""
    beside = [file for key, file in found.texts.items() if key.endswith(".json")]
    if beside:
        bare = {stem(picture) for picture in found.pictures} | set(found.pictures)
        apart = [file for file in beside if stem(file) not in bare and not _in_folder_of_texts(file)]
        for file in apart:
            del found.texts[stem(file) + ".json"]
        found.tables.extend(apart)
    bare = {stem(picture) for picture in found.pictures} if found.texts else set[str]()
    for key in [key for key in found.texts if key.rpartition("/")[2] == _TABLE_OF_TEXTS and stem(key) not in bare]:
        found.tables.append(found.texts.pop(key))
    found.tables.sort(key=lambda file: (file.count("/"), (*TABLES, ".txt").index(ending_of(file)), os.fsencode(file)))


FOLDERS_OF_TEXTS = frozenset({"captions", "caption", "texts", "text", "txt", "prompts", "tags"})
"""Names of folders, in small letters, in which captions lie under the names that their pictures have elsewhere."""


def _in_folder_of_texts(file: str) -> bool:
    return any(part.lower() in FOLDERS_OF_TEXTS for part in file.split("/")[:-1])


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
        if within and (_RECIPE, False) in named:
            found.runs.append(within)
            continue
        yield within, [name for name, is_folder in named if not is_folder]
        inner = [name for name, is_folder in reversed(named) if is_folder and not is_noise(name)]
        waiting.extend(_joined(within, name) for name in inner)


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
