"""A folder of pictures as a data set.

What is known about a picture comes from where it lies and from what lies beside it:

* a table, such as ``metadata.csv``, with a row for a picture: its name, and any of a caption, a class, a vector of
  numbers, and a map (a picture of the same size that says in flat colours what is where);
* ``cat.txt`` beside ``cat.png`` is its caption, and ``cat.map.png`` its map;
* its sub-folder is its class, and folders such as ``train/`` and ``val/`` are parts of a split.
"""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import ClassMap, DataInfo
from carrara.data.files import Header, decode
from carrara.data.folder.columns import Line
from carrara.data.folder.described import Described, warn
from carrara.data.folder.layout import some
from carrara.data.folder.listing import stem
from carrara.data.folder.looking import look
from carrara.data.folder.reading import AS_IT_COMES, Reading
from carrara.data.index import Rows, headers_of, rows_of
from carrara.errors import UserError, command
from carrara.files import shown, stamp_of
from carrara.pixels import to_pixels, to_tensor, with_channels


@final
class Folder(Described):
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
        path = Path(path)
        found = look(path, reading)
        for warning in found.warnings:
            warn(path, warning)
        self._rows = _readable(path, found.pictures) if headers is None else rows_of(path, headers)
        files = [self.file(k) for k in range(len(self))]
        super().__init__(path, files, found, reading)
        lines = (found.lines.get(file) for file in files)
        self._maps = [_map(path, file, line, found.maps) for file, line in zip(files, lines, strict=True)]
        self.tell_copies()
        self.info = DataInfo(
            name=shown(path.resolve().name),
            channels=Counter(self._rows["channels"].tolist()).most_common(1)[0][0],
            native=median_size(self._rows["size"]),
            classes=self.classes,
            vector_size=self.vector_size,
            captions=any(self._captions),
            maps=any(self._maps),
            remarks=found.remarks,
        )

    def __len__(self) -> int:
        return len(self._rows)

    def pixels(self, index: int) -> NDArray[Any]:
        header = self.header(index)
        return decode(header.path, header)

    def header(self, index: int) -> Header:
        """What is known of a picture's file."""
        row, path = self._rows[index], self.path / self.file(index)
        channels, size = int(row["channels"]), self.native(index)
        return Header(
            path=path, stamp=tuple(row["stamp"].tolist()), size=size, channels=channels, content=self.key(index)
        )

    def map_header(self, index: int) -> Header | None:
        """What is known of the file of its map, if it has one."""
        return self._maps[index]

    def key(self, index: int) -> str:
        return self._rows["content"][index].tobytes().hex()

    def native(self, index: int) -> tuple[int, int]:
        height, width = self._rows["size"][index].tolist()
        return height, width

    def map(self, index: int) -> ClassMap | None:
        header = self._maps[index]
        if header is None:
            return None
        found = with_channels(decode(header.path, header), 3)
        return found if found.dtype == np.uint8 else to_pixels(to_tensor(found))

    def file(self, index: int) -> str:
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
        warn(folder, f"left out {len(broken)} unreadable of {len(pictures)} pictures: {named}")
    return rows


def median_size(sizes: NDArray[Any]) -> tuple[int, int]:
    """The medians of the heights and of the widths, (N, 2)."""
    height, width = np.sort(sizes, axis=0)[(len(sizes) - 1) // 2].tolist()
    return height, width


def _map(folder: Path, picture: str, line: Line | None, maps: Collection[str]) -> Header | None:
    """The file of a picture's map, and when it was written."""
    beside = f"{stem(picture)}.map.png"
    if line is not None and line.map is not None:
        beside = line.map
    return Header(path=folder / beside, stamp=stamp_of(folder / beside)) if beside in maps else None
