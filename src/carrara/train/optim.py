r"""The optimizers of each role, and their learning rate.

The learning rate is a pure function of the step k = 0, 1, ... and the progress p in [0, 1) at its start,

.. math:: \eta(k, p) = \eta \min(1, (k + 1) / k_{warm}) \min(1, (1 - p) / d)                                     (1)

so there is nothing about it to save: a linear warm-up over ``warmup`` steps, and a linear decay over the last part d of
the run. What a run of N steps has learned is comparable with another's by its steps at the full rate,

.. math:: S(N) = \sum_{k < N} \eta(k, k / N) / \eta.                                                             (2)

AdamW is Loshchilov and Hutter, "Decoupled weight decay regularization", 2019; for Muon see ``muon.py``.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from carrara.train import muon
from carrara.train.muon import Muon
from carrara.train.settings import TrainSettings

_TERMS = 2000


def learning_rate(settings: TrainSettings, step: int | float, progress: float) -> float:
    """Equation (1)."""
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    decay = min(1.0, (1 - progress) / settings.decay) if settings.decay else 1.0
    return settings.lr * warm * decay


def full_steps(settings: TrainSettings, steps: int) -> float:
    """Equation (2), of a run that ends after ``steps`` steps; of a long one, from ``_TERMS`` of its terms."""
    terms = min(steps, _TERMS)
    at = ((place + 0.5) * steps / terms - 0.5 for place in range(terms))
    return sum(learning_rate(settings, k, k / steps) / settings.lr for k in at) * steps / terms


def steps_of(settings: TrainSettings, full: float) -> int:
    """How many steps a run has whose steps at the full rate are ``full``, by equation (2)."""
    low, high = 0, 1
    while full_steps(settings, high) < full:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if full_steps(settings, middle) < full else (low, middle)
    return high


Optimizers = tuple[Optimizer, ...]
"""What moves the parameters of a role, each a part of them."""


def optimizers(parameters: Iterable[nn.Parameter], settings: TrainSettings) -> Optimizers:
    """Builds what moves the parameters that learn: AdamW, or Muon for what suits it and AdamW for the others.

    All moments exist from the start, so that a checkpoint has the same tensors at every step.
    """
    learn = [p for p in parameters if p.requires_grad]
    assert learn, "a role without parameters has nothing to learn"
    if settings.optimizer == "adamw":
        return (_adamw(learn, settings),)
    hidden = [p for p in learn if muon.suits(p)]
    others = [p for p in learn if not muon.suits(p)]
    made = (Muon(hidden, lr=settings.lr, weight_decay=settings.weight_decay),) if hidden else ()
    return (*made, _adamw(others, settings)) if others else made


def _adamw(learn: Sequence[nn.Parameter], settings: TrainSettings) -> AdamW:
    """The fused AdamW; parameters of one axis (norms, biases) do not decay."""
    groups = [
        {"params": [p for p in learn if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in learn if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)
    for p in learn:
        optimizer.state[p] = {
            "step": torch.zeros((), device=p.device),
            "exp_avg": torch.zeros_like(p, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(p, requires_grad=False),
        }
    return optimizer


def parameters_of(optimizers: Optimizers) -> list[nn.Parameter]:
    """The parameters that a role's optimizers move."""
    return [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]


def optimizer_moments(optimizers: Optimizers, names: dict[nn.Parameter, str]) -> dict[str, Tensor]:
    """The optimizers' live tensors, by parameter name and kind: ``denoiser.weight/exp_avg``."""
    return {
        f"{names[p]}/{kind}": tensor
        for optimizer in optimizers
        for p in parameters_of((optimizer,))
        for kind, tensor in optimizer.state[p].items()
    }


def descend(optimizers: Optimizers, lr: float) -> None:
    """One update, at learning rate ``lr``."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
