from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from carrara.data import Captioned, CaptionTable, DataInfo, Dataset, Loader, Subset, Transform, Unreadable, batch_of
from carrara.data.buckets import bucket_of_each, bucket_sizes, nearest_size
from carrara.data.latents import CachedLatents, cache_key, seal, write
from carrara.pixels import to_tensor

SIZES = ((8, 8), (4, 16), (16, 4))


class Shaped(Dataset):
    """Pictures of one colour each, 3 k + 1, of given shapes; some cannot be read."""

    def __init__(self, shapes: Sequence[tuple[int, int]], bad: Sequence[int] = ()) -> None:
        self.info, self._shapes, self._bad = DataInfo(name="shaped", channels=1), shapes, bad

    def __len__(self) -> int:
        return len(self._shapes)

    def key(self, index: int) -> str:
        return str(index // 2)

    def native(self, index: int) -> tuple[int, int]:
        return self._shapes[index]

    def pixels(self, index: int) -> np.ndarray:
        if index in self._bad:
            raise Unreadable("torn")
        return np.full((*self._shapes[index], 1), 3 * index + 1, np.uint8)


def mixed(count: int = 30, bad: Sequence[int] = ()) -> Shaped:
    return Shaped([((10, 11), (9, 30), (20, 6))[k % 3] for k in range(count)], bad)


def numbers(x: torch.Tensor) -> list[int]:
    """Which pictures a batch shows."""
    return [round((float(v) + 1) * 127.5 - 1) // 3 for v in x[:, 0, 0, 0]]


@pytest.mark.parametrize(
    ("native", "size"), [((100, 100), (8, 8)), ((70, 100), (8, 8)), ((10, 30), (4, 16)), ((300, 101), (16, 4))]
)
def test_a_picture_takes_the_shape_most_like_its_own(native: tuple[int, int], size: tuple[int, int]) -> None:
    assert nearest_size(native, SIZES) == size


def test_sizes_have_the_area_and_the_unit_and_enough_pictures() -> None:
    rng = np.random.default_rng(0)
    natives = [(int(a), int(b)) for a, b in rng.integers(200, 1200, (2000, 2))]
    counts = bucket_sizes(natives, (512, 512), 64, 32)
    assert len(counts) > 5 and sum(counts.values()) == 2000 and min(counts.values()) >= 32
    assert all(height % 64 == width % 64 == 0 and 0.7 < height * width / 512**2 <= 1 for height, width in counts)
    assert counts == Counter(nearest_size(native, sorted(counts)) for native in natives)


def test_pictures_of_one_shape_have_one_bucket_even_one_that_the_unit_does_not_divide() -> None:
    assert bucket_sizes([(100, 100)] * 9, (28, 28), 8, 64) == {(28, 28): 9}


def test_a_rare_shape_joins_the_next() -> None:
    natives = [(64, 64)] * 100 + [(32, 128)] * 3
    assert bucket_sizes(natives, (64, 64), 16, 8) == {(64, 64): 103}
    assert bucket_sizes(natives, (64, 64), 16, 3) == {(64, 64): 100, (32, 128): 3}


@pytest.mark.parametrize("turns", [False, True], ids=["all", "in turns"])
@pytest.mark.parametrize("crop", ["center", "random"])
def test_batches_are_of_one_size_and_of_pictures_whose_shape_is_most_like_it(turns: bool, crop: str) -> None:
    data, transform = mixed(), Transform(size=(8, 8), channels=1, buckets=SIZES, crop=crop)
    loader = Loader(data, transform, 4, 0, turns=turns, buckets=bucket_of_each(data, SIZES))
    seen = Counter[tuple[int, ...]]()
    for step in range(40):
        x = loader.at(step).x
        seen[tuple(x.shape)] += 1
        assert {nearest_size(data.native(k), SIZES) for k in numbers(x)} == {tuple(x.shape[2:])}
    assert set(seen) == {(4, 1, *size) for size in SIZES}


def test_what_cannot_be_read_is_replaced_within_its_bucket() -> None:
    data = mixed(bad=(4, 7, 28))
    loader = Loader(data, Transform(size=(8, 8), channels=1, buckets=SIZES), 5, 0, buckets=bucket_of_each(data, SIZES))
    shown = {k for step in range(30) for k in numbers(loader.at(step).x)}
    assert shown == set(range(30)) - {4, 7, 28}


def test_a_cache_holds_latents_of_each_bucket(tmp_path) -> None:
    data, transform = mixed(bad=(4,)), Transform(size=(8, 8), channels=1, buckets=SIZES, flip=True)

    def encode(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(x, 2)

    list(write(tmp_path, "k", data, transform, encode, batch=8))
    seal(tmp_path, "k", data)
    cache, buckets = CachedLatents(tmp_path, "k", data), bucket_of_each(data, SIZES)
    pixels = Loader(data, transform, 4, 0, buckets=buckets)
    raw = Loader(cache, cache.transform, 4, 0, buckets=bucket_of_each(cache, SIZES))
    for step in range(12):
        a, b = pixels.at(step), raw.at(step)
        torch.testing.assert_close(b.x, encode(a.x), rtol=2**-10, atol=1e-6)
    assert cache_key("stage", transform, data) != cache_key("stage", Transform(size=(8, 8), channels=1), data)


def test_evaluation_is_of_one_size() -> None:
    batch = batch_of(mixed(), Transform(size=(8, 8), channels=1, buckets=SIZES), range(6))
    assert batch.x.shape == (6, 1, 8, 8) and numbers(batch.x) == list(range(6))


def test_wrappers_know_the_pictures_own_size() -> None:
    data, table = mixed(), CaptionTable(lambda texts: [np.zeros(1)] * len(texts))
    assert Captioned(Subset(data, [5, 1]), table).native(0) == data.native(5)
    plain = to_tensor(data.pixels(3))
    assert data.native(3) == tuple(plain.shape[1:]) == Dataset.native(data, 3)
