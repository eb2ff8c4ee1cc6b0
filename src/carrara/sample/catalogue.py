"""The samplers, time grids and methods of guidance by name. A new sampler is a file, and a class in ``AnySampler``."""

from typing import Any, get_args

from carrara.errors import known
from carrara.sample.base import Sampler
from carrara.sample.grids import AnyGrid, TimeGrid
from carrara.sample.guidance import AnyMethod, Method
from carrara.sample.multistep import DpmPp, DpmPpSde, Lms, UniPC
from carrara.sample.samplers import Ddim, Ddpm, Euler, EulerAncestral, Heun

AnySampler = Ddpm | Ddim | Euler | EulerAncestral | Heun | DpmPp | DpmPpSde | UniPC | Lms
"""The tagged union that recipes and commands hold."""

SAMPLERS: dict[str, type[Sampler]] = {cls.kind: cls for cls in get_args(AnySampler)}
GRIDS: dict[str, type[TimeGrid]] = {cls.kind: cls for cls in get_args(AnyGrid)}
METHODS: dict[str, type[Method]] = {cls.kind: cls for cls in get_args(AnyMethod)}


def sampler(name: str, **options: Any) -> Sampler:
    """Makes a sampler by its name.

    Raises:
        UserError: there is no such sampler.
    """
    return SAMPLERS[known("sampler", name, SAMPLERS)](**options)


def grid(name: str, **options: Any) -> TimeGrid:
    """Makes a time grid by its name.

    Raises:
        UserError: there is no such grid.
    """
    return GRIDS[known("time grid", name, GRIDS)](**options)


def method(name: str, **options: Any) -> Method:
    """Makes a method of guidance by its name.

    Raises:
        UserError: there is no such method.
    """
    return METHODS[known("method of guidance", name, METHODS)](**options)
