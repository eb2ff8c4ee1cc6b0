"""Samples that know how they were made, and can be made again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

import carrara
from carrara import pixels, plots
from carrara.errors import UserError
from carrara.model import AnyModel, DiffusionModel, Size
from carrara.recipe.classified import Classified, classified, open_classified
from carrara.recipe.weaker import EARLY, Weaker, early_self, open_weaker, weaker
from carrara.sample import SampleSettings, SampleStep, grid, method, sampler
from carrara.task.generate import Progress, generate
from carrara.task.wishes import parts_of

PictureKind = Literal["grid", "strip", "sample"]
"""All samples; a few samples on their way from noise; a sample alone."""
Watch = Callable[[Iterable[Progress], int], Iterable[Progress]]
"""Passes on what a sampler says, of so many samples in all."""
Asked = Size | str | int | None
"""A size as a user says it: (height, width), "96x64", or one number for a square."""
STRIP_SAMPLES, STRIP_STATES = 6, 9
MOST = 100_000
"""Samples of a request."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything but the weights that samples are a function of.

    Attributes:
        wishes: what each sample shall show, as a user types it; None says nothing.
        seeds: one per sample.
        settings: how to go from noise to data.
        precision: what the network multiplies in.
        columns: how many samples side by side; None makes a square.
        labels: of the rows.
        fast: by the distilled decoder.
        size: of pictures; None is the model's own.
        tile: of the windows in which larger pictures are denoised; None denoises them as a whole.
        negative: what guidance leads away from, as a user types it; None is nothing in particular.
        weak: the weaker model that guidance leads away from instead.
        found: what a classifier shall find.
    """

    wishes: tuple[str | None, ...]
    seeds: tuple[int, ...]
    settings: SampleSettings
    precision: Literal["float32", "bfloat16"] = "float32"
    columns: int | None = None
    labels: tuple[str, ...] = ()
    fast: bool = False
    size: Size | None = None
    tile: Size | None = None
    negative: str | None = None
    weak: Weaker | None = None
    found: Classified | None = None

    def only(self, k: int) -> "Request":
        """The request for sample ``k`` alone, which gives the same sample."""
        return replace(self, wishes=(self.wishes[k],), seeds=(self.seeds[k],), columns=None, labels=())


def request(
    model: AnyModel,
    wishes: Sequence[str],
    count: int | None,
    seed: int,
    changes: Mapping[str, Any],
    fast: bool = False,
    size: Asked = None,
    tile: Asked = None,
    negative: str | None = None,
    weak: Path | None = None,
    classifier: Path | None = None,
    label: str | None = None,
    classifier_scale: float = 1.0,
) -> Request:
    """Makes a request from what a user says.

    Args:
        wishes: a row of samples for each; none at all means each class in turn, or unconditional samples.
        count: samples per wish (4), or in all (16).
        seed: of each row's first sample; the others count up, so a column shares its noise.
        changes: of the model's own sampling settings; samplers, grids and methods of guidance by name, None leaves a
            setting as it is.
        fast: decodes with the distilled decoder.
        size, tile: see ``Request``; (height, width), "96x64", or one number for a square.
        negative: see ``Request``.
        weak: the folder of a weaker model to lead away from, with guidance: a run's, or a checkpoint's. None is the
            model's earlier self, if it has one and no condition to be guided by.
        classifier: the folder of a classifier that guides to ``label``, by ``classifier_scale``.

    Raises:
        UserError: an unknown sampler, grid or method, or settings, a size or a weaker model that do not fit the model.
    """
    count = (4 if wishes else 16) if count is None else count
    if label is not None and classifier is None:
        raise UserError(f"who shall find '{label}'? Name a trained classifier, too: --classifier RUN")
    if count < 1:
        raise UserError(f"{count} samples are none: ask for at least 1")
    if count > MOST:
        raise UserError(f"{count} samples are too many at once: ask for at most {MOST}, and more with another --seed")
    check_seed(seed)
    asked = [wish for wish in wishes for _ in range(count)] or cycled(model, count)
    if weak is None and negative is None and (weak := early_self(model, changes)) is not None:
        changes = {**EARLY, **{key: value for key, value in changes.items() if value is not None}}
    for wish in wishes:
        for part in parts_of(model.conditioner, wish):
            model.conditioner.parse(part.text)
    return Request(
        wishes=tuple(asked),
        seeds=tuple(seed + k % count for k in range(len(asked))),
        settings=settings(model, changes, guided=weak is not None),
        columns=count if wishes else None,
        labels=tuple(wishes),
        fast=fast,
        size=size_of(size),
        tile=size_of(tile),
        negative=negative,
        weak=None if weak is None else weaker(weak, model),
        found=None if classifier is None else classified(classifier, label, classifier_scale, model),
    )


def check_seed(seed: int) -> None:
    """Refuses what is no seed: they have 64 bits, and count up."""
    if abs(seed) >= 1 << 62:
        raise UserError(f"seed {seed} is too large: take one of at most 18 digits")


def size_of(asked: Asked) -> Size | None:
    """(height, width) from what a user says: as it is, "96x64", "64" or 64 for a square, or None.

    Raises:
        UserError: it is no size.
    """
    if isinstance(asked, tuple):
        return asked
    edges = () if asked is None else tuple(str(asked).lower().split("x"))
    if len(edges) > 2 or not all(edge.strip().isdecimal() for edge in edges):
        raise UserError(f"'{asked}' is no size: say height x width, as in 96x64, or one number for a square")
    return (int(edges[0]), int(edges[-1])) if edges else None


def settings(model: AnyModel, changes: Mapping[str, Any], guided: bool = False) -> SampleSettings:
    """The model's own sampling settings with some changed; samplers, grids and methods of guidance may be named.

    Heun's method takes the Karras grid unless another one is named: it was made for it, and overshoots on others.

    Args:
        guided: by another model, so that guidance needs no condition.
    """
    named = dict(changes)
    if named.get("sampler") == "heun" and named.get("grid") is None:
        named["grid"] = "karras"
    for key, make in (("sampler", sampler), ("grid", grid), ("method", method)):
        if isinstance(named.get(key), str):
            named[key] = make(named[key])
    scale = named.pop("guidance", None) if guided else None
    try:
        own = model.settings(**named)
        chosen = own if scale is None else replace(own, guidance=scale)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"these sampling settings do not work: {error}") from None
    if "few_steps" in model.about and isinstance(model, DiffusionModel) and chosen != model.config.sample:
        raise UserError(
            f"this model draws in {model.about['few_steps']} steps, and only as it was made to: leave sampler, steps, "
            "guidance and the like out, or sample its teacher's run"
        )
    return chosen


def cycled(model: AnyModel, count: int) -> list[str | None]:
    """What to ask for when nothing in particular is: each class in turn, or nothing."""
    classes: Sequence[str] = getattr(model.conditioner, "classes", ())
    return [classes[k % len(classes)] if classes else None for k in range(count)]


def draw(model: AnyModel, wanted: Request, image: Tensor | None = None) -> Iterator[Progress]:
    """Makes the samples of a request, step by step; see ``task.generate``, also for ``image``."""
    dtype = torch.bfloat16 if wanted.precision == "bfloat16" else torch.float32
    check_fast(model, wanted)
    return generate(
        model,
        wanted.wishes,
        wanted.seeds,
        wanted.settings,
        autocast=dtype,
        fast=wanted.fast,
        size=wanted.size,
        tile=wanted.tile,
        negative=wanted.negative,
        weak=None if wanted.weak is None else open_weaker(wanted.weak, model),
        within=None if wanted.found is None else open_classified(wanted.found, model),
        image=image,
    )


def check_fast(model: AnyModel, wanted: Request) -> None:
    """Refuses a distilled decoder that is not there."""
    if wanted.fast and model.fast is None:
        raise UserError(
            "this model has no distilled decoder to be fast with: 'carrara distill RUN --decoder' makes one"
        )


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What came out of a request, on the CPU.

    Attributes:
        samples: (N, *S).
        states: a few samples on their way, from noise to data: (n, *S) each.
    """

    wanted: Request
    samples: Tensor
    states: tuple[Tensor, ...]

    def picture(self, kind: PictureKind) -> Image.Image:
        """All samples, their way from noise, or the only sample."""
        match kind, self.samples.ndim:
            case "strip", 2:
                planes = [plots.Plane(200).points(state).picture() for state in self.states]
                return plots.sheet([planes], [""] * len(planes), [""])
            case "strip", _:
                return pixels.strip(self.states)
            case _, 2:
                return plots.scatter(self.samples, size=480)
            case "sample", _:
                return pixels.to_image(pixels.to_uint8(self.samples)[0])
            case _:
                return pixels.grid(self.samples, self.wanted.columns, row_labels=self.wanted.labels)


def collect(model: AnyModel, wanted: Request, progress: Iterable[Progress] | None = None) -> Drawn:
    """Runs a request to its end.

    Args:
        progress: what ``draw`` yields, for a caller who wants to watch it.
    """
    done: list[Tensor] = []
    states: list[Tensor] = []
    for at in draw(model, wanted) if progress is None else progress:
        if at.first == 0 and _is_shown(at.step):
            x = at.step.x
            few = x[:: max(1, len(x) // STRIP_SAMPLES)][:STRIP_SAMPLES] if x.ndim == 4 else x
            states.append(_visible(few, at.step.t, model, wanted).cpu())
        if at.pixels is not None:
            done.append(at.pixels.cpu())
    return Drawn(wanted=wanted, samples=torch.cat(done), states=tuple(states))


def _is_shown(step: SampleStep) -> bool:
    """About ``STRIP_STATES`` steps, evenly spaced, the last one among them."""
    return (step.total - 1 - step.index) % max(1, round(step.total / STRIP_STATES)) == 0


def _visible(x: Tensor, t: float, model: AnyModel, wanted: Request) -> Tensor:
    """States as pixels: noise of any scale is brought to the scale of data."""
    if not isinstance(model, DiffusionModel):
        return x
    alpha, sigma = model.config.schedule(torch.tensor(t, dtype=torch.float64))
    with torch.no_grad():
        return model.pixels(x / torch.hypot(alpha, sigma).item(), fast=wanted.fast, size=wanted.size)


def record(
    folder: Path, model: AnyModel, wanted: Request, kind: PictureKind | Literal["edit"] = "grid"
) -> dict[str, Any]:
    """What a PNG carries: enough to make it again, and to know whether the weights are still the same."""
    return made_by(folder, model, kind) | {"request": TypeAdapter(Request).dump_python(wanted, mode="json")}


def made_by(folder: Path, model: AnyModel, kind: PictureKind | Literal["edit"]) -> dict[str, Any]:
    """The part of it that says by which model."""
    return {"carrara": carrara.__version__, "run": str(folder), "weights": model.digest(), "picture": kind}


def save(folder: Path, drawn: Drawn, about: Mapping[str, Any], *, strip: bool = False) -> list[Path]:
    """Writes all samples as one ``grid.png``, each as a file of its own, and their way from noise if asked for.

    Pictures become PNGs that carry their recipe; points, and pictures that PNG cannot hold, become ``.npy``. Nothing is
    overwritten.
    """
    paths = [pixels.save_png(drawn.picture("grid"), folder / "grid.png", about)]
    if strip:
        paths.append(pixels.save_png(drawn.picture("strip"), folder / "strip.png", {**about, "picture": "strip"}))
    if drawn.samples.ndim == 4 and drawn.samples.shape[1] in (1, 3, 4):
        requests = TypeAdapter(Request)
        for k, array in enumerate(pixels.to_uint8(drawn.samples)):
            own = requests.dump_python(drawn.wanted.only(k), mode="json")
            own = {**about, "picture": "sample", "request": own}
            paths.append(pixels.save_png(pixels.to_image(array), folder / f"{k:04d}.png", own))
    else:
        path = pixels.fresh(folder / "samples.npy")
        np.save(path, drawn.samples.numpy())
        paths.append(path)
    return paths


class Pipeline:
    """A trained model from Python: ``carrara.load("runs/photos").generate("a", steps=20)``.

    Attributes:
        model: the model itself.
    """

    def __init__(self, model: AnyModel) -> None:
        self.model = model

    def samples(
        self,
        *wishes: str,
        count: int | None = None,
        seed: int = 0,
        size: Asked = None,
        tile: Asked = None,
        negative: str | None = None,
        weak: Path | str | None = None,
        **changes: Any,
    ) -> Tensor:
        """Draws samples as tensors, (N, *S), pictures in about [-1, 1].

        Args:
            wishes: what to draw; nothing means each class in turn, or unconditional samples.
            count: how many of each wish (4), or in all (16).
            seed: the first one's seed; the others count up.
            size: (height, width) of pictures, or one number for a square; None is the model's own.
            tile: of the windows in which the network sees them, as ``size``; None shows it the whole.
            negative: what guidance leads away from, in the place of nothing in particular.
            weak: the folder of a weaker model that guidance leads away from instead.
            changes: of the model's sampling settings: ``sampler``, ``grid``, ``steps``, ``guidance``, ``method``, ...

        Raises:
            UserError: a wish, a setting, a size or a weaker model that does not fit the model.
        """
        worse = None if weak is None else Path(weak)
        wanted = request(self.model, wishes, count, seed, changes, size=size, tile=tile, negative=negative, weak=worse)
        return collect(self.model, wanted).samples

    def generate(self, *wishes: str, count: int = 1, seed: int = 0, **changes: Any) -> list[Image.Image]:
        """Draws pictures; arguments as in ``samples``."""
        samples = self.samples(*wishes, count=count, seed=seed, **changes)
        if samples.ndim != 4 or samples.shape[1] not in (1, 3, 4):
            raise UserError("this model's samples are not pictures: call samples() for the numbers")
        return [pixels.to_image(array) for array in pixels.to_uint8(samples)]
