"""Lessons that a served model gives: what it makes of noise, and how two samplers draw with it. These are jobs."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from carrara.draw import Ask, Progress, Remark, Request, request, sample
from carrara.draw.drawing import open_drawing
from carrara.errors import UserError
from carrara.measure.lessons import guessed, schedules
from carrara.medium import Picture
from carrara.model import DiffusionModel
from carrara.serve.asked import read_ask, sampling
from carrara.serve.previews import as_data
from carrara.serve.studio import Studio
from carrara.serve.uploads import without_folder
from carrara.serve.work import Work
from carrara.store import OpenModel

WAYS = ("ddpm", "ddim")


@final
@dataclass(frozen=True, kw_only=True)
class Guessing(Work):
    """What a model believes to be behind a noised picture.

    Attributes:
        x0: (1, C, H, W) of the model's size.
        half_logsnr: how much noise.
    """

    x0: Tensor
    half_logsnr: float

    def steps(self, opened: OpenModel) -> Generator[Progress | Remark, None, Any]:
        yield from ()
        drawing = open_drawing(opened, self.request)
        seen, guess, t = guessed(drawing, self.x0, self.half_logsnr)
        latent = drawing.model.first_stage.factor != 1
        return {"state": _frame(opened, seen), "estimate": _frame(opened, guess), "t": round(t, 4), "latent": latent}


@final
@dataclass(frozen=True, kw_only=True)
class Stepping(Work):
    """The same noise drawn by two samplers: all states, and all estimates.

    Attributes:
        others: the requests of the other ways.
    """

    others: tuple[Request, ...]

    def steps(self, opened: OpenModel) -> Generator[Progress | Remark, None, Any]:
        ways = list[dict[str, Any]]()
        for name, asked in zip(WAYS, (self.request, *self.others), strict=True):
            way: dict[str, Any] = {"sampler": name, "times": [], "states": [], "estimates": []}
            for at in sample(opened, asked):
                yield at
                model, step = opened.model, at.step
                with torch.no_grad():
                    state = model.visible(step.x, step.t) if at.pixels is None else at.pixels
                    estimate = model.pixels(step.x0)
                way["times"].append(round(step.t, 4))
                way["states"].append(_frame(opened, state))
                way["estimates"].append(_frame(opened, estimate))
            ways.append(way)
        return {"ways": ways}


def _frame(opened: OpenModel, x: Tensor) -> str:
    one = x[0].float().cpu()
    return as_data(opened.model.medium.single(one) or opened.model.medium.grid(one[None]))


def guessing(here: Studio, model: str, picture: Picture, schedule: str, t: float) -> Guessing:
    """The job of guessing what is behind a noised picture.

    Raises:
        UserError: the model draws no pictures from noise, or cannot take this one.
    """
    opened, diffusion = _opened(here, model)
    asked = request(opened, Ask(count=1, seed=0))
    settings = replace(asked.settings, guidance=1.0)
    asked = replace(asked, wishes=(None,), settings=settings, weak=None, guide=None)
    level = schedules()[schedule].half_logsnr(torch.tensor(t, dtype=torch.float64)).item()
    try:
        x0 = diffusion.medium.tensor(picture, diffusion.shape, diffusion.size)
    except UserError as error:
        raise without_folder(error, picture.path) from None
    return Guessing(model=model, request=asked, x0=x0, half_logsnr=level)


def stepping(here: Studio, model: str, prompt: str, seed: int, steps: int) -> Stepping:
    """The job of drawing with two samplers.

    Raises:
        UserError: the model draws no pictures from noise, or not in so many steps.
    """
    opened, _ = _opened(here, model)
    said = {"seed": seed, "steps": steps, "count": 1, **({"prompts": [prompt]} if prompt else {})}
    first, *others = (
        sampling(here.settings, opened, model, read_ask(here.shelf, here.settings, {**said, "sampler": name})).request
        for name in WAYS
    )
    return Stepping(model=model, request=first, others=tuple(others))


def _opened(here: Studio, name: str) -> tuple[OpenModel, DiffusionModel]:
    opened = here.shelf.open(name)
    model = opened.model.diffusion("this model is an autoencoder, which knows no noise: take one that diffuses")
    if model.medium.name != "pictures" or model.first_stage.levels is not None:
        raise UserError("this model draws no pictures from noise: take one that does")
    if model.image is not None:
        raise UserError("this model sees another picture beside the noise, which is not given here: take another one")
    return opened, model
