r"""Muon: momentum whose matrices are made orthogonal (Jordan et al., "Muon: An optimizer for hidden layers", 2024).

A kernel is a matrix with a row for each output. With its gradient g and a momentum m,

.. math::
    m &\leftarrow \mu m + g, \quad u = g + \mu m                                                                 (1) \\
    u &= U S V^T \;\mapsto\; O \approx U V^T                                                                     (2) \\
    W &\leftarrow (1 - \eta \lambda) W - 0.2 \, \eta \sqrt{\max(\text{rows}, \text{columns})} \, O               (3)

so every direction of a layer moves by the same amount. Full rank makes O's root mean square 1/sqrt(max(rows, columns)):
the updates of (3) are as large as AdamW's usually are, and one learning rate serves both (Liu et al., "Muon is scalable
for LLM training", 2025, equation 4).

(2) takes five steps of an odd polynomial that pulls singular values to about 1,

.. math:: X \leftarrow (a I + b G + c G^2) X, \quad G = X X^T                                                    (4)

The factors commute with G, so they are multiplied first, on the short side alone, and X is multiplied once in the end.
"""

from collections.abc import Iterable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM = 0.95
_A, _B, _C = 3.4445, -4.7750, 2.0315  # the authors': steepest at 0, to within 0.7 ... 1.2 after five steps
_STEPS = 5
_SMALLEST = 16  # of the channels on both sides; below, a kernel reads or writes samples, and no direction is hidden


@final
class Muon(Optimizer):
    """Equations (1) to (3), without the rate's schedule."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float) -> None:
        super().__init__([{"params": list(parameters)}], {"lr": lr, "weight_decay": weight_decay})
        for p in self.param_groups[0]["params"]:
            self.state[p] = {"momentum": torch.zeros_like(p, requires_grad=False)}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of all parameters that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group["lr"], group["weight_decay"])

    def _move(self, p: Tensor, g: Tensor, lr: float, weight_decay: float) -> None:
        m = self.state[p]["momentum"].mul_(MOMENTUM).add_(g)
        rows, columns = p.shape[0], p[0].numel()
        o = orthogonal(g.add(m, alpha=MOMENTUM).reshape(rows, columns)).view(p.shape)
        p.mul_(1 - lr * weight_decay).add_(o, alpha=-0.2 * lr * max(rows, columns) ** 0.5)


def suits(p: nn.Parameter) -> bool:
    """Whether a parameter is a hidden layer's kernel: not a norm or bias, not next to the samples, not a table."""
    return p.ndim > 1 and min(p.shape[:2]) >= _SMALLEST and not getattr(p, "looked_up", False)


def orthogonal(u: Tensor) -> Tensor:
    """Equation (2) for a matrix (rows, columns); singular values end in about [0.7, 1.2], and zeros stay."""
    x = u.T if u.shape[0] > u.shape[1] else u
    x = x / x.norm().clamp(min=1e-12)
    gram, identity = x @ x.T, torch.eye(len(x), device=x.device, dtype=x.dtype)
    factor = q = _polynomial(gram, identity)
    for _ in range(_STEPS - 1):
        gram = q @ gram @ q
        q = _polynomial(gram, identity)
        factor = q @ factor
    o = factor @ x
    return o.T if u.shape[0] > u.shape[1] else o


def _polynomial(gram: Tensor, identity: Tensor) -> Tensor:
    return _A * identity + _B * gram + _C * gram @ gram
