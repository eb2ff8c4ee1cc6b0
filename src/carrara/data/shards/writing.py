"""Tar files of a folder's pictures: in all processors at once, and gone on with where it was interrupted.

A shard is finished when its rows are written, which is done last; each of its files is there whole or not at all. So
whatever kills the command, the same one again writes what is missing and nothing else, and what comes out is equal to
the byte. Which pictures are in which shard is a function of the folder and of the largest sizes alone.
"""

import hashlib
import json
import os
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from carrara.data.base import DataInfo
from carrara.data.folder import Folder
from carrara.data.ledger import HELD_OUT
from carrara.data.shards import layout
from carrara.errors import UserError, option
from carrara.files import BadFile, lies_in, make_folder, read_as, replacing, shown, stamp_of, sweep
from carrara.files.columns import open_columns, write_columns
from carrara.files.lock import LOCK, Lock
from carrara.files.reading import opened
from carrara.files.shards import Job, Member, leave_with, write_shard
from carrara.files.tar import ended, padded
from carrara.files.writing import is_bare
from carrara.seeds import integer

_BESIDE = 4096  # bytes that are counted for what lies beside a picture


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """How pictures are put together.

    Attributes:
        most_bytes: of a shard, about.
        most_examples: of a shard.
        workers: processes; None = one for each processor.
    """

    most_bytes: int = 256 * 10**6
    most_examples: int = 10_000
    workers: int | None = None

    def __post_init__(self) -> None:
        if min(self.most_bytes, self.most_examples) < 1 or (self.workers is not None and self.workers < 1):
            raise ValueError("a shard has at least one picture, and one process writes it: give whole numbers from 1")


@dataclass(frozen=True, kw_only=True)
class Written:
    """How far it is.

    Attributes:
        before: bytes of shards that were found finished.
        done, total: bytes of pictures.
        shards: how many there will be.
    """

    before: int
    done: int
    total: int
    shards: int


def shard(folder: Folder, out: Path, settings: Sharding = Sharding()) -> Generator[Written]:
    """Writes a folder's pictures as shards, and yields after each.

    Raises:
        UserError: there is something else at ``out``, another process writes there, or a picture has changed.
        NotWritten: the disk is full, or refuses.
    """
    _check_place(folder, out)
    digests = _digests(folder)
    ends = _ends(folder, settings)
    limits = f"{layout.FORMAT} {settings.most_bytes} {settings.most_examples} {folder.classes}"
    planned = layout.Planned(
        format=layout.FORMAT, data=hashlib.blake2b(limits.encode() + digests.tobytes(), digest_size=8).hexdigest()
    )
    _check_plan(out, planned)
    make_folder(out)
    lock = Lock(out)
    try:
        sweep(out)
        _write_json(out / layout.PLAN, asdict(planned))
        yield from _all(folder, out, ends, digests, settings)
        _write_index(folder.info, out, ends)
    finally:
        lock.release()


def _all(
    folder: Folder, out: Path, ends: Sequence[int], digests: NDArray[np.uint8], settings: Sharding
) -> Generator[Written]:
    """Writes all shards that are not finished."""
    spans = [range(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    sizes = [sum(folder.header(k).stamp[0] for k in span) for span in spans]
    missing = [n for n, span in enumerate(spans) if not _is_finished(out, n, len(span))]
    total, left = sum(sizes), sum(sizes[n] for n in missing)
    before = done = total - left
    yield Written(before=before, done=done, total=total, shards=len(ends))
    jobs = (_job(folder, out, n, spans[n], digests) for n in missing)
    for n, _ in zip(missing, _written(jobs, min(settings.workers or os.cpu_count() or 1, len(missing))), strict=True):
        done += sizes[n]
        yield Written(before=before, done=done, total=total, shards=len(ends))


def _written(jobs: Iterator[Job], workers: int) -> Iterator[int]:
    """The bytes of each tar file, in order, while others are being written."""
    if workers <= 1:
        yield from map(write_shard, jobs)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), leave_with, (os.getpid(),))
    try:
        ahead = deque[Future[int]]()
        for job in jobs:
            ahead.append(pool.submit(write_shard, job))
            if len(ahead) > workers:  # jobs of more than are being written would only take memory
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            "a process that wrote shards was ended, perhaps for want of memory: run the same command again, with fewer "
            f"of them ({option('workers', 1)}); what is finished is not written again"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _job(folder: Folder, out: Path, number: int, examples: range, digests: NDArray[np.uint8]) -> Job:
    numbers = {name: k for k, name in enumerate(folder.classes)}
    members = [_member(folder, k, digests[k].tolist(), numbers) for k in examples]
    tar, lines, rows = (out / name(number) for name in (layout.tar_name, layout.lines_name, layout.rows_name))
    own = {name: column for name, column in layout.SHARDS.items() if name != "first"}
    return Job(tar=tar, lines=lines, rows=rows, members=members, columns=layout.EXAMPLES, own=own)


def _member(folder: Folder, index: int, digest: list[int], numbers: Mapping[str, int]) -> Member:
    header, drawn = folder.header(index), folder.map_header(index)
    texts, labels, vector = folder.captions(index), folder.labels(index), folder.vector(index)
    known: dict[str, Any] = {"name": folder.name(index)}
    beside: dict[str, str] = {}
    if texts:
        known["captions"] = texts
        beside["txt"] = "\n".join(" ".join(text.splitlines()) for text in texts)
    number = layout.SEVERAL if labels else layout.NO_LABEL
    if labels:
        known["labels"] = labels
        if len(labels) == 1:
            number = numbers[labels[0]]
            beside["cls"] = str(number)
    if vector is not None:
        known["vector"] = vector.tolist()
    row = {
        "size": header.size,
        "channels": header.channels,
        "held": _held(folder, index),
        "label": number,
        "place": integer(HELD_OUT, header.content),
        "content": list(bytes.fromhex(header.content)),
        "digest": digest,
    }
    return Member(
        key=f"{index:09}",
        path=header.path,
        content=header.content,
        map=drawn and drawn.path,
        beside=beside,
        known=known,
        row=row,
    )


def _held(folder: Folder, index: int) -> int:
    held = folder.held(index)
    return -1 if held is None else int(held)


def _digests(folder: Folder) -> NDArray[np.uint8]:
    """(N, 16), as of ``Ledger``."""
    found = np.empty((len(folder), 16), np.uint8)
    for k in range(len(folder)):
        vector, drawn = folder.vector(k), folder.map_header(k)
        numbers = None if vector is None else vector.tolist()
        said = (folder.name(k), folder.key(k), folder.labels(k), numbers, folder.captions(k), _held(folder, k))
        mapped = drawn is not None and (drawn.path.name, drawn.stamp[0])
        found[k] = np.frombuffer(hashlib.blake2b(repr((said, mapped)).encode(), digest_size=16).digest(), np.uint8)
    return found


def _ends(folder: Folder, settings: Sharding) -> list[int]:
    """The number after that of the last example of each shard."""
    ends, size, begin = list[int](), 0, 0
    for k in range(len(folder)):
        own = padded(folder.header(k).stamp[0]) + _BESIDE
        if k > begin and (ended(size + own) > settings.most_bytes or k - begin == settings.most_examples):
            ends.append(k)
            size, begin = 0, k
        size += own
    return [*ends, len(folder)]


def _check_place(folder: Folder, out: Path) -> None:
    if lies_in(out, folder.path):
        raise UserError(f"'{shown(out)}' lies among the pictures of '{shown(folder.path)}': name another folder")
    if os.path.lexists(out) and not out.is_dir():
        raise UserError(f"'{shown(out)}' is a file: name a folder that is not there")


def _check_plan(out: Path, planned: layout.Planned) -> None:
    """Refuses a folder in which is anything but the same shards."""
    try:
        found = read_as(out / layout.PLAN, layout.Planned, known=layout.FORMAT)
    except BadFile:
        if is_bare(out) or not any(path.name != LOCK for path in out.iterdir()):
            return
        raise UserError(
            f"'{shown(out)}' is not empty, and what is in it are no shards: name a folder that is not there"
        ) from None
    if found != planned:
        raise UserError(
            f"'{shown(out)}' has shards of other pictures, of other captions or classes, or of other sizes: name "
            "another folder, or delete that one"
        )


def _is_finished(out: Path, number: int, count: int) -> bool:
    own = {name: column for name, column in layout.SHARDS.items() if name != "first"}
    try:
        rows = open_columns(out / layout.rows_name(number), {**layout.EXAMPLES, **own})
        with opened(out / layout.lines_name(number)):
            size = stamp_of(out / layout.tar_name(number))[0]
    except BadFile:
        return False
    return len(rows["offset"]) == count and size == int(cast(int, rows["tar_bytes"][0]))


def _write_index(info: DataInfo, out: Path, ends: Sequence[int]) -> None:
    """Writes what opens the folder: all rows, and then what says that it is complete."""

    def parts(name: str) -> Iterator[Any]:
        if name == "first":
            yield np.array([0, *ends[:-1]])
            return
        column = {name: (layout.EXAMPLES | layout.SHARDS)[name]}
        for number in range(len(ends)):
            yield open_columns(out / layout.rows_name(number), column)[name]

    columns = layout.EXAMPLES | layout.SHARDS
    count = dict.fromkeys(layout.EXAMPLES, ends[-1]) | dict.fromkeys(layout.SHARDS, len(ends))
    with replacing(out / layout.ROWS, lasting=True) as file:
        write_columns(file, columns, count, {name: parts(name) for name in columns})
    write_head(out, info, ends[-1], len(ends))


def write_head(out: Path, info: DataInfo, examples: int, shards: int) -> None:
    """Writes ``shards.json`` beside the rows that are there."""
    assert info.native is not None and len(info.native) == 2
    index = layout.Index(
        format=layout.FORMAT,
        name=info.name,
        examples=examples,
        shards=shards,
        rows=hash_of(out / layout.ROWS),
        channels=info.channels,
        native=info.native,
        classes=info.classes,
        vector_size=info.vector_size,
        captions=info.captions,
        maps=info.maps,
    )
    _write_json(out / layout.INDEX, asdict(index))


def hash_of(path: Path) -> str:
    """The hash of a file: 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    with opened(path) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _write_json(path: Path, document: object) -> None:
    with replacing(path, lasting=True) as file:
        file.write(json.dumps(document, ensure_ascii=False, indent=1).encode())
