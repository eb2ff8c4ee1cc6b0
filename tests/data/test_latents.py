import json
import logging
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from carrara.autoencoder import KlConfig
from carrara.data import Arrays, DataInfo, Dataset, Loader, Subset, Transform, Unreadable, batch_of, latents
from carrara.data.latents import CachedLatents, cache_key, cacheable, has_cache, seal, write
from carrara.errors import UserError

PLAIN, MIRRORING = Transform(size=(8, 8)), Transform(size=(8, 8), flip=True)
HALF = 2.0**-10
"""A float16 differs from the number that it stands for by no more than this part of it."""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "SHARD", 4)


def pictures(count: int = 11) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 10, 9, 3), np.uint8)
    return Arrays(DataInfo(name="noise", channels=3, classes=("even", "odd")), pixels, [k % 2 for k in range(count)])


def encoder() -> Callable[[Tensor], Tensor]:
    """Not symmetric, so that a mirrored picture's latents are not the picture's latents, mirrored."""
    weights = torch.linspace(-1, 1, 6 * 3 * 4).reshape(6, 3, 2, 2)
    return lambda x: nn.functional.conv2d(x, weights, stride=2)


def cached(folder: Path, data: Dataset, transform: Transform, world: int = 1, batch: int = 3) -> CachedLatents:
    key = cache_key("stage", transform, data)
    for rank in range(world):
        list(write(folder, key, data, transform, encoder(), batch=batch, rank=rank, world=world))
    seal(folder, key, data)
    return CachedLatents(folder, key, data)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file by name: which one it is, and what is in it."""
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("transform", [PLAIN, MIRRORING], ids=["as they are", "mirrored"])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_loader_gives_the_latents_of_what_it_would_have_given(tmp_path, transform: Transform, world: int) -> None:
    data = pictures()
    cache = cached(tmp_path, data, transform, world)
    for rank in range(world):
        pixels = Loader(data, transform, 5, seed=1, rank=rank, world=world)
        raw = Loader(cache, cache.transform, 5, seed=1, rank=rank, world=world)
        for a, b in zip(islice(pixels.batches(7), 4), islice(raw.batches(7), 4), strict=True):
            torch.testing.assert_close(b.x, encoder()(a.x), rtol=HALF, atol=1e-6)
            assert b.x.dtype == torch.float32 and torch.equal(a.position, b.position)
            assert torch.equal(a.columns["label"], b.columns["label"])


def test_a_first_stage_encodes(tmp_path) -> None:
    stage = KlConfig(channels=4, multipliers=(1, 1), blocks=1, latent_channels=2).build((3, 8, 8)).eval()
    data = pictures(5)
    list(write(tmp_path, "k", data, MIRRORING, stage.encode_raw, batch=2))
    seal(tmp_path, "k", data)
    cache = CachedLatents(tmp_path, "k", data)
    assert cache.pixels(0).shape == (2, *stage.encode_raw(torch.zeros(1, 3, 8, 8)).shape[1:])
    a, b = Loader(data, MIRRORING, 5, seed=0).at(3), Loader(cache, cache.transform, 5, seed=0).at(3)
    torch.testing.assert_close(b.x, stage.encode_raw(a.x).detach(), rtol=HALF, atol=1e-4)


def test_evaluation_sees_nothing_mirrored(tmp_path) -> None:
    data = pictures()
    cache = cached(tmp_path, data, MIRRORING)
    expected = encoder()(batch_of(data, MIRRORING, range(11)).x)
    torch.testing.assert_close(batch_of(cache, cache.transform, range(11)).x, expected, rtol=HALF, atol=1e-6)


class Torn(Dataset):
    """Some pictures cannot be read: one alone, two shards' ends, and a whole shard."""

    def __init__(self, bad: tuple[int, ...] = (2, 7, *range(8, 12), 12, 17)) -> None:
        self._whole, self._bad = pictures(18), bad
        self.info = self._whole.info

    def __len__(self) -> int:
        return 18

    def key(self, index: int) -> str:
        return self._whole.key(index)

    def columns(self, index: int) -> dict[str, np.ndarray]:
        return dict(self._whole.columns(index))

    def pixels(self, index: int) -> np.ndarray:
        if index in self._bad:
            raise Unreadable("torn")
        return self._whole.pixels(index)


def test_what_cannot_be_read_is_replaced_as_without_a_cache(tmp_path, caplog) -> None:
    data = Torn()
    cache = cached(tmp_path, Torn(), MIRRORING)
    with caplog.at_level(logging.WARNING):
        a = Loader(data, MIRRORING, 18, seed=0).at(0)
        said = list(caplog.messages)
        caplog.clear()
        b = Loader(cache, cache.transform, 18, seed=0).at(0)
    torch.testing.assert_close(b.x, encoder()(a.x), rtol=HALF, atol=1e-6)
    assert torch.equal(a.columns["label"], b.columns["label"])
    assert caplog.messages == said and len(said) == 8


def test_data_that_nobody_can_read_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="none of the 18 examples can be used"):
        cached(tmp_path, Torn(tuple(range(18))), PLAIN)


@pytest.mark.parametrize("steps", range(8))
def test_an_interrupted_encoding_goes_on(tmp_path, steps: int) -> None:
    data, seen = pictures(), list[int]()

    def counting(x: Tensor) -> Tensor:
        seen.append(len(x))
        return encoder()(x)

    stopped = write(tmp_path, "k", data, PLAIN, counting, batch=2)
    list(islice(stopped, steps))
    stopped.close()
    kept, before = files(tmp_path), sum(seen)
    assert not has_cache(tmp_path, "k")
    done = list(write(tmp_path, "k", data, PLAIN, counting, batch=2))
    assert done == sorted(done) and done[-1] == 11
    assert sum(seen) - before == 11 - 4 * len(kept)
    seal(tmp_path, "k", data)
    assert has_cache(tmp_path, "k") and kept.items() <= files(tmp_path).items()


def test_no_half_written_file_has_a_shards_name(tmp_path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="make room on the disk"):
        cached(tmp_path, pictures(), PLAIN)
    assert not files(tmp_path)


def test_ranks_share_the_work(tmp_path) -> None:
    data, names = pictures(18), list[set[str]]()
    for rank in range(3):
        done = list(write(tmp_path, "k", data, PLAIN, encoder(), batch=4, rank=rank, world=3))
        names.append(set(files(tmp_path)))
        assert done[-1] == [8, 6, 4][rank]
    assert [len(after) for after in names] == [2, 4, 5]
    assert not has_cache(tmp_path, "k")


def test_a_missing_shard_is_encoded_again(tmp_path) -> None:
    data = pictures()
    cached(tmp_path, data, PLAIN)
    key, before = cache_key("stage", PLAIN, data), files(tmp_path)
    (tmp_path / key / "00001.safetensors").unlink()
    assert not has_cache(tmp_path, key)
    cached(tmp_path, data, PLAIN)
    assert {name: content for name, (_, content) in files(tmp_path).items()} == {
        name: content for name, (_, content) in before.items()
    }


def test_the_key_knows_all_that_the_latents_depend_on() -> None:
    data = pictures()
    keys = {
        cache_key("stage", PLAIN, data),
        cache_key("other", PLAIN, data),
        cache_key("stage", MIRRORING, data),
        cache_key("stage", PLAIN, Subset(data, range(10))),
        cache_key("stage", PLAIN, Subset(data, [1, 0, *range(2, 11)])),
    }
    assert len(keys) == 5 and all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


def test_a_cache_of_another_autoencoder_is_never_used(tmp_path) -> None:
    data = pictures()
    cached(tmp_path, data, PLAIN)
    mine, theirs = cache_key("other", PLAIN, data), cache_key("stage", PLAIN, data)
    assert not has_cache(tmp_path, mine)
    (tmp_path / theirs).rename(tmp_path / mine)
    before = files(tmp_path)
    for use in (
        lambda: has_cache(tmp_path, mine),
        lambda: CachedLatents(tmp_path, mine, data),
        lambda: list(write(tmp_path, mine, data, PLAIN, encoder(), batch=4)),
    ):
        with pytest.raises(UserError, match=rf"another autoencoder.*{theirs}, and not {mine}.*move"):
            use()
    assert files(tmp_path) == before


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [shorten, alter])
def test_a_damaged_shard_is_named(tmp_path, harm: Callable[[Path], None]) -> None:
    data = pictures()
    cached(tmp_path, data, PLAIN)
    key = cache_key("stage", PLAIN, data)
    harm(tmp_path / key / "00002.safetensors")
    with pytest.raises(UserError, match=rf"00002\.safetensors' .*delete the folder '{tmp_path / key}'"):
        CachedLatents(tmp_path, key, data)


def test_of_a_large_cache_only_the_sizes_are_verified(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(latents, "HASHED", 100)
    data = pictures()
    cached(tmp_path, data, PLAIN)
    key = cache_key("stage", PLAIN, data)
    alter(tmp_path / key / "00002.safetensors")
    CachedLatents(tmp_path, key, data)
    shorten(tmp_path / key / "00002.safetensors")
    with pytest.raises(UserError, match="bytes and not"):
        CachedLatents(tmp_path, key, data)


@pytest.mark.parametrize("content", ["", "[]", '{"key": 1}'])
def test_a_damaged_manifest_is_named(tmp_path, content: str) -> None:
    data = pictures()
    cached(tmp_path, data, PLAIN)
    key = cache_key("stage", PLAIN, data)
    (tmp_path / key / latents.MANIFEST).write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json' cannot be read: it .*; delete the folder"):
        has_cache(tmp_path, key)


def test_an_incomplete_cache_is_not_opened(tmp_path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json' is missing"):
        CachedLatents(tmp_path, "k", pictures())


def test_a_half_holds_what_it_can_and_a_float_the_rest(tmp_path) -> None:
    data = pictures(8)
    large = iter([1.0, 1e6])
    list(write(tmp_path, "k", data, PLAIN, lambda x: encoder()(x) * next(large), batch=4))
    seal(tmp_path, "k", data)
    shards = json.loads((tmp_path / "k" / latents.MANIFEST).read_text())["shards"]
    assert [shard["dtype"] for shard in shards.values()] == ["float16", "float32"]
    cache = CachedLatents(tmp_path, "k", data)
    expected = encoder()(batch_of(data, PLAIN, range(8)).x)
    torch.testing.assert_close(batch_of(cache, cache.transform, range(8)).x[4:], expected[4:] * 1e6, rtol=0, atol=1)


def test_latents_in_any_memory_order(tmp_path) -> None:
    def encode(x: Tensor) -> Tensor:
        return encoder()(x).contiguous(memory_format=torch.channels_last).bfloat16()

    data = pictures(4)
    list(write(tmp_path, "k", data, MIRRORING, encode, batch=4))
    seal(tmp_path, "k", data)
    cache = CachedLatents(tmp_path, "k", data)
    assert torch.equal(
        batch_of(cache, cache.transform, range(4)).x, encode(batch_of(data, PLAIN, range(4)).x).half().float()
    )


def test_latents_that_are_not_numbers_are_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="not finite"):
        list(write(tmp_path, "k", pictures(), PLAIN, lambda x: encoder()(x) / 0, batch=4))
    assert not files(tmp_path)


def test_more_shards_than_are_held_open(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(latents, "_OPEN", 2)
    data = pictures(30)
    cache = cached(tmp_path, data, PLAIN)
    a, b = Loader(data, PLAIN, 30, seed=0), Loader(cache, cache.transform, 30, seed=0, memory=0)
    for x, y in zip(islice(a.batches(), 5), islice(b.batches(), 5), strict=True):
        torch.testing.assert_close(y.x, encoder()(x.x), rtol=HALF, atol=1e-6)


def test_what_can_be_cached() -> None:
    assert cacheable(PLAIN) is None and cacheable(MIRRORING) is None
    assert "data.crop=random" in str(cacheable(Transform(size=(8, 8), crop="random")))
    assert cacheable(Transform(size=(8, 8), crop="random", fit="contain")) is None
    assert "points" in str(cacheable(None))
