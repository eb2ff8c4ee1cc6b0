r"""What a noise schedule does to data, made visible: the numbers, the curves, and a picture that becomes noise.

Sampling starts from noise alone. What x_1 still says about data of unit variance, in nats per dimension, is the bound's
prior term, ``noise.prior_kl``, called the leak here. A discrete schedule with given betas leaks less the more steps it
has, so "how large must T be" has an answer: the least T whose leak is at most ``LEAK``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import torch
from jaxtyping import Float
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

from carrara import pixels
from carrara.data import digits
from carrara.data.transforms import resize
from carrara.errors import UserError, meant, option, unknown
from carrara.medium import Picture
from carrara.noise import (
    AnySchedule,
    DiscreteSchedule,
    Linear,
    ScaledLinear,
    Schedule,
    VarianceExploding,
    add_noise,
    chain_times,
    noising,
    prior_kl,
)
from carrara.plots import Chart, Line
from carrara.recipe.layers import Layer, from_arguments, merge
from carrara.recipe.loading import parse
from carrara.seeds import Draws
from carrara.store.runs import configured, located

LEAK = 1e-4
"""Nats per dimension that the last noised picture may still say about the data."""
MOST_STEPS_TRIED = 1 << 17
"""A schedule that leaks with so many steps leaks with any number."""

_STEPS = (10, 100, 1000, 10_000)  # a table's
_STATES, _ITERATIONS, _POINTS = 9, 1000, 201
_DIGIT, _EDGE, _LARGEST = 7, 32, 128  # the example, its size, and the largest edge of a user's picture


def kinds() -> list[str]:
    """The names of all schedules."""
    return [str(member.kind) for member in get_args(AnySchedule)]


def find_schedule(name: str, overrides: Sequence[str] = ()) -> Schedule:
    """A schedule by its name, or a run's own.

    Args:
        name: one of ``kinds()``, or a run's folder.
        overrides: ``key=value`` changes to it, such as ``steps=250``.

    Raises:
        UserError: there is no such schedule or run, or a change does not fit.
    """
    layer = from_arguments([f"model.schedule.{override}" for override in overrides])
    values: dict[str, Any] = {"model": {"schedule": _values(name)}, "train": {"steps": 1}}
    return parse(Layer(values=merge(values, layer.values), places=layer.places)).model.schedule


def _values(name: str) -> dict[str, Any]:
    """A schedule as plain values."""
    kind, is_run = meant(name, kinds()), located(Path(name)).is_dir()
    if kind is not None and (kind == name or not is_run):
        return {"kind": kind}
    if not is_run:
        raise unknown("schedule", name, [*kinds(), "a run's folder"])
    config = configured(Path(name))
    if config.kind != "diffusion":
        raise UserError(f"'{name}' holds an autoencoder, which adds no noise: name a run of diffusion")
    return TypeAdapter(type(config.schedule)).dump_python(config.schedule, mode="json")


@dataclass(frozen=True, kw_only=True)
class End:
    """Where a schedule of T steps ends: abar_T, the SNR there in dB, and the leak in nats per dimension."""

    steps: int
    abar: float
    snr: float
    leak: float


def end(schedule: DiscreteSchedule, steps: int) -> End:
    """The end of the same schedule with another number of steps, at least 2."""
    other = replace(schedule, steps=steps)
    last = torch.ones((), dtype=torch.float64)
    return End(steps=steps, abar=other(last)[0].item() ** 2, snr=decibels(other, last).item(), leak=prior_kl(other))


def ends(schedule: DiscreteSchedule) -> list[End]:
    """What the number of steps changes: from few to many, with the schedule's own and the least that suffices."""
    least = steps_needed(schedule)
    chosen = {*_STEPS, schedule.steps, *([] if least is None else [least])}
    return [end(schedule, steps) for steps in sorted(chosen)]


def steps_needed(schedule: DiscreteSchedule) -> int | None:
    """The least T at which the schedule leaks at most ``LEAK``; None if none up to ``MOST_STEPS_TRIED`` does."""
    return _least(2, MOST_STEPS_TRIED, lambda steps: replace(schedule, steps=steps))


def _least(low: int, high: int, schedule_of: Callable[[int], Schedule]) -> int | None:
    """The least of some whole numbers whose schedule does not leak, by bisection: larger ones leak less."""
    if prior_kl(schedule_of(high)) > LEAK:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if prior_kl(schedule_of(middle)) <= LEAK else (middle + 1, high)
    return high


def remedies(schedule: Schedule) -> list[str]:
    """Changes, ``key=value``, each of which alone ends a leak above ``LEAK``; none if there is none."""
    if prior_kl(schedule) <= LEAK:
        return []
    if isinstance(schedule, VarianceExploding):
        return [f"sigma_max={math.ceil(1 / math.sqrt(math.expm1(2 * LEAK)))}"]
    assert isinstance(schedule, DiscreteSchedule), "the other schedules end in pure noise"
    steps, beta = steps_needed(schedule), _beta_needed(schedule)
    more = [] if steps is None else [f"steps={steps}"]
    return ["zero_terminal_snr=true", *more, *([] if beta is None else [f"beta_end={beta:g}"])]


def _beta_needed(schedule: DiscreteSchedule) -> float | None:
    """The least last beta, in thousandths, with which the schedule's own steps suffice."""
    if not isinstance(schedule, Linear | ScaledLinear):
        return None
    thousandths = _least(math.ceil(1000 * schedule.beta_end), 999, lambda k: replace(schedule, beta_end=k / 1000))
    return None if thousandths is None else thousandths / 1000


def verdict(schedule: Schedule) -> str:
    """Whether the end of a schedule is noise, and what to do if it is not."""
    lost = prior_kl(schedule)
    if lost <= LEAK:
        return f"Its end is noise: the leak of {lost:.2g} nats per dimension is not above {LEAK:g}."
    changes = remedies(schedule)
    restriction = " Zero terminal SNR needs model.parameterization v or x0." if "zero" in changes[0] else ""
    return (
        f"It leaks {lost:.2g} nats per dimension, more than {LEAK:g}. Samples start from pure noise, which the model "
        f"has never seen, so their mean brightness is off. Set {', or '.join(changes)}.{restriction}"
    )


def decibels(schedule: Schedule, t: Tensor) -> Tensor:
    """The signal-to-noise ratio 10 log10(alpha^2 / sigma^2) at times of any shape; infinite where one of them is 0."""
    return schedule.half_logsnr(t) * (20 / math.log(10))


def schedule_charts(schedule: Schedule, name: str) -> tuple[Chart, Chart]:
    """The curves of alpha and sigma squared, and of the signal-to-noise ratio, over time."""
    t = torch.linspace(0, 1, _POINTS, dtype=torch.float64)
    alpha, sigma = schedule(t)
    explodes = sigma[-1].item() > 1
    amounts = [("data, alpha squared", alpha**2), ("noise, sigma squared", sigma**2)]
    ratio = Line(name="SNR", x=t.tolist(), y=decibels(schedule, t).tolist())
    lines = [Line(name=label, x=t.tolist(), y=values.tolist()) for label, values in amounts]
    return (
        Chart(title=f"{name}: data and noise", lines=lines, x_label="t", y_label="power", log_y=explodes),
        Chart(title=f"{name}: signal to noise", lines=[ratio], x_label="t", y_label="SNR in dB"),
    )


def example_picture(path: Path | None) -> pixels.Pictures:
    """The picture to noise, (1, C, H, W), at most 128 pixels large: a user's, or a handwritten digit.

    Raises:
        UserError: it cannot be read.
    """
    return example(digit() if path is None else Picture.read(path))


def digit() -> Picture:
    """A handwritten digit, for who has no picture at hand."""
    return Picture.of(resize(digits().pixels(_DIGIT), (_EDGE, _EDGE)))


def example(picture: Picture) -> pixels.Pictures:
    """A picture, (1, C, H, W), at most 128 pixels large.

    Raises:
        UserError: it cannot be used.
    """
    array = picture.pixels
    shrunk = [max(1, round(edge * min(1.0, _LARGEST / max(array.shape[:2])))) for edge in array.shape[:2]]
    try:
        array = pixels.with_channels(array, 1 if array.shape[-1] == 1 else 3)
    except ValueError as error:
        raise UserError(f"'{picture.path}' cannot be used: {error}") from None
    return pixels.to_tensor(resize(array, (shrunk[0], shrunk[1])))[None]


def noising_times(schedule: Schedule, steps: int | None = None) -> Tensor:
    """The times of a chain from data to noise, (n + 1,) float64: all steps of a discrete schedule, up to a thousand.

    Args:
        steps: of a schedule that has none of its own.

    Raises:
        UserError: fewer than two steps.
    """
    own = schedule.own_steps or (_ITERATIONS if steps is None else steps)
    if own < 2:
        raise UserError(f"a chain has at least 2 steps, not {own}: choose another number with {option('steps')}")
    times = chain_times(schedule, min(own, _ITERATIONS))
    return torch.cat([times.new_zeros(1), times])


def noised_both_ways(
    x0: Float[Tensor, "1 C H W"], schedule: Schedule, times: Tensor
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n C H W"], Float[Tensor, "n C H W"]]:
    """Noises a picture (1, C, H, W) by the closed form, and by the chain through all of ``times`` with fresh noise.

    Returns:
        The times shown (n,), and the states of the two ways, (n, C, H, W) each.
    """
    shown = torch.linspace(0, len(times) - 1, min(_STATES, len(times))).round().long().tolist()
    draws = Draws(0, torch.zeros(1, dtype=torch.int64))
    chain = noising(x0, times, schedule, lambda k: draws.at(k).normal("noising", *x0.shape[1:]))
    stepwise = [x for k, x in enumerate(chain) if k in shown]
    eps = draws.normal("closed form", *x0.shape[1:])
    direct = [add_noise(x0, eps, *schedule(times[k].float())) for k in shown]
    return times[shown], torch.cat(direct), torch.cat(stepwise)


def noising_strip(x0: pixels.Pictures, schedule: Schedule, times: Tensor) -> Image.Image:
    """A picture becoming noise from left to right: above by the closed form, below step by step."""
    times, direct, stepwise = noised_both_ways(x0, schedule, times)
    alpha, sigma = schedule(times)
    size = torch.hypot(alpha, sigma).float().clamp(min=1)[:, None, None, None]
    ratios = decibels(schedule, times).tolist()
    labels = [f"t {t:.2f}  {_written(snr)}" for t, snr in zip(times.tolist(), ratios, strict=True)]
    rows = torch.cat([direct / size, stepwise / size])
    return pixels.grid(rows, len(times), row_labels=["closed form", "step by step"], column_labels=labels)


def _written(snr: float) -> str:
    return f"{snr:+.0f} dB" if math.isfinite(snr) else "data" if snr > 0 else "noise"


def describe(schedule: Schedule) -> str:
    """Kind and numbers of a schedule in one line."""
    values = cast(dict[str, Any], TypeAdapter(type(schedule)).dump_python(schedule))
    return ", ".join(f"{key}={value}" for key, value in values.items() if key != "kind")
