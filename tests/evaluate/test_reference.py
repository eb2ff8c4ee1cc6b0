"""Reference features: computed once, kept, never stale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from known import Squares
from torch import Tensor

from carrara.data import Arrays, DataInfo, Dataset, Transform, batch_of
from carrara.errors import UserError
from carrara.evaluate import Features, Reference, moments

TRANSFORM = Transform(size=(8, 8), crop="random", flip=True)


def data(count: int = 50, seed: int = 0) -> Dataset:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 10, 9, 3), np.uint8)
    return Arrays(DataInfo(name="noise", channels=3, native=(10, 9)), pixels)


class Counting:
    """How many pictures were looked at."""

    def __init__(self, features: Features) -> None:
        self.pictures = 0
        features.register_forward_hook(self._count)

    def _count(self, _: object, pictures: tuple[Tensor], __: Tensor) -> None:
        self.pictures += len(pictures[0])


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.evaluate.reference.PICTURES_A_FILE", 20)


def test_features_are_those_of_the_pictures_and_come_from_the_disk_the_second_time(tmp_path: Path) -> None:
    features = Squares()
    counting = Counting(features)
    first = Reference(features, data(), TRANSFORM, tmp_path).vectors()
    assert counting.pictures == 50
    assert torch.equal(Reference(features, data(), TRANSFORM, tmp_path).vectors(), first)
    assert counting.pictures == 50
    assert first.dtype == torch.float32
    torch.testing.assert_close(first, features(batch_of(data(), TRANSFORM, range(50)).x), rtol=0, atol=1e-6)


def test_progress_counts_pictures(tmp_path: Path) -> None:
    reference = Reference(Squares(), data(), TRANSFORM, tmp_path)
    counts = list(reference.complete())
    assert counts[-1] == (50, 50)
    assert counts == sorted(counts)
    assert list(reference.complete()) == [(20, 50), (40, 50), (50, 50)]


def test_an_interruption_costs_one_file(tmp_path: Path) -> None:
    features = Squares()
    counting = Counting(features)
    for done, _ in Reference(features, data(), TRANSFORM, tmp_path).complete():
        if done > 40:
            break
    before = counting.pictures
    Reference(features, data(), TRANSFORM, tmp_path).vectors()
    assert counting.pictures == before + 10


def test_it_is_never_stale(tmp_path: Path) -> None:
    plain = Reference(Squares(), data(), TRANSFORM, tmp_path)
    others = [
        Reference(Squares(2.0), data(), TRANSFORM, tmp_path),  # other weights under the same name
        Reference(Squares(), data(seed=1), TRANSFORM, tmp_path),
        Reference(Squares(), data(49), TRANSFORM, tmp_path),
        Reference(Squares(), data(), replace(TRANSFORM, fit="stretch"), tmp_path),
        Reference(Squares(), data(), TRANSFORM, tmp_path, split="held out"),
    ]
    assert len({plain.key, *(other.key for other in others)}) == 6
    assert Reference(Squares(), data(), TRANSFORM.plain(), tmp_path).key == plain.key  # only chance differs
    plain.vectors()
    others[0].vectors()
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_and_short_files_are_computed_again(tmp_path: Path) -> None:
    features = Squares()
    reference = Reference(features, data(), TRANSFORM, tmp_path)
    want = reference.vectors()
    path = tmp_path / reference.key / "00001.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    counting = Counting(features)
    assert torch.equal(reference.vectors(), want)
    assert counting.pictures == 20
    (tmp_path / reference.key / "00002.safetensors").write_bytes(path.read_bytes())  # 20 in the place of 10
    assert torch.equal(reference.vectors(), want)


def test_moments_need_one_file_at_a_time(tmp_path: Path) -> None:
    reference = Reference(Squares(), data(), TRANSFORM, tmp_path)
    found, vectors = moments(reference.batches()), reference.vectors().double()
    assert found.count == 50
    torch.testing.assert_close(found.mean, vectors.mean(0))
    torch.testing.assert_close(found.covariance, vectors.T.cov())


def test_it_says_what_it_is(tmp_path: Path) -> None:
    assert Reference(Squares(), data(), TRANSFORM, tmp_path, split="held out").name == (
        "4x4 squares; 50 pictures of noise (held out)"
    )
    with pytest.raises(UserError, match=r"no pictures to compare with: .* data\.held_out"):
        Reference(Squares(), data(0), TRANSFORM, tmp_path)


def test_where_the_disk_refuses_they_are_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    features = Squares()
    held = Reference(features, data(), TRANSFORM, tmp_path / "file")
    kept = Reference(Squares(), data(), TRANSFORM, tmp_path / "kept").vectors()
    assert torch.equal(held.vectors(), kept) and torch.equal(held.vectors(), kept)
    assert (tmp_path / "file").read_text() == "in the way"
