"""A folder of pictures as a data set.

What is known about a picture comes from where it lies and from what lies beside it:

* a table, such as ``metadata.csv``, with a row for a picture: its name, and any of a caption, a class, a vector of
  numbers, and a map (a picture of the same size that says in flat colours what is where);
* ``cat.txt`` beside ``cat.png`` is its caption, and ``cat.map.png`` its map;
* its sub-folder is its class, and folders such as ``train/`` and ``val/`` are parts of a split.
"""

import logging
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import ClassMap, DataInfo, Dataset, Row, one_hot
from carrara.data.files import Header, decode
from carrara.data.folder.columns import WIDEST, Line
from carrara.data.folder.layout import counted, some
from carrara.data.folder.listing import stem
from carrara.data.folder.looking import Found, look
from carrara.data.folder.reading import AS_IT_COMES, Reading
from carrara.data.index import Rows, headers_of, rows_of
from carrara.errors import UserError, command
from carrara.files import shown, stamp_of
from carrara.pixels import to_pixels, to_tensor, with_channels

_SAID = set[tuple[Path, str]]()
_log = logging.getLogger(__name__)


@final
class Folder(Dataset):
    """The readable pictures of a folder or of a zip file, in order of their names.

    Args:
        path: with pictures in it or in folders below it.
        headers: of its good pictures, where they are known already.
        reading: what its files are taken as.

    Raises:
        UserError: there is no such folder, no readable picture in it, or its metadata are wrong.
    """

    def __init__(
        self,
        path: Path | str,
        headers: Sequence[Header] | None = None,
        reading: Reading = AS_IT_COMES,
    ) -> None:
        self.path = Path(path)
        found = look(self.path, reading)
        for warning in found.warnings:
            _warn(self.path, warning)
        self._rows = _readable(self.path, found.pictures) if headers is None else rows_of(self.path, headers)
        files = [self._file(k) for k in range(len(self))]
        lines = [found.lines.get(file) for file in files]
        self._labels = [line.labels if line else () for line in lines]
        classes = tuple(sorted({name for labels in self._labels for name in labels}))
        if len(classes) > WIDEST:
            raise UserError(f"'{shown(self.path)}' has {len(classes)} classes, and at most {WIDEST} are told apart")
        self._index = {name: k for k, name in enumerate(classes)}
        self._vectors = _vectors(files, lines)
        self._captions = [(line.texts or ()) if line else () for line in lines]
        self._maps = [_map(self.path, file, line, found.maps) for file, line in zip(files, lines, strict=True)]
        self._held = _held(files, found)
        if copies := self._copies():
            _warn(self.path, f"{counted(copies, 'picture')} held out are trained on too, and are not measured")
        self.info = DataInfo(
            name=shown(self.path.resolve().name),
            channels=Counter(self._rows["channels"].tolist()).most_common(1)[0][0],
            native=median_size(self._rows["size"]),
            classes=classes,
            vector_size=len(self._vectors[0]) if self._vectors else 0,
            captions=any(self._captions),
            maps=any(self._maps),
            remarks=found.remarks,
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

    def held(self, index: int) -> bool | None:
        return self._held[index] if self._held else None

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

    def _copies(self) -> int:
        """How many of the pictures that are held out are trained on, under other names."""
        trained = {self.key(k) for k, held in enumerate(self._held) if not held}
        return sum(self.key(k) in trained for k, held in enumerate(self._held) if held)

    def _file(self, index: int) -> str:
        """Its name within the folder, as it is on the disk."""
        return os.fsdecode(self._rows["name"][index])


def _readable(folder: Path, pictures: Sequence[str]) -> Rows:
    rows, broken = headers_of(folder, pictures)
    if not len(rows):
        first = f"'{shown(broken[0].path.name)}': {broken[0].problem}"
        raise UserError(
            f"none of the {len(broken)} pictures in '{shown(folder)}' can be read, such as {first}; "
            f"'{command(f'inspect data {folder}')}' lists what is wrong with each"
        )
    if broken:
        named = some([f"'{shown(header.path.name)}' ({header.problem})" for header in broken])
        _warn(folder, f"left out {len(broken)} unreadable of {len(pictures)} pictures: {named}")
    return rows


def _warn(folder: Path, text: str) -> None:
    """Says something of a folder, once: whoever trains opens the folder more than once."""
    said = folder.absolute(), text
    if said not in _SAID:
        _SAID.add(said)
        _log.warning("%s", text)


def median_size(sizes: NDArray[Any]) -> tuple[int, int]:
    """The medians of the heights and of the widths, (N, 2)."""
    height, width = np.sort(sizes, axis=0)[(len(sizes) - 1) // 2].tolist()
    return height, width


def _held(files: Sequence[str], found: Found) -> list[bool | None]:
    """Which pictures the folder itself holds out; empty if it does not say."""
    if not found.parts:
        return []
    parts = [found.parts.get(file) for file in files]
    return [None if part is None else part != "train" for part in parts]


def _vectors(files: Sequence[str], lines: Sequence[Line | None]) -> list[Row]:
    none = np.zeros(0, np.float32)
    vectors = [none if line is None or line.vector is None else line.vector for line in lines]
    size = max(map(len, vectors), default=0)
    wrong = [
        f"\"vector\" of '{shown(file)}' has {len(vector)} numbers, and others have {size}"
        for file, vector in zip(files, vectors, strict=True)
        if len(vector) != size
    ]
    if wrong:
        more = f"; so it is with {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"metadata: {wrong[0]}{more}: give all pictures as many, or none")
    return vectors if size else []


def _map(folder: Path, picture: str, line: Line | None, maps: Collection[str]) -> Header | None:
    """The file of a picture's map, and when it was written."""
    beside = f"{stem(picture)}.map.png"
    if line is not None and line.map is not None:
        beside = line.map
    return Header(path=folder / beside, stamp=stamp_of(folder / beside)) if beside in maps else None
