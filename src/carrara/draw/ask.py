"""What a user asks of a model, as it is said: the one place where the options of drawing stand.

The fields of ``Ask`` and what its docstrings say of them are the options of the command, the keyword arguments in
Python and the schema of whatever comes; ``request`` makes of them what a model can draw, and refuses what it cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from carrara.draw.request import Request, Terms, check_cache, check_seed, cycled
from carrara.draw.wishes import parts_of
from carrara.errors import UserError, option
from carrara.medium import suited
from carrara.model import Model
from carrara.sample import AnyGrid, AnyMethod, AnySampler, SampleSettings, grid, method, sampler
from carrara.store import OpenModel
from carrara.store.adapters import named
from carrara.store.rivals import EARLY_GUIDANCE

MOST_SAMPLES = 100_000
"""Samples of a request."""


@dataclass(frozen=True, kw_only=True)
class Ask(Terms):
    """What to draw, and how.

    Attributes:
        prompts: What to draw: words, in which (words:1.3) count more; or labels, several at once (a+b), mixtures
            (a:0.5+b:0.5), or vectors (0.2,-1). Bars join several, "a | b", which may have weights, "a::0.7 | b::0.3".
            Nothing in particular, if not given.
        count: How many: in all (16), or of each prompt or picture (4).
        seed: The first sample's seed; the others count up. A seed's sample is the same in any batch.
        sampler: ddpm, ddim, euler, euler_a, heun, dpmpp, dpmpp_sde, unipc or lms; any model works with any of them.
        grid: Where the sampler stops on its way: uniform, trailing, leading, quadratic or karras.
        steps: How many steps lead from noise to data; an edit that begins later makes the rest of them.
        guidance: Guidance scale: 1 = off, larger = more of what was asked for.
        method: How guidance goes beyond what was asked for: cfg, apg (saturates less) or cfg_zero (for flows).
        interval: The times between which guidance acts, as in 0.2 0.8; 0 is data, 1 is noise.
        rescale: How far to undo guidance's change of contrast, 0 to 1.
        clip: Keep estimates of pixels in their range.
        threshold: The percentile of dynamic thresholding, as in 0.995, in the place of clipping.
        weak: A weaker model of the same data that guidance leads away from: a run's folder, or an early checkpoint's.
        classifier: The run of a classifier that guides to a class. The model itself need not know any classes.
        label: The class that the classifier shall find.
        classifier_scale: How much the classifier counts: 1 = as probability says, larger = surer.
        lora: An adapter that is added to the model, several if given several times: a run that has learned one, or a
            folder or file of peft's, diffusers' or kohya's; FILE:0.8 takes 0.8 of it.

    Raises:
        UserError: a count, a seed or a size that is none, or a label that nobody could find.
    """

    prompts: tuple[str, ...] = ()
    count: int | None = None
    seed: int = 0
    sampler: str | AnySampler | None = None
    grid: str | AnyGrid | None = None
    steps: int | None = None
    guidance: float | None = None
    method: str | AnyMethod | None = None
    interval: tuple[float, float] | None = None
    rescale: float | None = None
    clip: bool | None = None
    threshold: float | None = None
    weak: Path | str | None = None
    classifier: Path | str | None = None
    label: str | None = None
    classifier_scale: float = 1.0
    lora: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label is not None and self.classifier is None:
            raise UserError(
                f"who shall find '{self.label}'? Name a trained classifier, too: {option('classifier', 'RUN')}"
            )
        if self.count is not None and self.count < 1:
            raise UserError(f"{self.count} samples are none: ask for at least 1")
        if self.count is not None and self.count > MOST_SAMPLES:
            raise UserError(
                f"{self.count} samples are too many at once: ask for at most {MOST_SAMPLES}, and more with another "
                f"{option('seed')}"
            )
        check_seed(self.seed)

    @property
    def changes(self) -> dict[str, Any]:
        """What is said of the sampling settings."""
        said = {field.name: getattr(self, field.name) for field in fields(SampleSettings)}
        return {name: value for name, value in said.items() if value is not None}

    def unless(self, **usual: Any) -> "Ask":
        """The same with ``usual`` in the place of what is not said."""
        return replace(self, **{name: value for name, value in usual.items() if getattr(self, name) is None})


def request(opened: OpenModel, ask: Ask) -> Request:
    """Makes a request of samples: a row for each prompt; without one each class in turn, or unconditional samples.

    Raises:
        UserError: a prompt, a setting, a size or a rival that does not fit the model.
    """
    count = ask.count or (4 if ask.prompts else 16)
    wishes = [prompt for prompt in ask.prompts for _ in range(count)] or cycled(opened.model, count)
    return _request(opened, ask, wishes, tuple(ask.seed + k % count for k in range(len(wishes))), count)


def request_each(opened: OpenModel, ask: Ask) -> Request:
    """Makes a request of what is made of one picture: a result for each seed.

    Raises:
        UserError: as ``request``, or it asks for more than one thing.
    """
    if len(ask.prompts) > 1:
        raise UserError(f"{len(ask.prompts)} prompts are too many for a picture: say one, in which bars join several")
    count = ask.count or 4
    prompt = ask.prompts[0] if ask.prompts else None
    made = _request(opened, ask, [prompt] * count, tuple(range(ask.seed, ask.seed + count)), count)
    for size in (made.pixel_size, made.window):
        opened.model.latents_of(size)  # refuses what cannot be made before pictures are brought to it
    return made


def _request(
    opened: OpenModel, ask: Ask, wishes: Sequence[str | None], seeds: tuple[int, ...], columns: int
) -> Request:
    model, weak, changes = opened.model, ask.weak, ask.changes
    if weak is None and ask.negative is None and ask.guidance != 1 and (weak := model.earlier_self) is not None:
        changes = {**EARLY_GUIDANCE, **changes}
    for prompt in ask.prompts:
        for part in parts_of(model.conditioner, prompt):
            model.conditioner.parse(part.text)
    chosen = settings(model, changes, guided=weak is not None)
    check_cache(ask, model)
    judge = None if ask.classifier is None else Path(ask.classifier)
    return Request(
        wishes=tuple(wishes),
        seeds=seeds,
        settings=chosen,
        columns=columns if ask.prompts else None,
        labels=ask.prompts,
        fast=ask.fast,
        cache=ask.cache,
        size=suited(ask.pixel_size, len(model.size)),
        tile=suited(ask.window, len(model.size)),
        negative=ask.negative,
        weak=None if weak is None else opened.weaker(Path(weak)),
        guide=None if judge is None else opened.guide(judge, ask.label, ask.classifier_scale),
        adapters=named(ask.lora, model) if ask.lora else (),
    )


def settings(model: Model, changes: dict[str, Any], guided: bool = False) -> SampleSettings:
    """The model's own sampling settings with some changed; samplers, grids and methods of guidance may be named.

    Heun's method takes the Karras grid unless another one is named: it was made for it, and overshoots on others.

    Args:
        guided: by another model, so that guidance needs no condition.

    Raises:
        UserError: there is no such sampler, grid or method, or they do not fit the model.
    """
    named = dict(changes)
    if isinstance(named.get("sampler"), str):
        named["sampler"] = sampler(named["sampler"])
        if named["sampler"].kind == "heun":
            named.setdefault("grid", "karras")
    for key, make in (("grid", grid), ("method", method)):
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
    if model.few_steps is not None and chosen != model.settings(steps=chosen.steps if model.spans else None):
        raise UserError(
            f"this model draws in {model.few_steps} steps, and only as it was made to: leave sampler, steps, "
            f"guidance and the like out, or sample {model.unhurried}"
        )
    return chosen
