"""What lies in a folder of shards.

shard-000000.tar     the pictures, as WebDataset's readers take them: KEY.png, KEY.txt (captions, a line each), KEY.cls
                     (the number of the class, if there is one), KEY.json (all that is known), KEY.map.png; a KEY is the
                     number of the example in the order of the folder
shard-000000.jsonl   the same KEY.json again, a line for each example, to be read without the pictures
shard-000000.npz     a row for each example: where it lies, and what a training asks of all; written last
shards.npz           all of these rows, and a row for each shard
shards.json          how many there are, and their classes; written when all else is there
shards-plan.json     what is to be written, of which pictures; written first
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from carrara.data.base import DataInfo
from carrara.data.folder.columns import LONGEST, WIDEST
from carrara.files import PICTURE, Malformed, is_regular, parse_json
from carrara.files.columns import Column

INDEX, PLAN, ROWS = "shards.json", "shards-plan.json", "shards.npz"
FORMAT = 1
"""Of a folder of shards; a reader refuses a higher one."""
MOST_INDEX = 1 << 24
"""The largest ``shards.json``, in bytes: classes have names."""

EXAMPLES = {
    "offset": Column(kind="<i8"),  # of the picture's bytes in the tar file
    "bytes": Column(kind="<u4"),
    "line": Column(kind="<u4"),  # of its line's bytes in the file of lines
    "line_bytes": Column(kind="<u4"),
    "size": Column(kind="<i4", inner=(2,)),  # (height, width)
    "channels": Column(kind="|u1"),
    "held": Column(kind="|i1"),  # as of Ledger, like the next ones
    "label": Column(kind="<i4"),  # the number of its class; -1 = it has none, -2 = its line says which
    "place": Column(kind="<i8"),
    "content": Column(kind="|u1", inner=(16,)),
    "digest": Column(kind="|u1", inner=(16,)),
}
"""Columns with a row for each example."""
_NAME = b'{"name": "'  # with which each of our lines begins
NO_LABEL, SEVERAL = -1, -2
SHARDS = {
    "first": Column(kind="<i8"),  # the number of its first example
    "tar_bytes": Column(kind="<i8"),
    "tar_hash": Column(kind="|u1", inner=(16,)),
    "lines_hash": Column(kind="|u1", inner=(16,)),
}
"""Columns with a row for each shard."""
ROW = sum(column.bytes for column in EXAMPLES.values())
"""Bytes of the index for each example."""

_Name = Annotated[str, Field(max_length=1000)]
_Count = Annotated[int, Field(ge=0, lt=1 << 48)]
_Hash = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


@dataclass(frozen=True, kw_only=True)
class Index:
    """What ``shards.json`` says.

    Attributes:
        name: of the folder that they are of.
        rows: the hash of ``shards.npz``.
    """

    format: int
    name: _Name
    examples: _Count
    shards: _Count
    rows: _Hash
    channels: Annotated[int, Field(ge=1, le=1024)]
    native: tuple[Annotated[int, Field(ge=1, le=1 << 30)], Annotated[int, Field(ge=1, le=1 << 30)]]
    classes: Annotated[tuple[_Name, ...], Field(max_length=WIDEST)] = ()
    vector_size: Annotated[int, Field(ge=0, le=WIDEST)] = 0
    captions: bool = False
    maps: bool = False

    def info(self, where: str = "") -> DataInfo:
        """What a data set says of itself.

        Args:
            where: it lies, as it follows after what it is.
        """
        said = f"{self.examples} pictures of '{self.name}' in {self.shards} shard{'s' * (self.shards != 1)}{where}"
        return DataInfo(
            name=self.name,
            channels=self.channels,
            native=self.native,
            classes=self.classes,
            vector_size=self.vector_size,
            captions=self.captions,
            maps=self.maps,
            remarks=(said,),
        )


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What ``shards-plan.json`` says.

    Attributes:
        data: the fingerprint of the pictures, and of the sizes of shards.
    """

    format: int
    data: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is known of an example.

    Attributes:
        name: of its file in the folder.
        labels: the names of its classes.
        map: where its map lies in the tar file, (first byte, bytes).
    """

    name: str
    captions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    vector: tuple[float, ...] = ()
    map: tuple[int, int] | None = None


def line_in(text: bytes) -> Line:
    """What a line says.

    Raises:
        Malformed: it says something else.
    """
    match parse_json(text):
        case {"name": str(name), **said}:
            captions, labels = (_texts(said.get(key, [])) for key in ("captions", "labels"))
            return Line(name=name, captions=captions, labels=labels, vector=_vector(said.get("vector")), map=_map(said))
        case _:
            raise Malformed("has no name")


def name_in(text: bytes) -> str:
    """The name that a line says; errors as of ``line_in``."""
    if text.startswith(_NAME) and b"\\" not in (name := text[len(_NAME) : text.find(b'"', len(_NAME))]):
        return name.decode(errors="replace")
    return line_in(text).name


def _texts(value: Any) -> tuple[str, ...]:
    if not (isinstance(value, list) and all(isinstance(one, str) and len(one) <= LONGEST for one in value)):
        raise Malformed("has texts that are none")
    return tuple(value)


def _vector(value: Any) -> tuple[float, ...]:
    if value is None:
        return ()
    if not (isinstance(value, list) and len(value) <= WIDEST and all(isinstance(one, int | float) for one in value)):
        raise Malformed("has numbers that are none")
    return tuple(map(float, value))


def _map(said: Mapping[str, Any]) -> tuple[int, int] | None:
    match said.get("map"):
        case None:
            return None
        case [int(first), int(count)] if first >= 0 and 0 < count <= PICTURE:
            return first, count
        case _:
            raise Malformed("has a map that is nowhere")


def tar_name(number: int) -> str:
    """The file of a shard."""
    return f"shard-{number:06}.tar"


def lines_name(number: int) -> str:
    """The file of its lines."""
    return f"shard-{number:06}.jsonl"


def rows_name(number: int) -> str:
    """The file of its rows."""
    return f"shard-{number:06}.npz"


def is_shards(path: Path) -> bool:
    """Whether a folder holds shards, or such as are not complete."""
    return is_regular(path / ROWS) or is_regular(path / PLAN)
