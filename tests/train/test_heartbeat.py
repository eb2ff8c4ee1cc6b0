"""Who falls silent is lost; who has said that it ends, or is slow to begin, is not."""

import time
from collections.abc import Sequence
from threading import Event

import pytest
import torch.distributed as dist

from carrara.errors import UserError
from carrara.train.heartbeat import LOST_AFTER, VARIABLE, heard, lost_after

SECONDS = 0.5


class Rank:
    """What one rank has lost, and when."""

    def __init__(self, store: dist.Store, rank: int, world: int) -> None:
        self.lost, self.when, self._some = list[int](), 0.0, Event()
        self.heard = heard(store, rank, world, self._note, SECONDS)

    def _note(self, ranks: Sequence[int]) -> None:
        self.lost, self.when = list(ranks), time.monotonic()
        self._some.set()

    def waits(self, seconds: float) -> bool:
        return self._some.wait(seconds)


def test_who_falls_silent_is_lost_to_all_others_and_who_ends_well_is_not() -> None:
    store = dist.HashStore()
    stays, fails, ends = (Rank(store, rank, 3) for rank in range(3))
    with stays.heard:
        with ends.heard, pytest.raises(RuntimeError, match="its host is gone"), fails.heard:
            assert not stays.waits(2 * SECONDS) and not ends.lost, "all of them are heard"
            raise RuntimeError("its host is gone")
        silent = time.monotonic()
        assert stays.waits(20 * SECONDS) and stays.lost == [1]
        assert 0.5 * SECONDS < stays.when - silent < 3 * SECONDS


def test_who_has_not_begun_has_ten_times_as_long() -> None:
    store = dist.HashStore()
    dist.PrefixStore("heartbeat", store).set("1", "7")  # of an earlier training that met in the same store
    early = Rank(store, 0, 2)
    with early.heard:
        assert not early.waits(3 * SECONDS)
        late = Rank(store, 1, 2)
        with late.heard:
            assert not early.waits(2 * SECONDS)


def test_a_store_that_is_gone_is_silence() -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    clients = [dist.TCPStore("127.0.0.1", server.port, is_master=False) for _ in range(2)]
    here, there = (Rank(client, rank, 2) for rank, client in enumerate(clients))
    with here.heard, there.heard:
        assert not here.waits(2 * SECONDS)
        del server
        assert here.waits(5 * SECONDS) and there.waits(5 * SECONDS)
        assert here.lost == [1] and there.lost == [0]


@pytest.mark.parametrize("said", ["soon", "0", "nan", "inf", "-5"])
def test_a_time_that_is_none_is_one_sentence(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lost_after() == LOST_AFTER
    monkeypatch.setenv(VARIABLE, said)
    with pytest.raises(UserError, match=f"CARRARA_LOST_AFTER is a number of seconds, 1 or more, and is {said}"):
        lost_after()
