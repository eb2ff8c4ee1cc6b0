"""Writes one tar file of pictures, and what is known of them beside it: the work of one process of many.

Nothing here needs torch, so that a process begins in a moment.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from carrara.errors import UserError
from carrara.files.columns import Column, write_columns
from carrara.files.contents import content_of
from carrara.files.pictures import PICTURE
from carrara.files.reading import read_bytes, shown
from carrara.files.tar import Sink, Tar
from carrara.files.writing import replacing, sync


@dataclass(frozen=True, kw_only=True)
class Member:
    """An example.

    Attributes:
        key: what its files are called, without their endings.
        path: of its picture.
        content: the hash of it; see ``content_in``.
        map: of its map, if it has one.
        beside: what else lies in the tar file, by ending.
        known: what its line says, to which is added where the map lies.
        row: its values in the columns, to which is added where its picture and its line lie.
    """

    key: str
    path: Path
    content: str
    map: Path | None
    beside: Mapping[str, str]
    known: Mapping[str, Any]
    row: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A tar file that is to be written.

    Attributes:
        tar, lines, rows: its three files.
        columns: that each example has, and that the tar file has.
    """

    tar: Path
    lines: Path
    rows: Path
    members: Sequence[Member]
    columns: Mapping[str, Column]
    own: Mapping[str, Column]


def write_shard(job: Job) -> int:
    """Writes the files of a job, its rows last; how many bytes its tar file has.

    Raises:
        UserError: a picture is not what it was, or cannot be read.
        NotWritten: the disk is full, or refuses.
    """
    lines, rows = list[bytes](), list[Mapping[str, Any]]()
    with replacing(job.tar, lasting=True) as file:
        hashed = _Hashed(file)
        tar, at = Tar(hashed), 0
        for member in job.members:
            place, line = _add(tar, member)
            rows.append({**member.row, **place, "line": at, "line_bytes": len(line)})
            lines.append(line)
            at += len(line)
        tar.end()
    content = b"".join(lines)
    with replacing(job.lines, lasting=True) as file:
        file.write(content)
    own = {"tar_bytes": tar.size, "tar_hash": hashed.value(), "lines_hash": list(_hash(content))}
    values = {name: [row[name] for row in rows] for name in job.columns}
    values |= {name: [own[name]] for name in job.own}
    count = {name: len(column) for name, column in values.items()}
    with replacing(job.rows, lasting=True) as file:
        write_columns(file, {**job.columns, **job.own}, count, {name: [column] for name, column in values.items()})
    sync(job.rows.parent)
    return tar.size


def leave_with(parent: int) -> None:
    """Ends this process when the one that has begun it is no more: a killed command leaves nobody behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _add(tar: Tar, member: Member) -> tuple[dict[str, int], bytes]:
    """Writes an example; where its picture lies, and its line."""
    content = read_bytes(member.path, PICTURE)
    if content_of(content) != member.content:
        raise UserError(
            f"'{shown(member.path)}' is not what it was when this began: run the same command again with a new folder"
        )
    offset = tar.add(f"{member.key}{member.path.suffix.lower()}", content)
    known = dict(member.known)
    for ending, text in member.beside.items():
        tar.add(f"{member.key}.{ending}", text.encode())
    if member.map is not None:
        drawn = read_bytes(member.map, PICTURE)
        known["map"] = [tar.add(f"{member.key}.map.png", drawn), len(drawn)]
    line = json.dumps(known, ensure_ascii=False).encode("utf-8", "replace")
    tar.add(f"{member.key}.json", line)
    return {"offset": offset, "bytes": len(content)}, line + b"\n"


@final
class _Hashed:
    """A file whose content is hashed while it is written."""

    def __init__(self, file: Sink) -> None:
        self._file, self._digest = file, hashlib.blake2b(digest_size=16)

    def write(self, content: Any, /) -> int:
        self._digest.update(content)
        return self._file.write(content)

    def value(self) -> list[int]:
        """The hash so far."""
        return list(self._digest.digest())


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
