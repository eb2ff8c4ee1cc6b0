"""A drawing: a model, what it is asked, and the one function that samplers and edits call.

``Drawing.denoise`` makes of a request the model's estimate, with its guidance, its windows and its precision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import final

import torch
from torch import Tensor

from carrara.backbone import Layered, Memory, Reusing, agree
from carrara.denoiser import Denoiser
from carrara.draw.request import Request, check_cache, check_fast
from carrara.draw.wishes import spoken
from carrara.errors import UserError, command
from carrara.medium import Picture, PictureMedium, Size
from carrara.model import DiffusionModel, Model
from carrara.nn import lowered
from carrara.sample import Both, SampleSettings, tiled
from carrara.shapes import Signals, spatial_of
from carrara.store import OpenModel
from carrara.store.adapters import added
from carrara.types import Conditioning, DenoiseFn, Wrapper

_ALONE = (
    "this run is an autoencoder without diffusion, so it cannot draw anything new: train diffusion on it "
    f"(model.first_stage.run=RUN), or look at what it keeps with '{command('edit RUN reconstruct')}'"
)
Side = tuple[DiffusionModel, Sequence[str | None], Tensor | None]
"""Who is asked, what it is told, and what it sees."""
TOGETHER = 16
"""Samples whose two sides of guidance are asked in one call; of more, two calls are as fast, in half the memory."""


@final
@dataclass(frozen=True, kw_only=True)
class BoundDenoiser:
    """A ``DenoiseFn`` of a network that is told ``cond``.

    Attributes:
        network: as it is to be called in ``autocast``; see ``nn.lowered``.
        autocast: what it multiplies in. The context lasts one call, not from one step to the next.
        memories: of deep features, one for each equal part of a batch; none where each call computes everything.
    """

    network: Denoiser
    cond: Conditioning
    autocast: torch.dtype = torch.float32
    memories: tuple[Memory, ...] = ()

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(x_t.device.type, self.autocast, enabled=self.autocast is not torch.float32):
            return self._reusing(x_t, t, self.cond)

    @property
    def _reusing(self) -> Denoiser:
        backbone = self.network.backbone
        if not self.memories:
            return self.network
        assert isinstance(backbone, Layered)
        return self.network.through(Reusing(backbone, self.memories))


def together(cond: DenoiseFn, null: DenoiseFn) -> Both | None:
    """The two sides of guidance, of few samples by one call; None where no network answers both."""
    if not (isinstance(cond, BoundDenoiser) and isinstance(null, BoundDenoiser) and null.network is cond.network):
        return None
    memories = cond.memories + null.memories
    pair = replace(cond, cond=cond.cond.then(null.cond), memories=memories)

    def both(x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        if len(x_t) > TOGETHER:
            agree(memories, len(x_t))  # so that samples are the same in any batch
            return cond(x_t, t), null(x_t, t)
        ours, theirs = pair(torch.cat([x_t, x_t]), torch.cat([t, t]) if t.ndim else t).chunk(2)
        return ours, theirs

    return both


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What is asked of a diffusion model, opened.

    Attributes:
        weak: a weaker model on the same schedule and latents, told the same, that guidance leads away from.
        within: what becomes of the model's estimates of latents besides, as by a classifier or a measurement.
        image: (N, C', h, w) what the network sees beside its input, from ``model.image``.
        forms: of networks, in which they are asked. They have the weights of when they were first asked: make another
            drawing after these have changed.
    """

    model: DiffusionModel
    request: Request
    weak: DiffusionModel | None = None
    within: Wrapper | None = None
    image: Tensor | None = None
    forms: dict[Denoiser, Denoiser] = field(default_factory=dict[Denoiser, Denoiser], repr=False, compare=False)

    @property
    def settings(self) -> SampleSettings:
        """How it goes from noise to data."""
        return self.request.settings

    @property
    def seeds(self) -> tuple[int, ...]:
        """One for each sample."""
        return self.request.seeds

    @property
    def own_size(self) -> Size:
        """The size of the pictures that are asked for: the model's own, unless another one is."""
        return self.request.pixel_size or self.model.size

    def fitted(self, image: Picture) -> Signals:
        """A picture brought to ``own_size``, (1, C, H, W) in [-1, 1]; errors as of ``brought``."""
        self.model.latents_of(self.own_size)
        return self.model.medium.tensor(image, self.model.shape, self.own_size)

    def brought(self, image: Picture, enlarged: int = 1) -> Signals:
        """A picture at its own size, or brought to the one that is asked for, (1, C, H, W) in [-1, 1].

        Args:
            enlarged: how many times larger than it is what the model will make.

        Raises:
            UserError: it has other channels, or the model cannot make pictures of this size.
        """
        if (size := self.request.pixel_size) is not None:
            self.model.latents_of(tuple(enlarged * edge for edge in size))
        return self.model.medium.tensor(image, self.model.shape, size)

    def network(self, model: DiffusionModel) -> Denoiser:
        """A model's network in the form that is asked, made once for all batches."""
        if model.denoiser not in self.forms:
            plain, autocast = model.denoiser.in_steps(self.settings.steps), self.request.autocast
            self.forms[model.denoiser] = plain if autocast is torch.float32 else lowered(plain, autocast)
        return self.forms[model.denoiser]

    def asked(self, **changes: object) -> "Drawing":
        """The same with another request."""
        return replace(self, request=replace(self.request, **changes))

    def part(self, part: slice) -> "Drawing":
        """The same for some of the samples."""
        return replace(self, request=self.request.part(part), image=None if self.image is None else self.image[part])

    def batches(self, shape: Sequence[int], batch: int, count: int | None = None) -> Iterator[slice]:
        """Cuts the samples, or ``count``, into parts: ``batch`` of the model's own size, fewer of a larger ``shape`` of
        latents."""
        own, count = prod(self.model.latent_shape), len(self.seeds) if count is None else count
        size = max(1, batch * own // max(prod(shape), own))
        yield from (slice(first, first + size) for first in range(0, count, size))

    def denoise(self) -> DenoiseFn:
        """The model's estimate for all samples.

        Raises:
            UserError: a wish that the model does not understand, guidance that cannot be, or a picture to see too few
                or too many.
        """
        model, request = self.model, self.request
        check_guidance(model, request, self.weak)
        check_cache(request, model, *(() if self.weak is None else (self.weak,)))
        _check_image(model, self.image)
        window = () if request.window is None else model.latents_of(request.window)[1:]
        with torch.no_grad():
            sides = (model, request.wishes, self.image), self._other_side()
            cond, null = (self._estimate(side, window) for side in sides)
        return self.settings.wrap(cond, null, model.config.schedule, self.within, together(cond, null))

    def _other_side(self) -> Side:
        """Who is asked for what guidance leads away from; without words or a weaker model it sees nothing."""
        model, seen = self.model, self.image
        if self.weak is not None:
            return self.weak, self.request.wishes, seen
        if seen is not None and model.conditioner.column is None:
            seen = torch.zeros_like(seen)
        return model, [self.request.negative] * len(self.seeds), seen

    def _estimate(self, side: Side, window: Size) -> DenoiseFn:
        """What a side answers, by windows of this size if there is one."""
        model, wishes, image = side
        network = self.network(model)
        image = None if image is None else image.to(model.device)

        def bound(said: Conditioning) -> DenoiseFn:
            told = replace(said, image=image)
            estimate = BoundDenoiser(
                network=network, cond=told, autocast=self.request.autocast, memories=self._memories()
            )
            return _by_windows(estimate, model.latent_shape[0], window) if window else estimate

        return spoken(model, wishes, bound)

    def _memories(self) -> tuple[Memory, ...]:
        """A new one for an estimate, if anything is to be remembered."""
        every = self.request.cache or 1
        return (Memory(every),) if every > 1 else ()


def open_drawing(opened: OpenModel, request: Request, image: Tensor | None = None) -> Drawing:
    """Opens what a request of a diffusion model names.

    Args:
        image: what the network sees beside its input, of latents of the request's size.

    Raises:
        UserError: a rival is gone or has learned since, or there is no distilled decoder to be fast with.
    """
    check_fast(opened.model, request.fast)
    rivals = opened.rivals(request.weak, request.guide)
    model = opened.model.diffusion(_ALONE)
    model = added(model, request.adapters) if request.adapters else model
    return Drawing(model=model, request=request, weak=rivals.weak, within=rivals.within, image=image)


def editable(model: Model, *, pictures: bool = True) -> DiffusionModel:
    """The model, if it can draw over pictures, or over whatever its samples are.

    Args:
        pictures: whether it is done to pictures alone.

    Raises:
        UserError: it makes no pictures, is an autoencoder alone, or knows no other way than its own few steps.
    """
    diffusion = model.diffusion(_ALONE)
    if not isinstance(model.medium, PictureMedium) and (pictures or spatial_of(model.shape) == 0):
        makes = f"this model makes {model.medium.name}, and pictures are edited"
        raise UserError(f"{makes}: take a model that was trained on pictures")
    if model.few_steps is not None:
        raise UserError(
            f"this model goes from noise to a picture in {model.few_steps} steps and no other way: edit with "
            f"{model.unhurried}"
        )
    return diffusion


def check_noise(model: Model, what: str) -> None:
    """Refuses a model of levels for what goes by way of Gaussian noise.

    Raises:
        UserError: it is one.
    """
    if model.first_stage.levels is not None:
        raise UserError(
            f"{what} goes by way of noise, and this model of levels goes from masks: it inpaints, outpaints and draws "
            "again (img2img)"
        )


def check_guidance(model: Model, request: Request, weak: DiffusionModel | None) -> None:
    """Refuses what guidance cannot lead away from."""
    if request.negative is None and weak is None:
        return
    what = "a negative prompt" if weak is None else "a weaker model"
    if request.negative is not None and weak is not None:
        raise UserError("guidance leads away from a negative prompt or from a weaker model, not both: leave one out")
    if not model.diffuses:
        raise UserError(f"{what} is for guidance, and this model samples in one step, without it: leave it out")
    if weak is None and not model.guidable:
        raise UserError(f"{what} needs a model with a condition, and this one is unconditional: leave it out")
    if request.settings.guidance == 1:
        raise UserError(f"{what} does nothing at guidance 1, which is off: ask for more guidance, or leave it out")


def _check_image(model: DiffusionModel, image: Tensor | None) -> None:
    if model.image is not None and image is None:
        raise UserError(f"this model {model.image.asked}")
    if model.image is None and image is not None:
        raise UserError("this model sees no picture beside its input: train one that does, with model.image")


def _by_windows(estimate: BoundDenoiser, channels: int, window: Size) -> DenoiseFn:
    """The same of a canvas with so many channels; the network sees the part of the image that is beside a window."""
    cond = estimate.cond

    def of_window(x_t: Tensor, t: Tensor) -> Tensor:
        beside = None if cond.image is None else x_t[:, channels:]
        return replace(estimate, cond=replace(cond, image=beside))(x_t[:, :channels], t)

    return tiled(of_window, window, beside=cond.image)
