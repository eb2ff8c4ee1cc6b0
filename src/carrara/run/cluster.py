"""The machines that a training is planned for, as one types them: ``gpus=128,memory=80,link=400``."""

import math
from dataclasses import dataclass, fields

from carrara.errors import UserError, option

_WHOLE = ("gpus", "per_host")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Machines with GPUs.

    Attributes:
        gpus: of all hosts, with a process each.
        memory: of a GPU, in GB (10^9 bytes).
        link: what a host sends to other hosts, in Gbit/s.
        per_host: GPUs of a host; 8, or all of fewer.
        inner: what a GPU sends to others of its host, in Gbit/s; 3600 is NVLink's of an H100.
        flops: what a GPU does at most, in TFLOP/s; 989 is an H100's, in bfloat16.
        utilisation: the part of it that a training reaches.
        price: of a GPU for an hour, in any currency; None = costs are not asked for.
    """

    gpus: int
    memory: float = 80.0
    link: float = 400.0
    per_host: int = 0
    inner: float = 3600.0
    flops: float = 989.0
    utilisation: float = 0.35
    price: float | None = None

    def __post_init__(self) -> None:
        if not self.per_host:
            object.__setattr__(self, "per_host", min(8, self.gpus))

    @property
    def hosts(self) -> int:
        """How many."""
        return self.gpus // self.per_host

    @classmethod
    def read(cls, text: str) -> "Cluster":
        """Reads what was typed.

        Raises:
            UserError: a key is unknown, a value is no number, or they do not go together.
        """
        given = dict[str, float]()
        for pair in filter(None, (part.strip() for part in text.split(","))):
            key, equals, value = (word.strip() for word in pair.partition("="))
            if key not in (known := [field.name for field in fields(cls)]):
                raise _wrong(f"and '{key}' is none of its keys, which are {', '.join(known)}")
            if not equals or (number := _number(value)) is None or (key in _WHOLE and number != int(number)):
                what = "a whole number" if key in _WHOLE else "a number"
                raise _wrong(f"where {key} is {what} above 0, and is '{value}'")
            if key in given:
                raise _wrong(f"and {key} is said twice")
            given[key] = int(number) if key in _WHOLE else number
        if "gpus" not in given:
            raise _wrong("and how many GPUs there are is not said")
        if given.get("utilisation", 0) > 1:
            raise _wrong(f"where utilisation is a part, at most 1, and is {given['utilisation']:g}")
        cluster = cls(**given)  # pyright: ignore[reportArgumentType]
        if cluster.gpus > MOST:
            raise _wrong(f"of at most {MOST:,} GPUs")
        if cluster.gpus % cluster.per_host:
            raise _wrong(f"and {cluster.gpus} GPUs are not hosts of {cluster.per_host} each: say per_host")
        return cluster


MOST = 1 << 17
"""GPUs that can be planned for."""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _wrong(why: str) -> UserError:
    return UserError(f"{option('plan')} is of machines, such as gpus=128,memory=80,link=400, {why}")
