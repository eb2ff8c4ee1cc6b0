"""A folder of pictures.

What is known about a picture comes from where it lies and from what lies beside it:

* ``metadata.jsonl`` in the folder: one JSON object a line, with ``file_name`` (relative to the folder) and any of
  ``text`` (a caption, or a list of several), ``label`` (a name or a list of names), ``vector`` (a list of numbers, the
  same count in all) and ``map`` (a picture of the same size that says in flat colours what is where);
* else its sub-folder is its class, if every picture lies in a sub-folder and there are at least two of these;
* ``cat.txt`` beside ``cat.png`` is its caption, and ``cat.map.png`` its map.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import ClassMap, DataInfo, Dataset, Row, one_hot
from carrara.data.files import Header, decode
from carrara.data.index import Rows, headers_of, rows_of
from carrara.data.listing import ENDINGS, Listing, find
from carrara.data.metadata import CAPTION, METADATA, WIDEST, Line, read_metadata
from carrara.errors import UserError, command
from carrara.files import BadFile, is_folder, read_bytes, read_lines, shown, stamp_of
from carrara.pixels import to_pixels, to_tensor, with_channels

_NAMED = 3
_SAID = set[tuple[Path, str]]()
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
        listing, maps, lines = look(self.path)
        if listing.closed:
            named = _some([f"'{shown(name)}'" for name in listing.closed])
            _warn(self.path, f"left out {len(listing.closed)} folders that may not be looked into: {named}")
        self._rows = _readable(self.path, listing.pictures) if headers is None else rows_of(self.path, headers)
        files = [self._file(k) for k in range(len(self))]
        self._labels = [lines[file].labels if file in lines else () for file in files] if lines else []
        if not any(self._labels):
            self._labels = class_folders(files)
        classes = tuple(sorted({name for labels in self._labels for name in labels}))
        if len(classes) > WIDEST:
            raise UserError(f"'{shown(self.path)}' has {len(classes)} classes, and at most {WIDEST} are told apart")
        self._index = {name: k for k, name in enumerate(classes)}
        self._vectors = _vectors(files, lines)
        self._captions = _captions(self.path, files, lines, listing.texts)
        self._maps = [_map(self.path, file, lines.get(file), maps) for file in files]
        self.info = DataInfo(
            name=shown(self.path.resolve().name),
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
        row = self._rows[index]
        path, content = self.path / self._file(index), self.key(index)
        return decode(path, Header(path=path, stamp=tuple(row["stamp"].tolist()), content=content))

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
        header = self._maps[index]
        if header is None:
            return None
        found = with_channels(decode(header.path, header), 3)
        return found if found.dtype == np.uint8 else to_pixels(to_tensor(found))

    def name(self, index: int) -> str:
        return shown(self._file(index))

    def _file(self, index: int) -> str:
        """Its name within the folder, as it is on the disk."""
        return os.fsdecode(self._rows["name"][index])


def look(path: Path) -> tuple[Listing, set[str], dict[str, Line]]:
    """Finds the pictures of a folder, the maps of some of them, which do not count as pictures, and its metadata.

    Raises:
        UserError: there is no such folder, no picture in it, or its metadata are wrong.
    """
    if not is_folder(path):
        raise UserError(f"there is no folder '{shown(path)}'")
    listing = find(path)
    if "" in listing.closed:
        raise UserError(f"'{shown(path)}' cannot be looked into: get leave to read it, or name another folder")
    lines = read_metadata(path, listing)
    maps = _maps_beside(listing.pictures) | {line.map for line in lines.values() if line.map is not None}
    pictures, others = [file for file in listing.pictures if file not in maps], listing.others
    if pictures:
        return replace(listing, pictures=pictures), maps, lines
    kinds = ", ".join(map(shown, sorted(others)[:5]))
    found = f"found {sum(others.values())} files with other endings ({kinds})" if others else "it is empty"
    endings = " ".join(ENDINGS)
    raise UserError(
        f"no pictures in '{shown(path)}': {found}; Carrara reads {endings}: put some there, or name another folder"
    )


def looks_captioned(path: Path) -> bool:
    """Whether a folder seems to have captions, without reading any picture."""
    try:
        return any(b'"text"' in line for _, line in read_lines(path / METADATA))
    except BadFile:  # there are none, as a rule; else whoever opens the folder says so
        pass
    listing = find(path)
    return any(f"{file.rpartition('.')[0]}.txt" in listing.texts for file in listing.pictures)


def _readable(folder: Path, pictures: Sequence[str]) -> Rows:
    rows, broken = headers_of(folder, pictures)
    if not len(rows):
        first = f"'{shown(broken[0].path.name)}': {broken[0].problem}"
        raise UserError(
            f"none of the {len(broken)} pictures in '{shown(folder)}' can be read, such as {first}; "
            f"'{command(f'inspect data {folder}')}' lists what is wrong with each"
        )
    if broken:
        named = _some([f"'{shown(header.path.name)}' ({header.problem})" for header in broken])
        _warn(folder, f"left out {len(broken)} unreadable of {len(pictures)} pictures: {named}")
    return rows


def _warn(folder: Path, text: str) -> None:
    """Says something of a folder, once: whoever trains opens the folder more than once."""
    said = folder.absolute(), text
    if said not in _SAID:
        _SAID.add(said)
        _log.warning("%s", text)


def _some(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def median_size(sizes: NDArray[Any]) -> tuple[int, int]:
    """The medians of the heights and of the widths, (N, 2)."""
    height, width = np.sort(sizes, axis=0)[(len(sizes) - 1) // 2].tolist()
    return height, width


def class_folders(files: Sequence[str]) -> list[tuple[str, ...]]:
    """The labels of files, given relative to their folder: the first sub-folder, if these divide all of the files."""
    tops = {top: (shown(top),) for top in {file.partition("/")[0] if "/" in file else "" for file in files}}
    if "" in tops or len(tops) == 1:
        return [()] * len(files)
    return [tops[file.partition("/")[0]] for file in files]


def _vectors(files: Sequence[str], lines: Mapping[str, Line]) -> list[Row]:
    if all(line.vector is None for line in lines.values()):
        return []
    none = np.zeros(0, np.float32)
    told = [lines[file].vector if file in lines else None for file in files]
    vectors = [none if vector is None else vector for vector in told]
    size = max(map(len, vectors))
    for file, vector in zip(files, vectors, strict=True):
        if len(vector) != size:
            raise UserError(
                f"{METADATA}: \"vector\" of '{shown(file)}' has {len(vector)} numbers, and others have {size}"
            )
    return vectors if size else []


def _maps_beside(pictures: Sequence[str]) -> set[str]:
    """Which ones are the map of another one beside them."""
    named = [
        (file, stem.removesuffix(".map")) for file in pictures if (stem := file.rpartition(".")[0]).endswith(".map")
    ]
    known = set(pictures) if named else set[str]()
    return {file for file, stem in named if any(stem + ending in known for ending in ENDINGS)}


def _map(folder: Path, picture: str, line: Line | None, maps: Set[str]) -> Header | None:
    """The file of a picture's map, and when it was written."""
    beside = f"{picture.rpartition('.')[0]}.map.png"
    if line is not None and line.map is not None:
        beside = line.map
    return Header(path=folder / beside, stamp=stamp_of(folder / beside)) if beside in maps else None


def _captions(folder: Path, files: Sequence[str], lines: Mapping[str, Line], texts: Set[str]) -> list[tuple[str, ...]]:
    """The captions of each picture; those that cannot be read are left out, and told."""
    bad: list[BadFile] = []

    def beside(picture: str) -> Iterator[str]:
        text = f"{picture.rpartition('.')[0]}.txt"
        if text in texts:
            try:
                yield read_bytes(folder / text, CAPTION).decode("utf-8-sig", "replace").strip()
            except BadFile as error:
                bad.append(error)

    told = [lines[file].texts if file in lines else None for file in files]
    captions = [tuple(beside(file)) if of is None else of for file, of in zip(files, told, strict=True)]
    if bad:
        _warn(folder, f"left out {len(bad)} captions that cannot be read: {_some([error.message for error in bad])}")
    return captions
