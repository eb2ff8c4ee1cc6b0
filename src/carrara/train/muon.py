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

Of several ranks each finds (2) for some of the matrices, and sends it to the others.
"""

from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from carrara.train import distributed, sharding

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
        ranks = distributed.world()
        for group in self.param_groups:
            moving = sorted((p for p in group["params"] if p.grad is not None), key=Tensor.numel, reverse=True)
            for first in range(0, len(moving), ranks):
                self._move(moving[first : first + ranks], group["lr"], group["weight_decay"])

    def _move(self, parameters: Sequence[Tensor], lr: float, weight_decay: float) -> None:
        """One update of as many parameters as there are ranks: each finds the direction of one of them."""
        wanted = [sharding.whole(self._wanted(p)).flatten(1) for p in parameters]
        mine = distributed.rank()
        directions = [orthogonal(u) if k == mine else torch.empty_like(u) for k, u in enumerate(wanted)]
        for source, (p, o) in enumerate(zip(parameters, directions, strict=True)):
            o = sharding.as_sharded(distributed.from_rank(source, o.contiguous()).view(p.shape), p)
            rows, columns = wanted[source].shape
            p.mul_(1 - lr * weight_decay).add_(o, alpha=-0.2 * lr * max(rows, columns) ** 0.5)

    def _wanted(self, p: Tensor) -> Tensor:
        """The gradient, looking ahead along its momentum."""
        assert p.grad is not None
        m = self.state[p]["momentum"].mul_(MOMENTUM).add_(p.grad)
        return p.grad.add(m, alpha=MOMENTUM)


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
