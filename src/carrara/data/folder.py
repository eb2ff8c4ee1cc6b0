"""A folder of pictures.

What is known about a picture comes from where it lies and from what lies beside it:

* ``metadata.jsonl`` in the folder: one JSON object a line, with ``file_name`` (relative to the folder) and any of
  ``text`` (a caption, or a list of several), ``label`` (a name or a list of names), ``vector`` (a list of numbers, the
  same count in all) and ``map`` (a picture of the same size that says in flat colours what is where);
* else its sub-folder is its class, if every picture lies in a sub-folder and there are at least two of these;
* ``cat.txt`` beside ``cat.png`` is its caption, and ``cat.map.png`` its map.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import ClassMap, DataInfo, Dataset, Row, one_hot
from carrara.data.files import ENDINGS, Header, Listing, decode, find
from carrara.data.index import Rows, headers_of, rows_of
from carrara.errors import UserError, command
from carrara.pixels import to_pixels, to_tensor, with_channels

METADATA = "metadata.jsonl"
_log = logging.getLogger(__name__)


@final
class Folder(Dataset):
    """The readable pictures of a folder, in order of their names.

    Args:
        path: with pictures in it or in folders below it.
        headers: of its good pictures, where they are known already.

    Raises:
        UserError: there is no such folder, no readable picture in it, or its metadata are wrong.
    """

    def __init__(self, path: Path | str, headers: Sequence[Header] | None = None) -> None:
        self.path = Path(path)
        facts = read_metadata(self.path)
        listing, maps = look(self.path)
        self._rows = _readable(self.path, listing.pictures) if headers is None else rows_of(self.path, headers)
        files = [self.name(k) for k in range(len(self))]
        self._labels = [_listed(facts.get(file, {}), "label") for file in files] if facts else []
        if not any(self._labels):
            self._labels = class_folders(files)
        classes = tuple(sorted({name for labels in self._labels for name in labels}))
        self._index = {name: k for k, name in enumerate(classes)}
        self._vectors = _vectors(files, facts)
        self._captions = [_captions(self.path, file, facts.get(file, {}), listing.texts) for file in files]
        self._maps = [_map(self.path, file, facts.get(file, {}), maps) for file in files]
        self.info = DataInfo(
            name=self.path.resolve().name,
            channels=Counter(self._rows["channels"].tolist()).most_common(1)[0][0],
            native=median_size(self._rows["size"]),
            classes=classes,
            vector_size=len(self._vectors[0]) if self._vectors else 0,
            captions=any(self._captions),
            maps=any(self._maps),
        )

    def __len__(self) -> int:
        return len(self._rows)

    def pixels(self, index: int) -> NDArray[Any]:
        return decode(self.path / self.name(index))

    def key(self, index: int) -> str:
        return self._rows["content"][index].tobytes().hex()

    def native(self, index: int) -> tuple[int, int]:
        height, width = self._rows["size"][index].tolist()
        return height, width

    def columns(self, index: int) -> Mapping[str, Row]:
        columns: dict[str, Row] = {}
        if self._index:
            columns["label"] = one_hot(len(self._index), *(self._index[name] for name in self._labels[index]))
        if self._vectors:
            columns["vector"] = self._vectors[index]
        return columns

    def captions(self, index: int) -> tuple[str, ...]:
        return self._captions[index]

    def map(self, index: int) -> ClassMap | None:
        path = self._maps[index]
        if path is None:
            return None
        found = with_channels(decode(path), 3)
        return found if found.dtype == np.uint8 else to_pixels(to_tensor(found))

    def name(self, index: int) -> str:
        return os.fsdecode(self._rows["name"][index])


def look(path: Path) -> tuple[Listing, set[str]]:
    """Finds the pictures of a folder, and the maps of some of them, which do not count as pictures.

    Raises:
        UserError: there is no such folder, or no picture in it.
    """
    if not path.is_dir():
        raise UserError(f"there is no folder '{path}'")
    listing, facts = find(path), read_metadata(path)
    maps = _maps_beside(listing.pictures) | {Path(row["map"]).as_posix() for row in facts.values() if "map" in row}
    pictures, others = [file for file in listing.pictures if file not in maps], listing.others
    if pictures:
        return replace(listing, pictures=pictures), maps
    kinds = ", ".join(sorted(others)[:5])
    found = f"found {sum(others.values())} files with other endings ({kinds})" if others else "it is empty"
    raise UserError(
        f"no pictures in '{path}': {found}; Carrara reads {' '.join(ENDINGS)}: put some there, or name another folder"
    )


def looks_captioned(path: Path) -> bool:
    """Whether a folder seems to have captions, without reading any picture."""
    metadata = path / METADATA
    if metadata.is_file():
        return b'"text"' in metadata.read_bytes()
    return any(file.with_suffix(ending).is_file() for file in path.rglob("*.txt") for ending in ENDINGS)


def _readable(folder: Path, pictures: Sequence[str]) -> Rows:
    rows, broken = headers_of(folder, pictures)
    if not len(rows):
        first = f"'{broken[0].path.name}': {broken[0].problem}"
        raise UserError(
            f"none of the {len(broken)} pictures in '{folder}' can be read, such as {first}; "
            f"'{command(f'inspect data {folder}')}' lists what is wrong with each"
        )
    if broken:
        names = ", ".join(f"'{header.path.name}' ({header.problem})" for header in broken[:3])
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        _log.warning("left out %d unreadable of %d pictures: %s%s", len(broken), len(pictures), names, more)
    return rows


def median_size(sizes: NDArray[Any]) -> tuple[int, int]:
    """The medians of the heights and of the widths, (N, 2)."""
    height, width = np.sort(sizes, axis=0)[(len(sizes) - 1) // 2].tolist()
    return height, width


def class_folders(files: Sequence[str]) -> list[tuple[str, ...]]:
    """The labels of files, given relative to their folder: the first sub-folder, if these divide all of the files."""
    tops = {top: (top,) for top in {file.partition("/")[0] if "/" in file else "" for file in files}}
    if "" in tops or len(tops) == 1:
        return [()] * len(files)
    return [tops[file.partition("/")[0]] for file in files]


def read_metadata(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Reads ``metadata.jsonl``, if there is one: its objects by file name.

    Raises:
        UserError: a line is wrong; with its number.
    """
    path = folder / METADATA
    rows: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file = Path(row["file_name"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f'{path}, line {number}: not a JSON object with a "file_name" ({error})') from None
        if not (folder / file).exists():
            raise UserError(f"{path}, line {number}: there is no file '{file}' in the folder")
        rows[file.as_posix()] = _valid(row, f"{path}, line {number}")
    return rows


def _valid(row: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    if not all(isinstance(name, str) for name in _listed(row, "label")):
        raise UserError(f'{where}: "label" is a name in quotes or a list of names, not {row["label"]!r}')
    numbers = row.get("vector", [])
    if not isinstance(numbers, list) or not all(type(n) in (int, float) and isfinite(n) for n in numbers):
        raise UserError(f'{where}: "vector" is a list of numbers, not {numbers!r}')
    if not isinstance(row.get("map", ""), str):
        raise UserError(f'{where}: "map" is the name of a picture in the folder, not {row["map"]!r}')
    if not all(isinstance(text, str) for text in _listed(row, "text")):
        raise UserError(f'{where}: "text" is a caption in quotes or a list of captions, not {row["text"]!r}')
    return row


def _listed(row: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    """What may be a list, or one of its elements."""
    value = row.get(key, [])
    return tuple(value) if isinstance(value, list) else (value,)


def _vectors(files: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    if not any("vector" in row for row in rows.values()):
        return []
    vectors = [np.array(rows.get(file, {}).get("vector", ()), np.float32) for file in files]
    size = max(map(len, vectors))
    for file, vector in zip(files, vectors, strict=True):
        if len(vector) != size:
            raise UserError(f"{METADATA}: \"vector\" of '{file}' has {len(vector)} numbers, and others have {size}")
    return vectors if size else []


def _maps_beside(pictures: Sequence[str]) -> set[str]:
    """Which ones are the map of another one beside them."""
    named = [
        (file, stem.removesuffix(".map")) for file in pictures if (stem := file.rpartition(".")[0]).endswith(".map")
    ]
    known = set(pictures) if named else set[str]()
    return {file for file, stem in named if any(stem + ending in known for ending in ENDINGS)}


def _map(folder: Path, picture: str, row: Mapping[str, Any], maps: Set[str]) -> Path | None:
    beside = row.get("map", f"{picture.rpartition('.')[0]}.map.png")
    return folder / beside if "map" in row or beside in maps else None


def _captions(folder: Path, picture: str, row: Mapping[str, Any], texts: Set[str]) -> tuple[str, ...]:
    if "text" in row:
        return _listed(row, "text")
    beside = f"{picture.rpartition('.')[0]}.txt"
    if beside not in texts:
        return ()
    try:
        return ((folder / beside).read_text(encoding="utf-8-sig", errors="replace").strip(),)
    except OSError:  # a link that leads nowhere
        return ()
