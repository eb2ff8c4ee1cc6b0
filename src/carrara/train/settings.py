"""What a user decides about a training: how long, how fast, how averaged, how often saved."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from carrara.kinds import INFINITE, UNSAID

Precision = Literal["auto", "float32", "bfloat16"]
"""What matrix products are computed in; weights, optimizer and EMA are float32 always. See ``precision.py``."""

Shard = Literal["full", "hybrid"]
"""Among which ranks what learns is parted: all of them, or those of each host, which has a whole copy then."""
MOST = 1 << 20
"""Samples of a batch, and batches of a step."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train. Exactly one of ``steps`` and ``minutes`` is set.

    Attributes:
        steps: optimizer steps of the whole run.
        minutes: wall-clock budget of the whole run instead, previews and saves included. It survives a resume,
            and hardly goes on while the process is suspended.
        until: ends the run after so many steps, if it is not over before; or where copying of the data is predicted to
            begin (``memorisation``), by whoever knows the data: here that is nothing. None = its length is all.
        batch: samples of an optimizer step, over all ranks and micro-batches.
        optimizer: ``muon`` learns more of each image and costs more each step; see ``muon.py``.
        lr: learning rate, of the size that AdamW takes.
        warmup: the steps over which the learning rate rises from 0.
        decay: the part of the run, at its end, over which the learning rate falls to 0.
        betas: AdamW's, for the gradient and for its square.
        weight_decay: decoupled from the gradient, on matrices and kernels; norms and biases have none.
        clip: the largest norm of a gradient; ``inf`` is off.
        accumulate: micro-batches of a rank's step, one after the other: less memory, same result.
        recompute: keeps less of the forward pass and computes it again for the gradient: less memory, same result.
        compile: has the network compiled by torch, which takes minutes at the start; same result up to rounding. What
            ``auto`` means is for those to find out who know the batches: here it is ``False``.
        tune: measures before the training which ways of computing layers are the fastest here, on a CPU; same result up
            to rounding. None = where the training takes 10 minutes or 2,000 steps, or more.
        shard: parts what learns, its gradients, moments and averages among all processes (``full``), or among those of
            each host (``hybrid``); None = each has all. Same result up to rounding; see ``sharding.py``.
        precision: see ``precision.py``.
        ema_half_life: after so many images a weight counts half in the average.
        ema_rampup: the half-life is at most this part of the images seen; None is off. See ``ema.py``.
    """

    steps: int | None = None
    minutes: float | None = None
    until: Annotated[int | Literal["memorisation"] | None, UNSAID] = field(default=None, repr=False)
    batch: int = 64
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = 2e-4
    warmup: int = 100
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    clip: Annotated[float, INFINITE] = 1.0
    accumulate: int = 1
    recompute: bool = False
    compile: Literal[True, False, "auto"] = False
    tune: Annotated[bool | None, UNSAID] = field(default=None, repr=False)  # as digests were
    shard: Annotated[Shard | None, UNSAID] = field(default=None, repr=False)
    precision: Precision = "auto"
    ema_half_life: float = 500_000.0
    ema_rampup: float | None = 0.05

    def __post_init__(self) -> None:
        budget = self.steps if self.minutes is None else self.minutes
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("set one of steps and minutes, and leave the other out (null): a run has one length")
        if budget is None or budget <= 0:
            raise ValueError(f"a run of {budget} steps or minutes does not train: take a number above 0")
        if isinstance(self.until, int) and self.until < 1:
            raise ValueError(f"until is a number of steps, 1 or more, or memorisation, and is {self.until}")
        for name in ("batch", "lr", "clip", "accumulate", "ema_half_life"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, and is {getattr(self, name)}")
        if max(self.batch, self.accumulate) > MOST:
            raise ValueError(f"batch and accumulate are at most {MOST:,}, and are {self.batch} and {self.accumulate}")
        if self.warmup < 0 or self.weight_decay < 0 or (self.ema_rampup or 0) < 0:
            raise ValueError("warmup, weight_decay and ema_rampup must be 0 or more")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is a part of the run, from 0 to 1, and is {self.decay}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), and are {self.betas}")

    @property
    def most_steps(self) -> int | None:
        """After how many steps it ends at the latest, where steps say that."""
        return min((count for count in (self.steps, self.until) if isinstance(count, int)), default=None)

    def progress(self, step: int, seconds: float) -> float:
        """The part of the run, from 0 to 1, that is done after ``step`` steps and ``seconds`` seconds."""
        done = step / self.steps if self.steps else seconds / (60 * (self.minutes or 0))
        return min(1.0, max(done, step / self.until if isinstance(self.until, int) else 0.0))


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """When to save: every so many steps, and which to keep: so many of the newest. The last step is always saved.

    Attributes:
        early: after this part of the run its averaged weights are kept beside it for good, as a model from which
            guidance may lead away; None keeps none.
    """

    every: int = 1000
    keep: int = 2
    early: float | None = None

    def __post_init__(self) -> None:
        if self.early is not None and not 0 < self.early < 1:
            raise ValueError(f"checkpoint.early is a part of the run, above 0 and below 1, and is {self.early}")
        if self.every < 1 or self.keep < 1:
            raise ValueError(
                f"checkpoint.every and checkpoint.keep must be 1 or more, and are {self.every} and {self.keep}"
            )
