"""Shards as a data set: nothing is read of the pictures, and nothing of their index but what is asked for.

A shard that cannot be read is lost for as long as this process runs. It is named once; its examples are `lost`, and the
loader lets others from all over the data take their places, the same ones each time, so that no other position of the
training shows anything else.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import ClassMap, Dataset, Row, Unreadable, one_hot
from carrara.data.files import decode_bytes
from carrara.data.ledger import Ledger
from carrara.data.shards import layout
from carrara.errors import UserError, command
from carrara.files import PICTURE, BadFile, Malformed, as_kind, check_format, parse_json, read_bytes, shown
from carrara.files.columns import open_columns
from carrara.files.contents import content_of
from carrara.files.places import Here, NoRoom, Place, place_of
from carrara.pixels import to_pixels, to_tensor, with_channels

GIGABYTE = 10**9
_log = logging.getLogger(__name__)
_SAID = set[tuple[str, int]]()


class _Lines(NamedTuple):
    """The lines of some examples that follow each other."""

    examples: range
    content: bytes


@final
class Shards(Dataset):
    """The pictures of shards, in the order of the folder that they were written of.

    Args:
        path: of their folder, or an address of it.
        cache: bytes that are kept on this machine of what lies afar.

    Raises:
        UserError: they are not there, not complete, or a package is missing.
    """

    def __init__(self, path: str, cache: int = 10 * GIGABYTE) -> None:
        self._place = place_of(path, cache)
        self.index = _index(self._place)
        self.info = self.index.info("" if isinstance(self._place, Here) else f" at {self._place}")
        rows = self._place.file(layout.ROWS, self.index.rows, lasting=True)
        try:
            self._rows = _checked(rows, self.index)
        except BadFile as error:
            again = command("data shard FOLDER OUT")
            raise UserError(f"{error.message}: write these shards again ('{again}')") from None
        self._first = np.array(self._rows["first"])
        self._line_at = self._rows["line"], self._rows["line_bytes"]
        self._lost: dict[int, str] = {}
        self._lines = _Lines(range(0), b"")
        self._last, self._lock = -1, Lock()

    def __len__(self) -> int:
        return self.index.examples

    @cached_property
    def ledger(self) -> Ledger:  # pyright: ignore[reportIncompatibleMethodOverride]
        rows = self._rows
        return Ledger(places=rows["place"], held=rows["held"], contents=rows["content"], digests=rows["digest"])

    def pixels(self, index: int) -> NDArray[Any]:
        name, content = "picture.npy", self._picture(index)
        if not content.startswith(b"\x93NUMPY"):
            name = "picture"
        return decode_bytes(content, name)

    def key(self, index: int) -> str:
        return self._rows["content"][index].tobytes().hex()

    def native(self, index: int) -> tuple[int, int]:
        height, width = self._rows["size"][index].tolist()
        return height, width

    def held(self, index: int) -> bool | None:
        said = int(self._rows["held"][index])
        return None if said < 0 else bool(said)

    def columns(self, index: int) -> Mapping[str, Row]:
        columns: dict[str, Row] = {}
        count = len(self.info.classes)
        if count:
            number = int(self._rows["label"][index])
            columns["label"] = one_hot(count, *([number] if 0 <= number < count else self._several(index, number)))
        if size := self.info.vector_size:
            vector = np.array(self.line(index).vector, np.float32)
            if len(vector) != size:
                raise Unreadable(f"its vector has {len(vector)} numbers, and others have {size}")
            columns["vector"] = vector
        return columns

    def captions(self, index: int) -> tuple[str, ...]:
        return self.line(index).captions if self.info.captions else ()

    def map(self, index: int) -> ClassMap | None:
        place = self.line(index).map
        if place is None:
            return None
        found = with_channels(decode_bytes(self._part(self.shard(index), *place), "map.png"), 3)
        return found if found.dtype == np.uint8 else to_pixels(to_tensor(found))

    def name(self, index: int) -> str:
        try:
            return shown(layout.name_in(self._line(index)))
        except (Unreadable, Malformed):
            return f"picture {index} of {layout.tar_name(self.shard(index))}"

    def counts(self) -> dict[str, int]:
        """How many examples each class has; those of several classes are of none here."""
        labels = self._rows["label"]
        found = np.bincount(labels[(labels >= 0) & (labels < len(self.info.classes))], minlength=len(self.info.classes))
        return dict(zip(self.info.classes, found.tolist(), strict=True))

    def shard(self, index: int) -> int:
        """The number of the shard that an example is in."""
        return int(np.searchsorted(self._first, index, "right")) - 1

    def line(self, index: int) -> layout.Line:
        """What is known of an example.

        Raises:
            Unreadable: its shard is lost, or the line is none.
        """
        try:
            return layout.line_in(self._line(index))
        except Malformed as error:
            raise Unreadable(f"its line {error}") from None

    def _several(self, index: int, number: int) -> list[int]:
        if number != layout.SEVERAL:
            return []
        return [self._numbers[name] for name in self.line(index).labels if name in self._numbers]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.info.classes)}

    def _picture(self, index: int) -> bytes:
        """The bytes of a picture, as they were written: what is not is asked for once more."""
        number, rows = self.shard(index), self._rows
        first, count = int(rows["offset"][index]), int(rows["bytes"][index])
        if count > PICTURE:
            raise Unreadable(f"it has {count} bytes, and a picture has at most {PICTURE}", "oversized")
        content = self._part(number, first, count)
        if content_of(content) != self.key(index):
            self._place.forget(layout.tar_name(number), first, self._mark("tar_hash", number))
            content = self._part(number, first, count)
            if content_of(content) != self.key(index):
                raise Unreadable("it is not what was written")
        return content

    def _part(self, number: int, first: int, count: int) -> bytes:
        """Some bytes of a shard.

        Raises:
            Unreadable: it is lost.
        """
        mark = self._mark("tar_hash", number)
        self._check_lost(number)
        try:
            return self._place.part(layout.tar_name(number), first, count, mark)
        except BadFile as error:
            raise self._lose(number, error) from None

    def _line(self, index: int) -> bytes:
        """The line of an example. Who asks for one after the other reads the whole file once."""
        first, count = self._line_at[0].item(index), self._line_at[1].item(index)
        if index in (lines := self._lines).examples:
            return lines.content[first : first + count]
        number = self.shard(index)
        self._check_lost(number)
        mark, name = self._mark("lines_hash", number), layout.lines_name(number)
        try:
            if self._last == number:
                content = self._place.kept(name, mark, lambda path: read_bytes(path, 1 << 32))
                self._lines = _Lines(self._examples(number), content)
                return content[first : first + count]
            found = self._place.kept(name, mark, lambda path: Here(path.parent).part(path.name, first, count, mark))
            self._last = number
            return found
        except NoRoom:
            return self._part_of_lines(number, first, count)
        except BadFile as error:
            raise self._lose(number, error) from None

    def _part_of_lines(self, number: int, first: int, count: int) -> bytes:
        """A part of a shard's lines, of which nothing can be kept."""
        try:
            return self._place.part(layout.lines_name(number), first, count, self._mark("lines_hash", number))
        except BadFile as error:
            raise self._lose(number, error) from None

    def _mark(self, column: str, number: int) -> str:
        return self._rows[column][number].tobytes().hex()

    def _examples(self, number: int) -> range:
        """The numbers of a shard's examples."""
        ends = self._first[number + 1 : number + 2].tolist() or [len(self)]
        return range(int(self._first[number]), ends[0])

    def _check_lost(self, number: int) -> None:
        if number in self._lost:
            raise Unreadable(self._lost[number], "lost")

    def _lose(self, number: int, error: BadFile) -> Unreadable:
        """Names a shard that cannot be read, once in this process."""
        with self._lock:
            self._lost[number] = f"its shard {error.why}"
            said = str(self._place), number
            if said not in _SAID:
                _SAID.add(said)
                others = f"take the places of its {len(self._examples(number))} examples"
                _log.warning("%s: the others are trained on, and %s", error.message, others)
        return Unreadable(self._lost[number], "lost")


def _index(place: Place) -> layout.Index:
    """What a folder says that it holds.

    Raises:
        UserError: there are no shards, or they are not complete.
    """
    try:
        document = parse_json(place.whole(layout.INDEX, layout.MOST_INDEX))
        path = Path(str(place), layout.INDEX)
        check_format(document, path, layout.FORMAT)
        return as_kind(document, layout.Index)
    except BadFile as error:
        if error.why != "is not there":
            raise
        with suppress(BadFile):
            place.whole(layout.PLAN)
            again = command("data shard FOLDER OUT")
            raise UserError(
                f"the shards in '{place}' are not complete: write them to their end, by '{again}' with the same folders"
            ) from None
        raise UserError(f"there are no shards in '{place}': it has no {layout.INDEX}") from None
    except Malformed as error:
        raise BadFile(f"{place}/{layout.INDEX}", str(error)) from None


def _checked(path: Path, index: layout.Index) -> dict[str, NDArray[Any]]:
    """The columns of an index.

    Raises:
        BadFile: they are not as many as it says.
    """
    rows = open_columns(path, layout.EXAMPLES | layout.SHARDS)
    for name, column in rows.items():
        if len(column) != (index.examples if name in layout.EXAMPLES else index.shards):
            raise BadFile(path, f"has {len(column)} rows in the column '{name}'")
    first = rows["first"]
    if not len(first) or first[0] != 0 or (np.diff(first) <= 0).any() or first[-1] >= index.examples:
        raise BadFile(path, "has shards that do not follow each other")
    return rows
