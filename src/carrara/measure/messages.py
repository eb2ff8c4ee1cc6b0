r"""What the processes of a training send to each other, and over which links.

Of n ranks that stand in a ring, each sends of a message of S bytes, to the next one,

.. math:: \tfrac{n - 1}{n} S \text{ (all-gather, reduce-scatter, broadcast)}, \quad
          2 \tfrac{n - 1}{n} S \text{ (all-reduce)}                                                              (1)

(Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009; of a broadcast this
is the mean over the ranks). Where a ring goes over several hosts, one rank of each sends to another host, and the
others inside their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Collective = Literal["all-reduce", "all-gather", "reduce-scatter", "broadcast"]

RING: Mapping[Collective, int] = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "broadcast": 1}
"""How many times (n - 1) / n of a message a rank sends, by equation (1)."""
GLOO: Mapping[Collective, int] = {**RING, "reduce-scatter": 2}
"""The same of gloo, which adds all of a message on all ranks, and throws the other ranks' parts away."""


@dataclass(frozen=True)
class Message:
    """One collective call.

    Attributes:
        size: bytes of all that is added, gathered or told: of a parted tensor, of the whole.
        ranks: that take part.
    """

    collective: Collective
    size: int
    ranks: tuple[int, ...]

    def sent(self, times: Mapping[Collective, int] = RING) -> float:
        """Bytes that a rank sends, by equation (1)."""
        return times[self.collective] * self.size * (len(self.ranks) - 1) / len(self.ranks)

    def hosts(self, per_host: int) -> int:
        """How many hosts take part, which have ``per_host`` ranks each."""
        return len({rank // per_host for rank in self.ranks})

    def inside(self, per_host: int) -> float:
        """Bytes that a rank sends to ranks of its host, as the mean over the ranks."""
        hosts, count = self.hosts(per_host), len(self.ranks)
        return self.sent() if hosts == 1 else self.sent() * (count - hosts) / count

    def between(self, per_host: int) -> float:
        """Bytes that a host sends to another one, its other ranks' messages of this kind included."""
        hosts = self.hosts(per_host)
        return 0.0 if hosts == 1 else self.sent() * per_host * hosts / len(self.ranks)

    def seconds(self, per_host: int, inner: float, link: float) -> float:
        """How long it takes at least, where nothing else is sent: as long as its slowest link.

        Args:
            inner: bytes a second that a rank sends to another one of its host.
            link: bytes a second that a host sends to others.
        """
        own = self.sent() / inner if len(self.ranks) > self.hosts(per_host) else 0.0
        return max(own, self.between(per_host) / link)


def sent_by_rank(messages: Iterable[Message], times: Mapping[Collective, int] = RING) -> float:
    """Bytes that a rank sends in all."""
    return sum(message.sent(times) for message in messages)
