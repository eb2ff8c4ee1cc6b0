"""What is known of all examples at once says the same as asking each."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from carrara.data import DataInfo, Dataset, Loader, Subset, order, split
from carrara.data.base import Row
from carrara.data.ledger import HELD_OUT, Ledger
from carrara.seeds import integer, permutation, permutation_part


class Numbers(Dataset):
    """Points with keys of their own, some of which are equal.

    Args:
        at_once: whether there is a ledger.
    """

    def __init__(self, keys: NDArray[np.uint8], held: NDArray[np.int8], *, at_once: bool) -> None:
        self._keys, self._held, self._at_once = keys, held, at_once
        self.info = DataInfo(name="numbers", dimension=1)

    def __len__(self) -> int:
        return len(self._keys)

    def pixels(self, index: int) -> NDArray[np.float32]:
        return np.array([index], np.float32)

    def key(self, index: int) -> str:
        return self._keys[index].tobytes().hex()

    def held(self, index: int) -> bool | None:
        return None if self._held[index] < 0 else bool(self._held[index])

    def columns(self, index: int) -> Mapping[str, Row]:
        return {}

    @property
    def ledger(self) -> Ledger | None:
        if not self._at_once:
            return None
        places = np.array([integer(HELD_OUT, self.key(k)) for k in range(len(self))], np.int64)
        return Ledger(places=places, held=self._held, contents=self._keys, digests=self._keys)


def both(count: int, seed: int, said: float) -> tuple[Numbers, Numbers]:
    rng = np.random.default_rng(seed)
    keys = rng.integers(0, 256, (count, 16), np.uint8)
    if count > 4:
        keys[rng.integers(0, count, count // 4)] = keys[rng.integers(0, count, count // 4)]
        keys[1, 8:] = keys[0, 8:] ^ 1
        keys[1, :8] = keys[0, :8]  # alike in the first word alone
    held = np.where(rng.random(count) < said, rng.integers(0, 2, count), -1).astype(np.int8)
    return Numbers(keys, held, at_once=True), Numbers(keys, held, at_once=False)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50, 400])
@pytest.mark.parametrize("said", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("rows", [7, 1 << 22])
def test_a_split_is_the_same(count: int, said: float, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.data.ledger._AT_ONCE", rows)
    for seed in range(6):
        ours, theirs = both(count, seed, said)
        for fraction in (0.0, 1e-9, 0.05, 0.5, 0.999):
            for part, other in zip(split(ours, fraction), split(theirs, fraction), strict=True):
                assert len(part) == len(other)
                assert [part.at(k) for k in range(len(part))] == [other.at(k) for k in range(len(other))]
                assert [part.key(k) for k in range(len(part))] == [other.key(k) for k in range(len(other))]
                ledger = part.ledger
                assert ledger is not None and len(ledger.places) == len(part)
                assert [row.tobytes().hex() for row in ledger.contents] == [part.key(k) for k in range(len(part))]


def test_a_subset_has_a_ledger_of_its_own() -> None:
    ours, _ = both(50, 0, 0.5)
    part = Subset(ours, [3, 1, 4, 1, 5])
    assert part.ledger is not None
    assert [row.tobytes().hex() for row in part.ledger.contents] == [part.key(k) for k in range(5)]


@pytest.mark.parametrize("count", [1, 5, 1000])
@pytest.mark.parametrize("parts", [1, 2, 7, 64])
def test_parts_of_a_shuffle_are_the_shuffle(count: int, parts: int) -> None:
    found = list[torch.Tensor]()
    for part in range(parts):
        begin, numbers = permutation_part(count, part, parts, 3, "x")
        assert begin == sum(map(len, found))
        found.append(numbers)
    assert torch.equal(torch.cat(found), permutation(count, 3, "x"))


@pytest.mark.parametrize("window", [1, 3, 10, 1 << 20])
@pytest.mark.parametrize("batch", [1, 4, 23])
def test_windows_change_nothing(window: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = both(97, 0, 0.0)
    steps = [0, 1, 5, 23, 24, 25, 1000]
    whole = [Loader(data, None, batch, 2, rank, 3, workers=0).at(step).x for rank in range(3) for step in steps]
    monkeypatch.setattr(order, "WINDOW", window)
    order._window.cache_clear()
    parts = [Loader(data, None, batch, 2, rank, 3, workers=0).at(step).x for rank in range(3) for step in steps]
    order._window.cache_clear()
    assert all(torch.equal(x, y) for x, y in zip(whole, parts, strict=True))
