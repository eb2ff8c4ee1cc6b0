r"""AdamW, one optimizer per role, and its learning rate.

The learning rate is a pure function of the step k = 0, 1, ... and the progress p in [0, 1) at its start,

.. math:: \eta(k, p) = \eta \min(1, (k + 1) / k_{warm}) \min(1, (1 - p) / d)                                     (1)

so there is nothing about it to save: a linear warm-up over ``warmup`` steps, and a linear decay over the last part d of
the run. AdamW is Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from carrara.train.settings import TrainSettings


def learning_rate(settings: TrainSettings, step: int, progress: float) -> float:
    """Equation (1)."""
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    decay = min(1.0, (1 - progress) / settings.decay) if settings.decay else 1.0
    return settings.lr * warm * decay


def adamw(parameters: Iterable[nn.Parameter], settings: TrainSettings) -> AdamW:
    """Builds the fused AdamW over the parameters that learn; those of one axis (norms, biases) do not decay.

    Its moments exist from the start, so that a checkpoint has the same tensors at every step.
    """
    learn = [p for p in parameters if p.requires_grad]
    assert learn, "a role without parameters has nothing to learn"
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


def parameters_of(optimizer: AdamW) -> list[nn.Parameter]:
    """The parameters that an optimizer moves."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def moments(optimizer: AdamW, names: dict[nn.Parameter, str]) -> dict[str, Tensor]:
    """The optimizer's live tensors, by parameter name and kind: ``denoiser.weight/exp_avg``."""
    return {
        f"{names[p]}/{kind}": tensor for p in parameters_of(optimizer) for kind, tensor in optimizer.state[p].items()
    }


def descend(optimizer: AdamW, lr: float) -> None:
    """One update, at learning rate ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
