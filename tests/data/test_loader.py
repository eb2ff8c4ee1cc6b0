import logging
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_files import truncated_jpeg, write

from carrara.data import (
    Arrays,
    DataInfo,
    Dataset,
    Folder,
    Loader,
    Transform,
    Unreadable,
    batch_of,
    fingerprint,
    spread,
)
from carrara.data.base import Choices, View
from carrara.errors import UserError


def numbered(count: int) -> Arrays:
    info = DataInfo(name="numbers", dimension=1, classes=("even", "odd"))
    return Arrays(info, np.arange(count, dtype=np.float32)[:, None], labels=[k % 2 for k in range(count)])


def order(loader: Loader, steps: int, start: int = 0) -> list[int]:
    return [int(v) for batch in islice(loader.batches(start), steps) for v in batch.x]


def test_each_epoch_shows_every_example_once_in_another_order() -> None:
    shown = order(Loader(numbered(10), None, 4, seed=0), 10)
    epochs = [shown[k : k + 10] for k in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_depends_on_the_seed_alone() -> None:
    assert order(Loader(numbered(50), None, 8, seed=1), 9) == order(Loader(numbered(50), None, 8, seed=1), 9)
    assert order(Loader(numbered(50), None, 8, seed=1), 9) != order(Loader(numbered(50), None, 8, seed=2), 9)
    assert order(Loader(numbered(50), None, 8, seed=1), 9) == order(Loader(numbered(50), None, 12, seed=1), 6)


def test_ranks_share_the_batch_of_one() -> None:
    alone = Loader(numbered(10), None, 6, seed=3)
    ranks = [Loader(numbered(10), None, 3, seed=3, rank=r, world=2) for r in range(2)]
    for step in range(7):
        whole, parts = alone.at(step), [rank.at(step) for rank in ranks]
        assert torch.equal(whole.x, torch.cat([part.x for part in parts]))
        assert torch.equal(whole.position, torch.cat([part.position for part in parts]))
        assert torch.equal(whole.columns["label"], torch.cat([part.columns["label"] for part in parts]))


def test_starting_later_equals_skipping() -> None:
    loader = Loader(numbered(10), None, 3, seed=0)
    assert order(loader, 12)[15:] == order(loader, 7, start=5)


def test_a_batch_larger_than_the_data() -> None:
    batch = Loader(numbered(3), None, 8, seed=0).at(1)
    assert len(batch) == 8 and batch.position.tolist() == list(range(8, 16))
    assert batch.columns["label"].shape == (8, 2)
    assert torch.equal(batch.columns["label"][:, 1], batch.x[:, 0] % 2)


def test_pictures_are_the_same_with_and_without_memory(tmp_path) -> None:
    folder = Folder(write(tmp_path, *[f"{k % 2}/{k}.png" for k in range(7)]))
    transform = Transform(size=(8, 8), flip=True, crop="random")
    kept, read = (Loader(folder, transform, 4, seed=0, memory=memory) for memory in (1 << 20, 0))
    for a, b in zip(islice(kept.batches(), 8), islice(read.batches(), 8), strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.columns["label"], b.columns["label"])
    assert a.x.shape == (4, 3, 8, 8) and a.x.abs().max() <= 1


class Counting(Dataset):
    """Counts how often each example is read."""

    info = DataInfo(name="counting", dimension=1)

    def __init__(self) -> None:
        self.reads: list[int] = []

    def __len__(self) -> int:
        return 8

    def key(self, index: int) -> str:
        return str(index)

    def pixels(self, index: int) -> np.ndarray:
        self.reads.append(index)
        return np.full(1, index, np.float32)


def test_memory_holds_what_fits_and_no_more() -> None:
    dataset = Counting()
    loader = Loader(dataset, None, 8, seed=0, memory=5 * 4)
    for step in range(3):
        loader.at(step)
    assert sorted(dataset.reads.count(k) for k in range(8)) == [1] * 5 + [3] * 3


class Broken(Counting):
    def pixels(self, index: int) -> np.ndarray:
        if index in (3, 4, 7):
            raise Unreadable("torn")
        return super().pixels(index)


def test_what_cannot_be_read_is_replaced_by_the_next_with_one_warning(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        batches = [Loader(Broken(), None, 8, seed=0).at(step) for step in (0, 0, 5)]
        loader = Loader(Broken(), None, 4, seed=0, memory=0)
        shown = [int(v) for step in range(6) for v in loader.at(step).x]
    assert torch.equal(batches[0].x, batches[1].x)
    assert all(sorted(shown[k : k + 8]) == [0, 0, 1, 2, 5, 5, 5, 6] for k in (0, 8, 16))
    assert len(caplog.messages) == 4 * 3
    assert "'counting 3' cannot be used (torn): 'counting 5' takes its place" in caplog.messages


def test_a_truncated_picture_does_not_end_the_training(tmp_path, caplog) -> None:
    write(tmp_path, "a.png", "c.png")
    (tmp_path / "b.jpg").write_bytes(truncated_jpeg())
    with caplog.at_level(logging.WARNING):
        batch = batch_of(Folder(tmp_path), Transform(size=(12, 16)), range(3))
    assert torch.equal(batch.x[1], batch.x[2]) and not torch.equal(batch.x[0], batch.x[1])
    assert caplog.messages == ["'b.jpg' cannot be used (the file is truncated): 'c.png' takes its place"]


class Failing(Counting):
    def pixels(self, index: int) -> np.ndarray:
        raise Unreadable("torn") if self.info.dimension else RuntimeError("a bug")


def test_errors_in_the_threads_reach_the_caller() -> None:
    with pytest.raises(UserError, match=r"none of the 8 examples can be used: .*torn"):
        next(Loader(Failing(), None, 2, seed=0).batches())
    buggy = Failing()
    buggy.info = DataInfo(name="buggy")
    with pytest.raises(RuntimeError, match="a bug"):
        next(Loader(buggy, None, 2, seed=0).batches())


def test_closing_ends_the_threads() -> None:
    batches = Loader(numbered(10), None, 2, seed=0).batches()
    next(batches)
    assert any("carrara-loader" in thread.name for thread in threading.enumerate())
    batches.close()
    assert not any("carrara-loader" in thread.name for thread in threading.enumerate())


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(UserError, match="'numbers' is empty"):
        Loader(numbered(0), None, 2, seed=0)


def test_held_out_batches_have_nothing_random(tmp_path) -> None:
    folder = Folder(write(tmp_path, *[f"{k}.png" for k in range(6)]))
    random = Transform(size=(8, 8), flip=True, crop="random")
    batch = batch_of(folder, random, [5, 0, 2])
    assert batch.position.tolist() == [5, 0, 2]
    assert torch.equal(batch.x, batch_of(folder, Transform(size=(8, 8)), [5, 0, 2]).x)


def test_examples_to_look_at_are_spread_over_the_data() -> None:
    assert spread(4, 12) == [0, 3, 6, 9]
    assert spread(9, 3) == [0, 1, 2]
    assert spread(3, 10) == [0, 3, 6]
    assert spread(2, 0) == []


def test_examples_of_one_content_take_turns() -> None:
    info = DataInfo(name="turns", dimension=1)
    points = np.arange(6, dtype=np.float32)[:, None]
    data = Arrays(info, points, keys=["a", "a", "a", "b", "c", "a"])
    loader = Loader(data, None, batch=3, seed=0, turns=True)
    epochs = [loader.at(step).x[:, 0].int().tolist() for step in range(200)]
    assert all(len({(0 if k in (1, 2, 5) else k) for k in epoch}) == 3 for epoch in epochs)
    shown = [k for epoch in epochs for k in epoch]
    assert [shown.count(k) for k in (3, 4)] == [200, 200]
    assert min(shown.count(k) for k in (0, 1, 2, 5)) > 30
    again = Loader(data, None, batch=3, seed=0, turns=True)
    assert again.at(77).x.equal(loader.at(77).x)
    halves = [Loader(data, None, batch=3, seed=0, rank=rank, world=2, turns=True) for rank in (0, 1)]
    whole = Loader(data, None, batch=6, seed=0, turns=True)
    assert whole.at(5).x.equal(torch.cat([half.at(5).x for half in halves]))


TEAMS = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import torch
from carrara.data import Arrays, DataInfo, Loader, Transform

def others():
    return len(os.listdir("/proc/self/task")) - threading.active_count()

torch.set_num_threads(3)
torch.zeros(100_000).exp()
alone = others()
pictures = np.zeros((40_000, 4, 4, 3), np.uint8)
batches = Loader(Arrays(DataInfo(name="x"), pictures), Transform(size=(4, 4), flip=True), 1000, seed=0).batches()
for _ in range(60):
    next(batches)
loading = others()
with ThreadPoolExecutor(1) as pool:
    pool.submit(torch.zeros(100_000).exp).result()
    print(loading - alone, others() - alone)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted by Linux")
def test_the_loader_s_threads_have_no_threads_of_their_own() -> None:
    """With them there are more than processors, and OpenMP's send each other to sleep after each operation."""
    done = subprocess.run([sys.executable, "-c", TEAMS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "2"], "the loader has none; another thread that works on much has two"


class Said(View):
    """Another data set, of each example of which one of three things is said."""

    def columns(self, index: int) -> dict[str, Choices]:
        return {"label": Choices(tuple(np.eye(3, dtype=np.float32)))}


def test_one_of_several_choices_is_said_by_its_position() -> None:
    info = DataInfo(name="said", channels=1, native=(4, 4))
    data = Said(Arrays(info, np.zeros((6, 4, 4, 1), np.uint8)))
    loader = Loader(data, None, batch=6, seed=0)
    drawn = torch.cat([loader.at(step).columns["label"] for step in range(20)])
    assert drawn.sum(1).eq(1).all() and (drawn.mean(0) > 0.2).all()
    assert torch.equal(loader.at(3).columns["label"], loader.at(3).columns["label"])
    assert torch.equal(batch_of(data, None, [4, 5]).columns["label"], torch.eye(3)[[0, 0]])
    assert len(fingerprint(data)) == 16
