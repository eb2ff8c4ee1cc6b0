"""Kernel distances: KID of pictures, and CMMD; the oracles of KID are in ``tests/oracle``."""

import math

import pytest
import torch
from known import normal
from torch import Tensor

from carrara.data import Dataset
from carrara.evaluate import cmmd, kernel_distance
from carrara.evaluate.kernel import gaussian
from carrara.seeds import permutation


def test_two_halves_of_openmoji_have_no_kernel_distance_and_two_groups_do(emoji: Dataset, seen: Tensor) -> None:
    order = permutation(len(seen), "halves of openmoji")
    middle = len(seen) // 2
    alike = kernel_distance(seen[order[:middle]], seen[order[middle:]])
    assert len(seen) > 400
    assert alike.interval[0] < 0 < alike.interval[1]
    label = torch.tensor([int(emoji.columns(k)["label"].argmax()) for k in range(len(emoji))])
    animals, objects = (seen[label == emoji.info.classes.index(group)] for group in ("Animals & Nature", "Objects"))
    different = kernel_distance(animals, objects)
    assert different.interval[0] > 0
    assert abs(alike.value) < different.value / 10


def test_the_gaussian_kernel_of_gaussians() -> None:
    """With x - y ~ N(d, 2 s^2 I): E k = (1 + 2 s^2 / 100)^(-D/2) exp(-|d|^2 / 2 (100 + 2 s^2))."""
    width, s, shift = 3, 5.0, 4.0
    same = (1 + 2 * s * s / 100) ** (-width / 2)
    want = 2 * same * (1 - math.exp(-width * shift**2 / (2 * (100 + 2 * s * s))))
    x, y = s * normal(1500, width, 1), s * normal(1500, width, 2) + shift
    found = kernel_distance(x, y, kernel=gaussian)
    assert abs(found.value - want) < 4 * found.error
    assert found.error < 0.1 * want


def test_cmmd_is_a_thousand_times_the_distance_of_directions() -> None:
    x, y = normal(12, 8, 1).double(), normal(9, 8, 2).double() + 1

    def mean(a: Tensor, b: Tensor, own: bool) -> float:
        a, b = (z / z.norm(dim=1, keepdim=True) for z in (a, b))
        k = [
            math.exp(-(p - q).square().sum() / 200)
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if i != j or not own
        ]
        return sum(k) / len(k)

    want = 1000 * (mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False))
    assert cmmd(x, y).value == pytest.approx(want, rel=1e-9)
    assert cmmd(5 * x, 0.1 * y).value == pytest.approx(want, rel=1e-9)


def test_what_cmmds_authors_count_besides() -> None:
    """They keep i = j, which adds (1 - mean k) 1000 / n for each set: the number in the module's head."""
    x, y = (z / z.norm(dim=1, keepdim=True) for z in (normal(80, 8, 1).double(), normal(80, 8, 2).double() + 0.3))
    theirs = 1000 * (gaussian(x, x).mean() + gaussian(y, y).mean() - 2 * gaussian(x, y).mean()).item()
    head = 10 * (x.var(0).sum() + y.var(0).sum()).item() / 80
    assert theirs - cmmd(x, y).value == pytest.approx(head, rel=0.01)


def test_cmmd_of_one_law_is_zero_on_average() -> None:
    found = torch.tensor([cmmd(normal(40, 8, 2 * s), normal(40, 8, 2 * s + 1)).value for s in range(60)])
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(len(found))
    assert found.min() < 0 < found.max()
