r"""What a lesson on diffusion shows, computed by the functions that train and sample: numbers, and nothing drawn.

Where the data are Gaussians or points, the best denoiser is known (``sample.exact``), so no model is needed, and what a
sampler does wrong is its own. A state is shown as it would be at the scale of data, :math:`x_t / \max(1, \|(\alpha,
\sigma)\|)`, which changes nothing but for schedules that explode.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.data.sources.swissroll import SwissRollSource
from carrara.draw.drawing import Drawing
from carrara.draw.edit import encode
from carrara.measure.schedules import decibels
from carrara.noise import AnySchedule, DiscreteSchedule, Schedule, add_noise, noising, prior_kl
from carrara.pixels import Pictures
from carrara.sample import Mixture, Sampler, Uniform, draws_for, guide, noise_for, score
from carrara.shapes import expand
from carrara.types import DenoiseFn

BUMPS = Mixture(
    means=torch.tensor([[-1.2], [0.5], [1.4]], dtype=torch.float64),
    stds=torch.tensor([0.3, 0.12, 0.2], dtype=torch.float64),
    weights=torch.tensor([0.4, 0.2, 0.4], dtype=torch.float64),
)
"""Numbers with three heaps."""
CLASSES = Mixture(
    means=torch.tensor([[0.9, 0.5], [-0.9, -0.5]], dtype=torch.float64),
    stds=torch.tensor([0.5, 0.5], dtype=torch.float64),
    weights=torch.ones(2, dtype=torch.float64),
)
"""Two classes of points in the plane, as often the one as the other."""
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Numbers of steps whose errors are compared."""
LEAST_TIME = 0.01
"""Arrows are drawn down to this time: in clean data there is no noise to point away from."""
_CROWD = 1000  # particles whose law is compared with the exact one


def schedules(zero: bool = False) -> dict[str, Schedule]:
    """All schedules as they come; ``zero`` gives the discrete ones a zero terminal SNR."""
    usual: list[Schedule] = [member() for member in get_args(AnySchedule)]
    changed = [replace(one, zero_terminal_snr=zero) if isinstance(one, DiscreteSchedule) else one for one in usual]
    return {str(getattr(one, "kind", "")): one for one in changed}


def shown(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """States (n, *S) at the scale of data; alpha and sigma (n,)."""
    return x / expand(torch.hypot(alpha, sigma).clamp(min=1), x).to(x)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A schedule over times (n,): alpha, sigma and ln SNR; and at its end the SNR in dB and the leak (``prior_kl``)."""

    t: Tensor
    alpha: Tensor
    sigma: Tensor
    logsnr: Tensor
    end: float
    leak: float


def curves(schedule: Schedule, count: int) -> Curves:
    """A schedule at ``count`` evenly spaced times."""
    t = torch.linspace(0, 1, count, dtype=torch.float64)
    alpha, sigma = schedule(t)
    end, leak = decibels(schedule, t[-1:]).item(), max(prior_kl(schedule), 0.0)
    return Curves(t=t, alpha=alpha, sigma=sigma, logsnr=2 * schedule.half_logsnr(t), end=end, leak=leak)


def noised(x0: Pictures, schedule: Schedule, t: Tensor, seed: int = 0) -> Float[Tensor, "n C H W"]:
    """A picture (1, C, H, W) at times (n,), always with the same noise; as ``shown``."""
    alpha, sigma = schedule(t)
    eps = draws_for([seed]).normal("closed form", *x0.shape[1:])
    many = x0.expand(len(t), *x0.shape[1:])
    return shown(add_noise(many, eps.expand_as(many), alpha.float(), sigma.float()), alpha, sigma)


def guessed(drawing: Drawing, x0: Pictures, half_logsnr: float, seed: int = 0) -> tuple[Pictures, Pictures, float]:
    """What a model sees of a noised picture, and what it believes to be behind it, E[x0 | x_t].

    Args:
        x0: (1, C, H, W) of the model's size.
        half_logsnr: how much noise; the model has its own time for it, between its ends.

    Returns:
        The state and the estimate as pixels, (1, C, H, W) each, and the time.
    """
    model = drawing.model
    z = encode(model, x0)
    t = model.config.schedule.time_of(torch.tensor(half_logsnr, dtype=torch.float64)).clamp(1e-3, 1 - 1e-3)
    eps = draws_for([seed], z.device).normal("closed form", *z.shape[1:])
    with torch.no_grad():
        x_t = add_noise(z, eps, *(value.float() for value in model.config.schedule(t)))
        estimate = drawing.denoise()(x_t, t.to(x_t))
        seen, guess = model.visible(x_t, t.item()), model.pixels(estimate)
    return seen.float().cpu(), guess.float().cpu(), t.item()


def walk(
    denoise: DenoiseFn, x: Tensor, sampler: Sampler, schedule: Schedule, steps: int, first: int = 0
) -> tuple[Tensor, Tensor]:
    """All states of a sampler on a uniform grid, the first among them.

    Args:
        x: (B, *S) standard normal; the sampler begins at sigma(1) x.
        first: the seed of the first sample's fresh noise.

    Returns:
        Times (steps + 1,) and states (steps + 1, B, *S).
    """
    times = Uniform()(steps, schedule)
    x = schedule(times[0])[1].item() * x
    noise = noise_for(draws_for(range(first, first + len(x))), x.shape[1:])
    with torch.no_grad():
        made = [step.x for step in sampler.steps(denoise, x, times, schedule, lambda k: noise(k).to(x))]
    return times, torch.stack([x, *made])


def evenly(count: int) -> Float[Tensor, "n 1"]:
    """Equally likely values of N(0, 1): noise without an error of chance."""
    return torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)[:, None]


def particles(sampler: Sampler, schedule: Schedule, steps: int, count: int = _CROWD) -> tuple[Tensor, Tensor]:
    """Numbers on their way from noise to ``BUMPS``: times (n + 1,), and states (n + 1, count)."""
    times, states = walk(BUMPS.denoiser(schedule), evenly(count), sampler, schedule, steps)
    return times, states[..., 0]


def distance(x: Float[Tensor, "n"]) -> float:
    """The 1-Wasserstein distance of numbers from ``BUMPS``: how far each must move on average to be where it should."""
    return (x.sort().values - _quantiles(len(x))).abs().mean().item()


@cache
def _quantiles(count: int) -> Tensor:
    return BUMPS.quantiles(count)


@cache
def errors(sampler: Sampler, schedule: Schedule) -> tuple[float, ...]:
    """``distance`` after so many steps as ``STEPS`` says."""
    return tuple(distance(particles(sampler, schedule, steps)[1][-1]) for steps in STEPS)


@cache
def roll(count: int) -> Float[Tensor, "n 2"]:
    """So many points of the Swiss roll, the same as those of the data set."""
    data = SwissRollSource(points=count).open()
    return torch.stack([torch.as_tensor(data.pixels(k)) for k in range(count)]).float()


def rolled_up(
    sampler: Sampler, schedule: Schedule, *, steps: int, points: int, count: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Noise on its way to a Swiss roll, by the exact denoiser of ``points`` of it (K, 2), which are all it knows.

    Returns:
        Times (steps + 1,), and states (steps + 1, count, 2) as ``shown``.
    """
    denoise = Mixture.around(roll(points)).denoiser(schedule)
    x = draws_for(range(seed, seed + count)).normal("initial noise", 2)
    times, states = walk(denoise, x, sampler, schedule, steps, seed)
    return times, shown(states, *schedule(times))


def unrolled(schedule: Schedule, *, steps: int, points: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A Swiss roll on its way to noise, step by step: times (steps + 1,), increasing, and states as ``shown``."""
    x0, times = roll(points), torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    times[0] = 1e-6  # where alpha and sigma of every schedule are above 0
    draws = draws_for(range(seed, seed + points))
    states = list(noising(x0, times, schedule, lambda k: draws.at(k).normal("noising", 2)))
    return times, shown(torch.stack(states), *schedule(times))


@dataclass(frozen=True, kw_only=True)
class Guided:
    """Guidance between ``CLASSES`` at some times (n,).

    Attributes:
        places: (G, 2) where the arrows begin.
        cond, null, guided: (n, G, 2), sigma times the score: of the class, of both classes, and guided.
        states: (n, B, 2) particles on their way to where guidance leads them.
    """

    t: Tensor
    places: Tensor
    cond: Tensor
    null: Tensor
    guided: Tensor
    states: Tensor


def guided(
    schedule: Schedule,
    sampler: Sampler,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
    *,
    steps: int = 32,
    every: int = 2,
    count: int = 300,
    places: Tensor | None = None,
) -> Guided:
    """Guides the exact denoiser of class 0 away from that of both, as a network's is guided.

    Args:
        scale: w; 1 is off, 0 knows no class.
        interval: the times of guidance.
        every: of so many steps one is shown.
        places: (G, 2) where arrows begin; a square lattice by default.

    Raises:
        ValueError: the interval is none.
    """
    places = lattice(2.5, 13) if places is None else places
    cond, null = CLASSES.part(0).denoiser(schedule), CLASSES.denoiser(schedule)
    led = guide(cond, null, scale, interval=interval)
    times, states = walk(led, draws_for(range(count)).normal("initial noise", 2), sampler, schedule, steps)
    times, states = times[::every], shown(states, *schedule(times))[::every]
    at = times.clamp(min=LEAST_TIME)
    arrows = [torch.stack([_arrows(f, places, t, schedule) for t in at]) for f in (cond, null, led)]
    return Guided(t=times, places=places, cond=arrows[0], null=arrows[1], guided=arrows[2], states=states)


def _arrows(denoise: DenoiseFn, places: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Sigma times the score at a time (), (G, 2): minus the noise that is expected in a state."""
    alpha, sigma = schedule(t)
    x = places * torch.hypot(alpha, sigma).clamp(min=1)
    return sigma * score(x, denoise(x, t), t, schedule)


def lattice(limit: float, edge: int) -> Float[Tensor, "n 2"]:
    """The points of a square lattice, from -limit to limit, float64."""
    line = torch.linspace(-limit, limit, edge, dtype=torch.float64)
    return torch.cartesian_prod(line, line)


def histogram(x: Float[Tensor, "n"], edges: Sequence[float], bins: int) -> Float[Tensor, "m"]:
    """The density of numbers between two edges, in equal bins."""
    low, high = edges
    counts = torch.histc(x.double(), bins, low, high)
    return counts / (len(x) * (high - low) / bins)
