import pytest
import torch

from carrara.evaluate import retrieval
from carrara.seeds import Draws


def vectors(count: int, width: int = 16) -> torch.Tensor:
    return Draws(0, torch.arange(count)).normal("retrieval", width)


def test_the_right_pictures_find_themselves():
    found = retrieval(vectors(50), vectors(50))
    assert (found.first, found.fifth, found.rank) == (1.0, 1.0, 1.0)
    assert found.times_chance == 50


def test_neither_scale_nor_offset_counts():
    right = vectors(50)
    assert retrieval(3 * right + 100, right).first == 1.0


def test_what_does_not_listen_is_at_chance():
    right, others = vectors(1000), vectors(2000)[1000:]
    found = retrieval(others, right)
    assert found.times_chance == pytest.approx(1, abs=3)
    assert found.rank == pytest.approx(500.5, abs=30)


def test_ranks_are_counted():
    right = torch.eye(4)
    made = right[[1, 0, 2, 3]]
    found = retrieval(made, right)
    assert found.first == 0.5 and found.fifth == 1.0
    assert found.rank == 0.5 * 1 + 0.5 * 2


def test_a_tie_is_not_a_win_for_others():
    assert retrieval(torch.eye(3), torch.eye(3)).rank == 1
