"""What a training in many processes would take, in words: memory, messages, time and costs, all of it estimated."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from carrara.errors import UserError
from carrara.measure.messages import Message
from carrara.run.cluster import Cluster
from carrara.train import TrainSettings

UNITS = (("GB", 1e9), ("MB", 1e6))
"""Of memory and messages."""
LEFT = 0.1
"""The part of a GPU's memory that CUDA, NCCL and gaps between tensors may take."""
NAMES = {
    "weights": "weights",
    "gradients": "gradients",
    "moments": "moments",
    "averages": "averages",
    "the rest": "activations, and all else",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step of one process of many takes.

    Attributes:
        parameters: that learn.
        state: bytes that the process keeps, by part.
        peak: the most bytes at a time, by part.
        preview: the same while the averaged weights are put together, for previews and models that are saved.
        messages: to and from the others.
        flops: floating-point operations.
    """

    parameters: int
    state: dict[str, int]
    peak: dict[str, int]
    preview: int
    messages: tuple[Message, ...]
    flops: int


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """A step of a recipe on some machines."""

    cluster: Cluster
    settings: TrainSettings
    step: Step

    @property
    def memory(self) -> int:
        """The most bytes of a GPU at a time."""
        return max(sum(self.step.peak.values()), self.step.preview)

    @property
    def fits(self) -> bool:
        """Whether they fit into its memory."""
        return self.memory <= (1 - LEFT) * self.cluster.memory * UNITS[0][1]

    @property
    def computing(self) -> float:
        """Seconds of a step in which a GPU computes."""
        return self.step.flops / (self.cluster.flops * 1e12 * self.cluster.utilisation)

    @property
    def sending(self) -> float:
        """Seconds of a step's messages, one after the other."""
        cluster = self.cluster
        inner, link = (rate * 1e9 / 8 for rate in (cluster.inner, cluster.link))
        return sum(message.seconds(cluster.per_host, inner, link) for message in self.step.messages)

    @property
    def seconds(self) -> tuple[float, float]:
        """Of a step: if it sends while it computes, and if not."""
        return max(self.computing, self.sending), self.computing + self.sending

    def text(self) -> str:
        """All of it."""
        cluster = self.cluster
        lines = [
            f"plan        {_many(cluster.gpus, 'GPU')} on {_many(cluster.hosts, 'host')}: an estimate, by the "
            "trainer's own step on tensors without numbers",
            *self._batch(),
            *self._memory(),
            *self._messages(),
            *self._time(),
            "left out    reading data, previews and saving, how long a message takes to begin, and waiting for others",
        ]
        return "\n".join(lines)

    def _batch(self) -> Iterator[str]:
        batch, gpus, accumulate = self.settings.batch, self.cluster.gpus, self.settings.accumulate
        own = batch // gpus
        micro = math.ceil(own / accumulate)
        parts = math.ceil(own / micro)
        last = own - micro * (parts - 1)
        uneven = "" if last == micro else f", the last of {last}"
        yield (
            f"batch       {batch:,} samples = {_many(gpus, 'process', 'processes')} x {own:,}, in "
            f"{_many(parts, 'micro-batch', 'micro-batches')} of {micro:,}{uneven}"
        )

    def _memory(self) -> Iterator[str]:
        peak = sum(self.step.peak.values())
        unit, size = _unit(float(max(peak, self.step.preview)))
        yield f"memory      of each GPU, in {unit}, with {self.step.parameters:,} parameters that learn"
        rows = {NAMES[part]: self.step.peak.get(part, 0) for part in NAMES}
        whole = {"at the peak of a step": peak, "at a preview, or to save a model": self.step.preview}
        for name, value in {**rows, **whole}.items():
            yield f"{'':12}{name:<32}{_number(value / size):>10}"
        room = f"the {_number((1 - LEFT) * self.cluster.memory)} GB that CUDA, NCCL and gaps between tensors may leave"
        if self.fits:
            yield f"{'':12}it fits into {room} of {self.cluster.memory:g}"
        else:
            yield f"{'':12}it does not fit into {room} of {self.cluster.memory:g}: {self._advice()}"

    def _advice(self) -> str:
        """What takes less memory."""
        settings, own = self.settings, self.settings.batch // self.cluster.gpus
        said = list[str]()
        if settings.shard is None and self.cluster.gpus > 1:
            said.append("train.shard=full parts all but the activations")
        elif settings.shard == "hybrid" and self.cluster.hosts > 1:
            said.append("train.shard=full parts it among all hosts")
        if not settings.recompute:
            said.append("train.recompute=true keeps fewer activations")
        if settings.accumulate < own:
            said.append(f"train.accumulate={min(own, 2 * settings.accumulate)} halves them")
        if settings.optimizer == "adamw" and settings.shard is None:
            said.append("train.optimizer=muon has half the moments")
        return "; ".join(said or ["take more GPUs, or larger ones"])

    def _messages(self) -> Iterator[str]:
        per_host, kinds = self.cluster.per_host, dict[str, list[Message]]()
        for message in self.step.messages:
            kinds.setdefault(message.collective, []).append(message)
        rows = {kind: _sizes(own, per_host) for kind, own in {**kinds, "all": [*self.step.messages]}.items()}
        unit, size = _unit(max(rows["all"]))
        heads = f"{'number':>8}{'size':>10}{'inside a host, of each GPU':>30}{'between hosts, of each host':>30}"
        yield f"messages    {f'of a step, in {unit}':<20}{heads}"
        for kind, own in rows.items():
            count = len(kinds.get(kind, self.step.messages))
            total, inside, between = (_number(value / size) for value in own)
            yield f"{'':12}{kind:<20}{count:>8,}{total:>10}{inside:>30}{between:>30}"

    def _time(self) -> Iterator[str]:
        cluster, (least, most) = self.cluster, self.seconds
        links = f"{cluster.inner:g} Gbit/s of each GPU inside a host, {cluster.link:g} Gbit/s of each host"
        yield (
            f"one step    computing {_duration(self.computing)}: {_number(self.step.flops / 1e12)} TFLOP at "
            f"{100 * cluster.utilisation:g} % of {cluster.flops:g} TFLOP/s"
        )
        yield f"{'':12}messages {_duration(self.sending)}, in a ring: {links}"
        yield f"{'':12}together {_duration(least)} if they overlap, {_duration(most)} if not"
        steps = self.settings.most_steps
        if steps is None:
            budget = 60 * (self.settings.minutes or 0)
            hours = cluster.gpus * budget / 3600
            yield (
                f"whole run   {_duration(budget)}: {_count(budget / most)} to {_count(budget / least)} "
                f"steps, {_number(hours)} GPU hours{self._costs(hours, hours)}"
            )
            return
        hours = [cluster.gpus * steps * each / 3600 for each in self.seconds]
        yield (
            f"whole run   {steps:,} steps: {_duration(steps * least)} to {_duration(steps * most)}, "
            f"{_number(hours[0])} to {_number(hours[1])} GPU hours{self._costs(*hours)}"
        )

    def _costs(self, least: float, most: float) -> str:
        price = self.cluster.price
        if price is None:
            return ""
        between = _number(price * least) if least == most else f"{_number(price * least)} to {_number(price * most)}"
        return f", which cost {between} at {price:g} an hour"


def check_batch(settings: TrainSettings, cluster: Cluster) -> None:
    """Refuses a batch that the processes cannot share.

    Raises:
        UserError: with batches that they can.
    """
    batch, gpus = settings.batch, cluster.gpus
    if batch % gpus:
        below, above = batch // gpus * gpus, (batch // gpus + 1) * gpus
        near = f"{below:,} or {above:,}" if below else f"{above:,}"
        raise UserError(
            f"train.batch={batch} cannot be shared equally by {gpus:,} processes: set it to {near.replace(',', '')}, "
            "or take another number of GPUs"
        )


def _sizes(messages: list[Message], per_host: int) -> tuple[float, float, float]:
    """Of the messages themselves, and what of them goes over the links inside a host and between hosts, in bytes."""
    inside, between = (one.inside(per_host) for one in messages), (one.between(per_host) for one in messages)
    return float(sum(one.size for one in messages)), sum(inside), sum(between)


def _unit(largest: float) -> tuple[str, float]:
    return UNITS[0] if largest >= UNITS[0][1] / 10 else UNITS[1]


def _number(value: float) -> str:
    """Three digits that count, or all before the point; no more than four after it."""
    digits = 4 if value == 0 else min(4, max(0, 2 - math.floor(math.log10(value))))
    shown = f"{value:,.{digits}f}"
    return "0" if value == 0 else f"<{10**-digits:g}" if not float(shown.replace(",", "")) else shown


def _count(value: float) -> str:
    return f"{int(value):,}"


def _many(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("s", 1)):
        if seconds >= 1.5 * size:
            return f"{_number(seconds / size)} {unit}"
    return f"{_number(1000 * seconds)} ms"
