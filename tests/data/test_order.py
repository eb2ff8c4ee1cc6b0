from collections import Counter

import pytest
import torch

from carrara.data.order import Order
from carrara.seeds import permutation


def parted(*sizes: int) -> list[torch.Tensor]:
    """Groups of the examples 0, 1, 2, ..., dealt out so that no group's lie side by side."""
    owners = torch.tensor([owner for owner, size in enumerate(sizes) for _ in range(size)])
    owners = owners[permutation(len(owners), "dealt")]
    return [torch.nonzero(owners == owner).flatten() for owner in range(len(sizes))]


def test_one_group_is_equation_1() -> None:
    order = Order(parted(7), 4, 5, rank=1, world=2)
    for step in range(6):
        shown = [int(permutation(7, 5, "epoch", p // 7)[p % 7]) for p in range((2 * step + 1) * 4, (2 * step + 2) * 4)]
        assert order.examples(step) == shown


def test_no_batch_has_examples_of_two_groups() -> None:
    groups = parted(30, 11, 3)
    owners = {int(example): k for k, group in enumerate(groups) for example in group}
    order = Order(groups, 4, 0)
    assert all(len({owners[example] for example in order.examples(step)}) == 1 for step in range(100))


@pytest.mark.slow
def test_every_example_is_shown_equally_often_however_small_its_group() -> None:
    groups, epochs = parted(101, 38, 5), 1500
    order, shown = Order(groups, 8, 3), Counter[int]()
    for step in range(18 * epochs):
        shown.update(order.examples(step))
    for group in groups:
        mean = sum(shown[int(example)] for example in group) / len(group)
        assert mean == pytest.approx(epochs, rel=0.03)


def test_batches_of_each_group_in_each_epoch_are_as_many_as_its_part_rounded() -> None:
    groups = parted(60, 25, 15)
    owners = {int(example): k for k, group in enumerate(groups) for example in group}
    order = Order(groups, 10, 1)
    for epoch in range(40):
        counts = Counter(owners[order.examples(10 * epoch + k)[0]] for k in range(10))
        assert counts[0] == 6 and counts[1] in (2, 3) and counts[2] in (1, 2)


def test_a_group_is_shown_whole_before_any_of_it_again() -> None:
    order = Order(parted(32, 16), 8, 2)
    for epoch in range(5):
        shown = [example for k in range(6) for example in order.examples(6 * epoch + k)]
        assert sorted(shown) == list(range(48))


def test_ranks_share_the_batch_of_one() -> None:
    groups = parted(20, 9, 4)
    alone, ranks = Order(groups, 6, 0), [Order(groups, 2, 0, rank=rank, world=3) for rank in range(3)]
    for step in range(30):
        assert alone.examples(step) == [example for rank in ranks for example in rank.examples(step)]
        assert alone.positions(step).tolist() == [int(p) for rank in ranks for p in rank.positions(step)]
