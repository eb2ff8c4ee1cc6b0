"""The samplers, time grids and methods of guidance by name. A new sampler is a file, and a class in ``AnySampler``."""

from typing import Any, get_args

from carrara.errors import known
from carrara.sample.absorbing import Absorbing
from carrara.sample.base import Sampler
from carrara.sample.grids import AnyGrid, TimeGrid
from carrara.sample.guidance import AnyMethod, Method
from carrara.sample.multistep import DpmPp, DpmPpSde, Lms, UniPC
from carrara.sample.samplers import Ddim, Ddpm, Euler, EulerAncestral, Heun

AnySampler = Ddpm | Ddim | Euler | EulerAncestral | Heun | DpmPp | DpmPpSde | UniPC | Lms | Absorbing
"""The tagged union that recipes and commands hold."""

_BY_NAME: dict[str, type[Sampler]] = {cls.kind: cls for cls in get_args(AnySampler)}
SAMPLERS: dict[str, type[Sampler]] = {name: cls for name, cls in _BY_NAME.items() if not cls.masks}
"""Those that come from Gaussian noise."""
GRIDS: dict[str, type[TimeGrid]] = {cls.kind: cls for cls in get_args(AnyGrid)}
METHODS: dict[str, type[Method]] = {cls.kind: cls for cls in get_args(AnyMethod)}


def sampler(name: str, **options: Any) -> Sampler:
    """Makes a sampler by its name.

    Raises:
        UserError: there is no such sampler.
    """
    return _BY_NAME[known("sampler", name, _BY_NAME)](**options)


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
