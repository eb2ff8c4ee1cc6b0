"""What messages cost is arithmetic of rings."""

import pytest

from carrara.measure.messages import GLOO, Message, sent_by_rank

ALL = tuple(range(8))
PER_HOST = 4


def test_a_ring_of_one_host() -> None:
    """Each of n ranks sends (n - 1) / n of a message, and twice as much where it is added up and told."""
    assert Message("all-gather", 800, ALL).sent() == Message("broadcast", 800, ALL).sent() == 700
    added = Message("all-reduce", 800, ALL)
    assert added.sent() == 1400 and added.inside(8) == 1400 and added.between(8) == 0
    assert added.seconds(8, inner=700.0, link=1.0) == 2
    assert Message("all-reduce", 800, (0,)).sent() == 0


def test_a_ring_over_two_hosts_leaves_each_of_them_once() -> None:
    message = Message("reduce-scatter", 800, ALL)
    assert message.hosts(PER_HOST) == 2 and message.between(PER_HOST) == 700
    assert message.inside(PER_HOST) == pytest.approx(700 * 6 / 8)
    assert message.seconds(PER_HOST, inner=1e9, link=100.0) == 7
    assert message.seconds(PER_HOST, inner=70.0, link=1e9) == 10


def test_rings_of_the_same_place_on_each_host_share_its_link() -> None:
    """As between the copies of ``train.shard=hybrid``."""
    message = Message("all-reduce", 100, (1, 5))
    assert message.sent() == 100 and message.inside(PER_HOST) == 0 and message.between(PER_HOST) == 400
    assert message.seconds(PER_HOST, inner=1.0, link=100.0) == 4


def test_sums() -> None:
    messages = [Message("reduce-scatter", 800, ALL), Message("all-gather", 80, ALL), Message("all-gather", 8, ALL)]
    assert sent_by_rank(messages) == 7 * 888 / 8 and sent_by_rank(messages, GLOO) == 7 * (2 * 800 + 88) / 8
