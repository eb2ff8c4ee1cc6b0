"""Shards: the same data and the same training as the folder that they were written of, to the bit."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from people import FOLDERS, Given, opened
from PIL import Image

from carrara.data import Dataset, Folder, Loader, Transform, Unreadable, as_source, fingerprint, split
from carrara.data.shards import INDEX, Sharding, Shards, layout, shard
from carrara.data.shards import writing as shard_writing
from carrara.data.sources import ShardsSource
from carrara.errors import UserError
from carrara.files import Malformed, places
from carrara.files import shards as shard_files

FEW = Sharding(most_examples=3, workers=1)
QUICK = {"classes", "split", "birds", "vectors", "maps", "photos", "any-names", "damaged", "kohya-json"}
MADE = [
    pytest.param(given, id=given.name, marks=() if given.name in QUICK else pytest.mark.slow)
    for given in FOLDERS
    if not given.refused
]


READER = """
import json, sys, webdataset
read = webdataset.WebDataset(sys.argv[1:], shardshuffle=False, empty_check=False).decode("rgb8")
said = ((one["png"].shape, one["png"].tobytes().hex(), one["cls"], one["json"], one.get("txt", "")) for one in read)
print(json.dumps(list(said)))
"""
"""Shards as WebDataset reads them, in a process of its own."""


def written(folder: Folder | Path, out: Path, settings: Sharding = FEW) -> Shards:
    """The shards of a folder, open."""
    list(shard(Folder(folder) if isinstance(folder, Path) else folder, out, settings))
    return Shards(str(out))


def all_bytes(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def pixels(data: Dataset, index: int) -> np.ndarray | str:
    """A picture, or why it cannot be read."""
    try:
        return data.pixels(index)
    except Unreadable as error:
        return str(error)


def check_equal(shards: Dataset, folder: Dataset) -> None:
    assert len(shards) == len(folder)
    for name in ("channels", "native", "classes", "vector_size", "captions", "maps"):
        assert getattr(shards.info, name) == getattr(folder.info, name), name
    for k in range(len(folder)):
        assert shards.name(k) == folder.name(k) and shards.key(k) == folder.key(k)
        assert shards.native(k) == folder.native(k) and shards.held(k) == folder.held(k)
        assert shards.captions(k) == folder.captions(k)
        picture, other = pixels(shards, k), pixels(folder, k)
        if isinstance(other, np.ndarray):
            assert isinstance(picture, np.ndarray) and picture.dtype == other.dtype
        assert np.array_equal(picture, other)
        ours, theirs = shards.columns(k), folder.columns(k)
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(np.asarray(ours[name]), np.asarray(theirs[name])) for name in theirs)
        map_, drawn = shards.map(k), folder.map(k)
        assert (map_ is None) == (drawn is None) and (drawn is None or np.array_equal(map_, drawn))


@pytest.mark.parametrize("given", MADE)
def test_shards_are_the_folder(given: Given, tmp_path: Path) -> None:
    folder, _ = opened(given, given.make(tmp_path))
    assert isinstance(folder, Folder)
    shards = written(folder, tmp_path / "out")
    check_equal(shards, folder)
    for fraction in (0.0, 0.05, 0.4, 0.99):
        for ours, theirs in zip(split(shards, fraction), split(folder, fraction), strict=True):
            assert [ours.name(k) for k in range(len(ours))] == [theirs.name(k) for k in range(len(theirs))]
    training = [split(data, 0.3)[0] for data in (shards, folder)]
    transform = Transform(size=(8, 8), channels=3, crop="random", flip=True)
    ours, theirs = (Loader(data, transform, batch=3, seed=5, workers=0) for data in training)
    for step in (0, 1, 7):
        batch, other = ours.at(step), theirs.at(step)
        assert torch.equal(batch.x, other.x) and torch.equal(batch.position, other.position)
        assert batch.columns.keys() == other.columns.keys()
        assert all(torch.equal(batch.columns[name], other.columns[name]) for name in other.columns)


def test_a_training_is_the_same(photos: Path, tmp_path: Path, carrara, monkeypatch: pytest.MonkeyPatch) -> None:
    from carrara.train import read_log
    from tiny import TINY

    monkeypatch.chdir(tmp_path)
    for k, path in enumerate(sorted(photos.rglob("*.png"))):
        path.with_suffix(".txt").write_text(f"number {k}\nanother one")
    assert carrara("data", "shard", photos, "shards", "--examples", "5", "--workers", "1")[0] == 0
    options = ("--preset", "pixel", *TINY, "checkpoint.every=4", "data.held_out=0.2")
    losses, held = [], []
    for name in ("photos", "shards"):
        code, said = carrara("train", name, *options, "train.steps=4")
        assert code == 0, said
        losses.append([line["loss"] for line in read_log(Path("runs", name, "log.jsonl"))])
        held.append(read_log(Path("runs", name, "held_out.jsonl")))
    assert len(losses[0]) == 4 and losses[0] == losses[1]
    assert Path("runs/photos/pictures").is_dir() and not Path("runs/shards/pictures").exists(), "its index lists them"
    assert held[0] == held[1]
    for name in ("photos", "shards"):
        code, said = carrara("train", name, *options, "train.steps=6")
        assert code == 0 and "going on from step 4" in said, said
    resumed = [[line["loss"] for line in read_log(Path("runs", name, "log.jsonl"))] for name in ("photos", "shards")]
    assert len(resumed[0]) == 6 and resumed[0] == resumed[1]


def test_the_fingerprint_is_of_what_is_in_them(photos: Path, tmp_path: Path) -> None:
    one, other = written(photos, tmp_path / "a"), written(photos, tmp_path / "b", Sharding(most_examples=7, workers=1))
    assert fingerprint(one) == fingerprint(other), "not of how they lie"
    part = split(one, 0.3)[0]
    assert fingerprint(part) == fingerprint(split(other, 0.3)[0]) != fingerprint(one)
    (photos / "red" / "0.png").with_suffix(".txt").write_text("a caption")
    assert fingerprint(written(photos, tmp_path / "c")) != fingerprint(one)


def test_others_read_them(photos: Path, tmp_path: Path) -> None:
    """As WebDataset groups files: by their names up to the first dot, in order."""
    (photos / "red" / "0.png").with_suffix(".txt").write_text("a red one\nthe first")
    shards = written(photos, tmp_path / "out")
    keys = list[str]()
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                assert info.isreg() and info.mtime == 0
                keys.append(info.name)
    assert len({key.partition(".")[0] for key in keys}) == len(shards)
    assert keys == sorted(keys, key=lambda key: key.partition(".")[0])
    pytest.importorskip("webdataset", reason="pip install webdataset")
    tars = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    read = json.loads(subprocess.run([sys.executable, "-c", READER, *tars], capture_output=True, check=True).stdout)
    assert len(read) == len(shards)
    for k, (shape, pixels_, number, about, texts) in enumerate(read):
        assert (tuple(shape), bytes.fromhex(pixels_)) == (shards.pixels(k).shape, shards.pixels(k).tobytes())
        assert [shards.info.classes[number]] == about["labels"] and about["name"] == shards.name(k)
        assert texts.splitlines() == list(shards.captions(k))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_is_interrupted_goes_on(photos: Path, tmp_path: Path, workers: int) -> None:
    folder, settings = Folder(photos), Sharding(most_examples=3, workers=workers)
    whole = tmp_path / "whole"
    seen = list(shard(folder, whole, settings))
    assert [one.done for one in seen] == sorted(one.done for one in seen) and seen[-1].done == seen[-1].total
    out = tmp_path / "out"
    for one in shard(folder, out, settings):
        if one.done > one.total / 3:
            break
    with pytest.raises(UserError, match="are not complete"):
        Shards(str(out))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.npz")}
    assert before
    (out / ".shard-000005.tar.999999999.tmp").write_bytes(b"half")
    again = list(shard(folder, out, settings))
    assert again[0].before > 0
    assert {path: path.stat().st_mtime_ns for path in before} == before, "finished shards are not written again"
    assert all_bytes(out) == all_bytes(whole)
    assert [one.done for one in shard(folder, out, settings)] == [again[-1].total]


@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for k in range(300):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "photos" / f"{k}.png")
    command = [sys.executable, "-m", "carrara", "data", "shard", "photos", "out", "--examples", "4", "--workers", "2"]
    written(tmp_path / "photos", tmp_path / "whole", Sharding(most_examples=4, workers=1))
    kills = 0
    for least in (1, 8, 20, 40):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and len(list((tmp_path / "out").glob("*.npz"))) < least:
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2
    assert subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 0
    assert all_bytes(tmp_path / "out") == all_bytes(tmp_path / "whole")


def test_nothing_of_others_is_overwritten(photos: Path, tmp_path: Path) -> None:
    folder, out = Folder(photos), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        list(shard(folder, out, FEW))
    assert all_bytes(out) == {"notes.txt": b"mine"}
    with pytest.raises(UserError, match="is a file"):
        list(shard(folder, out / "notes.txt", FEW))
    with pytest.raises(UserError, match="among the pictures"):
        list(shard(folder, photos / "shards", FEW))
    own = tmp_path / "own"
    written(photos, own)
    before = all_bytes(own)
    (photos / "red" / "8.png").write_bytes((photos / "red" / "7.png").read_bytes() + b"\0")
    with pytest.raises(UserError, match="has shards of other pictures"):
        list(shard(Folder(photos), own, FEW))
    with pytest.raises(UserError, match="has shards of other pictures"):
        list(shard(folder, own, Sharding(most_examples=4, workers=1)))
    assert all_bytes(own) == before


def test_a_picture_that_changes_is_no_shard(photos: Path, tmp_path: Path) -> None:
    folder = Folder(photos)
    (photos / "red" / "7.png").write_bytes((photos / "red" / "6.png").read_bytes())
    with pytest.raises(UserError, match=r"7\.png' is not what it was"):
        list(shard(folder, tmp_path / "out", FEW))


def test_a_source_is_known_by_its_place(photos: Path, tmp_path: Path) -> None:
    written(photos, tmp_path / "out")
    assert isinstance(as_source(tmp_path / "out"), ShardsSource)
    assert isinstance(as_source("s3://bucket/shards"), ShardsSource)
    assert as_source("s3://bucket/shards").absolute().name == "shards"
    assert not isinstance(as_source(photos), ShardsSource)
    (tmp_path / "out" / INDEX).unlink()
    with pytest.raises(UserError, match="are not complete"):
        as_source(tmp_path / "out").open()


def test_a_lost_shard_is_named_once(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shards = written(photos, tmp_path / "out", Sharding(most_examples=2, workers=1))
    transform = Transform(size=(8, 8), channels=3)
    whole = [Loader(shards, transform, batch=4, seed=1, workers=0).at(step) for step in range(12)]
    order = Loader(shards, transform, batch=4, seed=1, workers=0)
    names = [order.names(range(4 * step, 4 * step + 4)) for step in range(12)]
    (tmp_path / "out" / "shard-000003.tar").unlink()
    gone = {shards.name(k) for k in range(len(shards)) if shards.shard(k) == 3}

    def batches() -> list[torch.Tensor]:
        loader = Loader(Shards(str(tmp_path / "out")), transform, batch=4, seed=1, workers=0)
        return [loader.at(step).x for step in range(12)]

    found, again = batches(), batches()
    said = [record.getMessage() for record in caplog.records if "shard-000003.tar" in record.getMessage()]
    assert len(said) == 1 and "the others are trained on, and take the places of its 2 examples" in said[0]
    assert len(caplog.records) == 1
    assert all(torch.equal(x, y) for x, y in zip(found, again, strict=True)), "the same ones each time"
    for step in range(12):
        for j, name in enumerate(names[step]):
            same = torch.equal(found[step][j], whole[step].x[j])
            assert same != (name in gone), "no other position shows anything else"


def test_not_one_example_takes_the_places_of_a_shard(photos: Path, tmp_path: Path) -> None:
    written(photos, tmp_path / "out", Sharding(most_examples=8, workers=1))
    (tmp_path / "out" / "shard-000000.tar").unlink()
    shards = Shards(str(tmp_path / "out"))
    loader = Loader(shards, Transform(size=(8, 8), channels=3), batch=16, seed=1, workers=0)
    assert len({row.numpy().tobytes() for row in loader.at(0).x}) > 4
    (tmp_path / "out" / "shard-000001.tar").unlink()
    nothing = Loader(Shards(str(tmp_path / "out")), Transform(size=(8, 8), channels=3), batch=2, seed=1, workers=0)
    with pytest.raises(UserError, match="none of the 16 examples can be used"):
        nothing.at(0)


def test_what_is_damaged_in_a_shard_is_one_example(photos: Path, tmp_path: Path) -> None:
    shards = written(photos, tmp_path / "out")
    path = tmp_path / "out" / "shard-000001.tar"
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(bytes(content))
    reopened = Shards(str(tmp_path / "out"))
    bad = []
    for k in range(len(shards)):
        try:
            reopened.pixels(k)
        except ValueError as error:
            assert "it is not what was written" in str(error)
            bad.append(k)
    assert len(bad) == 1 and shards.shard(bad[0]) == 1


def test_the_work_of_one_process_needs_no_torch() -> None:
    code = "import sys, carrara.files.shards; assert not {'torch', 'pydantic'} & sys.modules.keys()"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_settings() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        Sharding(most_examples=0)
    assert shard_writing.Sharding().most_bytes == 256_000_000
    assert shard_files.PICTURE < 1 << 32, "the bytes of a picture fit into a column"


def rewritten(out: Path, **columns: object) -> None:
    """Writes other values into the index, as somebody may who sends one, and its new hash."""
    from carrara.files.columns import open_columns, write_columns

    kinds = layout.EXAMPLES | layout.SHARDS
    rows = {name: np.array(values) for name, values in open_columns(out / layout.ROWS, kinds).items()}
    for name, value in columns.items():
        rows[name][...] = value
    with (out / layout.ROWS).open("wb") as file:
        write_columns(file, kinds, {name: len(v) for name, v in rows.items()}, {n: [v] for n, v in rows.items()})


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"offset": 1 << 62}, "lost"),
        ({"offset": -600}, "cannot be read"),
        ({"bytes": (1 << 32) - 1}, "at most"),
        ({"bytes": 0}, "not what was written"),
        ({"line": (1 << 32) - 1}, "line"),
        ({"label": 1 << 30}, ""),
        ({"label": -7}, ""),
    ],
)
def test_an_index_of_a_strangers(
    photos: Path, tmp_path: Path, columns: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "WAITS", [0.0, 0.0, 0.0])
    shards = written(photos, tmp_path / "out")
    rewritten(tmp_path / "out", **columns)
    strange = Shards(str(tmp_path / "out"))
    said = [pixels(strange, k) for k in range(len(shards))]
    for k in range(len(shards)):
        assert strange.name(k)
        assert strange.native(k) == shards.native(k)
        try:
            assert strange.columns(k)["label"].sum() in (0, 1)
            assert isinstance(strange.captions(k), tuple)
        except Unreadable:
            assert "line" in columns
    if "label" not in columns and "line" not in columns:
        assert all(isinstance(one, str) for one in said), words


@pytest.mark.parametrize("first", [1, -1, 1 << 40])
def test_shards_that_do_not_follow_each_other(photos: Path, tmp_path: Path, first: int) -> None:
    written(photos, tmp_path / "out")
    rewritten(tmp_path / "out", first=first)
    with pytest.raises(UserError, match="do not follow each other"):
        Shards(str(tmp_path / "out"))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"name": 3}', b'{"name": "a", "captions": [1]}', b"\xff\xfe"])
def test_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(Malformed):
        layout.line_in(line)


def test_names_with_anything_in_them() -> None:
    for name in ("a.png", "é 寿司.png", 'quoted ".png', "back\\slash.png", "tab\t.png"):
        text = json.dumps({"name": name, "captions": ["a"]}, ensure_ascii=False).encode()
        assert layout.name_in(text) == layout.line_in(text).name == name


def test_captions_that_cannot_be_read_are_passed_over(photos: Path, tmp_path: Path) -> None:
    from carrara.data import CaptionTable, captions_of

    for path in photos.rglob("*.png"):
        path.with_suffix(".txt").write_text(f"picture {path.stem}")
    shards = written(photos, tmp_path / "out")
    (tmp_path / "out" / "shard-000001.jsonl").unlink()
    said = [captions_of(shards, k) for k in range(len(shards))]
    assert said[3:6] == [()] * 3 and all(said[:3]) and all(said[6:])
    read = list[str]()
    table = CaptionTable(lambda texts: [read.append(text) or np.zeros(1, np.int64) for text in texts])
    list(table.complete(shards))
    assert sorted(read) == sorted({text for texts in said for text in texts})


def test_a_bad_file_comes_back_whole_from_other_processes() -> None:
    import pickle

    from carrara.files.reading import BadFile, TooLarge

    for kind in (BadFile, TooLarge):
        error = pickle.loads(pickle.dumps(kind("a.png", "is a pipe", "leave it out")))
        assert type(error) is kind and error.why == "is a pipe"
        assert error.message == "'a.png' is a pipe: leave it out"
