"""Shards afar: the same batches from memory, from HTTP and from a real S3 server, through a bounded cache."""

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch

from carrara.data import Folder, Loader, Transform, as_source, open_dataset
from carrara.data.shards import INDEX, Sharding, Shards, shard
from carrara.errors import UserError
from carrara.files import places

fsspec = pytest.importorskip("fsspec", reason="pip install 'carrara[remote]'")
EIGHT = Transform(size=(8, 8), channels=3)


@pytest.fixture
def out(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shards of a folder with captions, and an empty cache."""
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(places, "WAITS", [0.0, 0.0, 0.0])
    for path in photos.rglob("*.png"):
        path.with_suffix(".txt").write_text(f"a {path.parent.name} one")
    list(shard(Folder(photos), tmp_path / "out", Sharding(most_examples=5, workers=1)))
    return tmp_path / "out"


@pytest.fixture
def memory(out: Path) -> Iterator[str]:
    """The same in fsspec's memory."""
    files = fsspec.filesystem("memory")
    for path in out.iterdir():
        files.pipe_file(f"/shards/{path.name}", path.read_bytes())
    yield "memory://shards"
    files.rm("/shards", recursive=True)


def batches(data: Any, count: int = 6) -> list[torch.Tensor]:
    loader = Loader(data, EIGHT, batch=4, seed=3, workers=0)
    return [loader.at(step).x for step in range(count)]


def check_same(url: str, out: Path) -> None:
    ours, theirs = open_dataset(url), Shards(str(out))
    assert all(torch.equal(x, y) for x, y in zip(batches(ours), batches(theirs), strict=True))
    for k in range(len(theirs)):
        assert (ours.name(k), ours.captions(k), ours.key(k)) == (theirs.name(k), theirs.captions(k), theirs.key(k))


def kept(tmp_path: Path) -> int:
    found = [path for path in (tmp_path / "cache" / "remote").rglob("*") if path.is_file() and path.name != ".bytes"]
    return sum(path.stat().st_size for path in found)


def test_memory(memory: str, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_same(memory, out)
    asked = list[str]()
    files = fsspec.filesystem("memory")
    read = files.cat_file
    monkeypatch.setattr(files, "cat_file", lambda path, **span: asked.append(path) or read(path, **span))
    check_same(memory, out)
    assert [path for path in asked if not path.endswith(INDEX)] == [], "what was read is kept"


def test_the_cache_is_bounded(memory: str, tmp_path: Path) -> None:
    tar = max(path.stat().st_size for path in (tmp_path / "out").glob("*.jsonl"))
    data = Shards(memory, cache=4 * tar)
    for k in (*range(len(data)), *range(len(data))):
        data.pixels(k)
        assert data.captions(k)
        assert kept(tmp_path) <= 4 * tar


def test_nothing_needs_to_be_kept(memory: str, out: Path, tmp_path: Path) -> None:
    assert Shards(memory, 0).captions(0) == Shards(str(out)).captions(0)
    assert all(
        torch.equal(one, other)
        for one, other in zip(batches(Shards(memory, 0)), batches(Shards(str(out))), strict=True)
    )
    assert kept(tmp_path) == 0


def test_an_index_that_came_wrong_first_is_kept_right(memory: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, answers = fsspec.filesystem("memory"), list[int]()
    begin = files.open

    def longer_first(path: str, mode: str = "rb", **more: Any) -> Any:
        stream = begin(path, mode, **more)
        if path.endswith(".npz"):
            answers.append(1)
            if len(answers) == 1:
                return io.BytesIO(stream.read() + b"what another answer had")
        return stream

    monkeypatch.setattr(files, "open", longer_first)
    Shards(memory)
    assert len(Shards(memory)) == len(Shards(str(out))) and len(answers) == 2


@pytest.mark.parametrize("url", ["github://x/y", "dir://x", "reference://x", "ftp://127.0.0.1:1/x", "gs://x/y"])
def test_addresses_that_cannot_be_opened_are_said(url: str) -> None:
    with pytest.raises(UserError, match=r"cannot be opened|no file system|package that is missing|is not there"):
        Shards(url)


def test_what_fails_is_asked_for_again(
    memory: str, out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files, failed = fsspec.filesystem("memory"), dict[tuple[Any, ...], int]()
    read = files.cat_file

    def unsteady(path: str, **span: Any) -> bytes:
        key = (path, *span.items())
        failed[key] = failed.get(key, 0) + 1
        if failed[key] <= 3:
            raise TimeoutError("no answer")
        return read(path, **span)

    monkeypatch.setattr(files, "cat_file", unsteady)
    check_same(memory, out)
    assert not caplog.records


def test_what_stays_away_is_named_once(memory: str, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    fsspec.filesystem("memory").rm("/shards/shard-000001.tar")
    found = batches(open_dataset(memory), 12)
    (record,) = caplog.records
    said = "is not there: the others are trained on, and take the places of its 5 examples"
    assert record.getMessage() == f"'{memory}/shard-000001.tar' {said}"
    whole = batches(Shards(str(out)), 12)
    names = Loader(Shards(str(out)), EIGHT, batch=4, seed=3, workers=0)
    gone = {Shards(str(out)).name(k) for k in range(5, 10)}
    for step in range(12):
        for j, name in enumerate(names.names(range(4 * step, 4 * step + 4))):
            assert torch.equal(found[step][j], whole[step][j]) != (name in gone)


def test_what_is_damaged_on_the_way_is_asked_for_again(memory: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, seen = fsspec.filesystem("memory"), set[tuple[Any, ...]]()
    read = files.cat_file

    def damaging(path: str, **span: Any) -> bytes:
        content = bytearray(read(path, **span))
        if path.endswith(".tar") and (key := (path, *span.items())) not in seen:
            seen.add(key)
            content[len(content) // 2] ^= 1
        return bytes(content)

    monkeypatch.setattr(files, "cat_file", damaging)
    check_same(memory, out)


def test_what_is_not_there(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"there are no shards in 'memory://nowhere': it has no shards\.json"):
        open_dataset("memory://nowhere")
    fsspec.filesystem("memory").rm(f"/shards/{INDEX}")
    with pytest.raises(UserError, match="are not complete"):
        open_dataset(memory)
    with pytest.raises(UserError, match="there is no file system for 'nothing://'"):
        open_dataset("nothing://bucket/shards")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UserError, match=r"pip install 'carrara\[remote\]'"):
        open_dataset("s3://bucket/shards")


class Plain(SimpleHTTPRequestHandler):
    """A server that answers with whole files, whatever range it is asked for."""

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def web(out: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Plain, directory=str(out)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_without_ranges(web: str, out: Path, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="pip install 'carrara[remote]'")
    check_same(web, out)
    tars = [path.stat().st_size for path in out.glob("*.tar")]
    assert kept(tmp_path) >= sum(tars), "whole shards are kept"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Moto's S3 server, in a process of its own."""
    pytest.importorskip("moto", reason="pip install 'moto[s3]' flask flask-cors")
    pytest.importorskip("flask", reason="pip install flask flask-cors")
    pytest.importorskip("s3fs", reason="pip install 'carrara[remote]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("s3") / "log").open("wb")
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urlopen(url, timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, Path(log.name).read_text()
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait()
        log.close()


@pytest.fixture
def bucket(s3: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The shards in a bucket."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3,
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("pictures")
    files.put(f"{out}/", "pictures/shards/", recursive=True)
    yield "s3://pictures/shards"
    files.rm("pictures", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def test_s3(bucket: str, out: Path, tmp_path: Path) -> None:
    assert as_source(bucket).name == "shards"
    check_same(bucket, out)
    pictures = sum(path.stat().st_size for path in out.glob("*.tar"))
    assert 0 < kept(tmp_path) < pictures, "of tar files, ranges are read"


def test_training_from_s3(
    bucket: str, out: Path, tmp_path: Path, carrara: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from carrara.train import read_log
    from tiny import TINY

    monkeypatch.chdir(tmp_path)
    for data, run in ((bucket, "far"), (out, "near")):
        code, said = carrara(
            "train", data, "--preset", "pixel", *TINY, "train.steps=3", "checkpoint.every=3", "--run", run
        )
        assert code == 0, said
    far, near = ([line["loss"] for line in read_log(Path(run, "log.jsonl"))] for run in ("far", "near"))
    assert len(far) == 3 and far == near
    code, said = carrara("inspect", "data", bucket)
    assert code == 0 and "16 pictures" in said and "red (8)" in said, said


def test_s3_that_refuses(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match=r"'s3://pictures/shards/shards.json' cannot be read"):
        open_dataset(bucket)
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"])
