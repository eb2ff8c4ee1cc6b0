"""Samplers and grids of ours that an exported model has, too: each kind, and what changes its steps."""

from carrara.sample import (
    Ddim,
    Ddpm,
    DpmPp,
    DpmPpSde,
    Euler,
    EulerAncestral,
    Heun,
    Karras,
    Leading,
    Lms,
    Quadratic,
    Trailing,
    Uniform,
    UniPC,
)

GRIDS = [Uniform(), Trailing(), Leading(), Quadratic(), Karras()]
SAMPLERS = [
    Ddpm(),
    Ddpm(variance="beta"),
    Ddim(),
    Ddim(eta=0.6),
    Euler(),
    EulerAncestral(),
    Heun(),
    Heun(churn=4.0, churn_min=0.1, churn_max=20.0, noise_scale=1.01),
    DpmPp(),
    DpmPpSde(),
    UniPC(),
    UniPC(order=3),
    Lms(),
]
