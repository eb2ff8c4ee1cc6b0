r"""How well a first stage gives pictures back, and what its latents are like.

What is compared is what would be displayed: both pictures rounded to v = 0 .. 255. Per picture, with the mean over its
values, and for SSIM over the places and channels of a Gaussian window's means, variances and covariance,

.. math:: \mathrm{PSNR} = 10 \log_{10} \frac{255^2}{\operatorname{mean} (v - \hat v)^2} \text{ dB},                 (1)
.. math:: \mathrm{SSIM} = \frac{(2 \mu \hat\mu + c_1)(2 \operatorname{cov} + c_2)}
          {(\mu^2 + \hat\mu^2 + c_1)(\operatorname{var} + \widehat{\operatorname{var}} + c_2)},
          \quad c_1 = (0.01 \cdot 255)^2, \; c_2 = (0.03 \cdot 255)^2                                             (2)

(Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004). The report has their
means over the pictures, and the Fréchet and the kernel distance of all pictures from all reconstructions. A latent is
active if its posterior mean varies over the data (Burda et al., "Importance weighted autoencoders", 2016).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice, zip_longest
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from carrara.autoencoder import FirstStage, Perceptual
from carrara.autoencoder.efficientnet import as_colour
from carrara.errors import UserError
from carrara.evaluate.features import Features
from carrara.evaluate.frechet import frechet_distance, moments
from carrara.evaluate.kernel import kernel_distance
from carrara.evaluate.networks import extractor
from carrara.nn import rank_of
from carrara.pixels import displayed, grid
from carrara.ranks import from_all, rank, world
from carrara.seeds import Draws
from carrara.shapes import PerSample, Signals, cropped, spatial_of
from carrara.types import Batch

EQUAL = 100.0
"""The PSNR of pictures that are equal, in dB; none is higher."""
ACTIVE = 0.01
"""The least variance of an active latent's posterior mean, where what diffuses has variance 1."""

_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_SHOWN, _CANDIDATES, _AMPLIFIED = 4, 32, 8
_VISIBLE = (1, 3, 4)  # the channels of pictures that a network can look at


def psnr(x: Signals, y: Signals) -> PerSample:
    """Equation (1), in dB: at most ``EQUAL``."""
    error = (displayed(x) - displayed(y)).square().flatten(1).mean(1)
    return (10 * torch.log10(255**2 / error)).clamp(max=EQUAL)


def ssim(x: Signals, y: Signals) -> PerSample:
    """Equation (2), in [-1, 1].

    The window has 11 x 11 values (in sounds and volumes 11 along each axis) and a standard deviation of 1.5, and lies
    within the picture; for a smaller picture it is the largest that does.
    """
    v, w = displayed(x), displayed(y)
    kernel = _gaussian(min(_WINDOW, *x.shape[2:])).to(v)
    means = [_filtered(image, kernel) for image in (v, w, v * v, w * w, v * w)]
    m, n = means[:2]
    variances = means[2] - m * m + means[3] - n * n
    likeness = (2 * m * n + _C1) * (2 * (means[4] - m * n) + _C2)
    return (likeness / ((m * m + n * n + _C1) * (variances + _C2))).flatten(1).mean(1)


def active_channels(std: Tensor) -> int:
    """How many latents vary: of the standard deviations (C,) of their posterior means, in units of what diffuses."""
    return int((std.square() > ACTIVE).sum())


@dataclass(frozen=True, kw_only=True)
class ReconstructionReport:
    """What a first stage did to some pictures. None is what could not be measured, or does not apply.

    Attributes:
        n: how many pictures.
        psnr, ssim: means over the pictures; dB, and up to 1.
        perceptual, perceptual_name: the mean perceptual distance, and whose.
        rfid, rkid, rkid_error: Fréchet distance, unbiased kernel distance of pairs, and its standard error.
        features_name: whose features these two compare.
        latent_mean, latent_std: of the latents that diffuse, drawn from the posterior, per channel.
        active: channels whose posterior mean varies.
        codebook_usage, perplexity: the part of the codes that occur, and how many codes used equally were as rich.
        layer_kl: nats per picture in each layer, next to the pixels first.
        picture: originals, reconstructions, and errors, the worst ones and typical ones; None of sounds and volumes.
    """

    n: int
    psnr: float
    ssim: float
    perceptual: float | None = None
    perceptual_name: str | None = None
    rfid: float | None = None
    rkid: float | None = None
    rkid_error: float | None = None
    features_name: str | None = None
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    active: int
    codebook_usage: float | None = None
    perplexity: float | None = None
    layer_kl: tuple[float, ...] | None = None
    picture: Image.Image | None

    def data(self) -> Mapping[str, Any]:
        """All but the picture, as JSON has it."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "picture"}

    def lines(self) -> list[str]:
        """A table for a terminal: a name, a number, and what it means."""
        rows = [("PSNR", f"{self.psnr:.2f} dB", f"mean over {self.n} pictures, at 8 bits")]
        rows += [("SSIM", f"{self.ssim:.4f}", "")]
        if self.perceptual is not None:
            rows += [("perceptual", f"{self.perceptual:.4f}", self.perceptual_name or "")]
        if self.rfid is not None:
            rows += [("rFID", f"{self.rfid:.3f}", f"{self.features_name}; {self.n} pictures")]
        if self.rkid is not None:
            rows += [("rKID", f"{self.rkid:.2e} ± {self.rkid_error:.0e}", "unbiased; the same features")]
        rows += [
            ("latent mean", _span(self.latent_mean), "of what diffuses, by channel"),
            ("latent std", _span(self.latent_std), ""),
            ("active", f"{self.active} of {len(self.latent_std)}", "channels that tell pictures apart"),
        ]
        if self.codebook_usage is not None:
            rows += [("codes in use", f"{self.codebook_usage:.1%}", f"perplexity {self.perplexity:.0f}")]
        if self.layer_kl is not None:
            rows += [("KL by layer", " + ".join(f"{nats:.2f}" for nats in self.layer_kl), "nats per picture")]
        width = max(len(value) for _, value, _ in rows)
        return [f"{name:<12}  {value:<{width}}  {note}".rstrip() for name, value, note in rows]


@torch.no_grad()
def reconstruction(
    first_stage: FirstStage,
    batches: Iterable[Batch],
    perceptual: Perceptual | None = None,
    features: Features | None = None,
) -> ReconstructionReport:
    """Sends pictures through a first stage and back, by the mode of the posterior, and measures what comes out.

    Batches are taken one at a time and not kept: memory holds one of them, a vector of features for each picture, and
    the few pictures that are shown. Without 1, 3 or 4 channels they have neither perceptual distance nor features;
    nor do sounds and volumes, which are not shown either. All ranks call it with the same batches, and share the work.

    Args:
        first_stage: on its device, in evaluation mode.
        batches: of pictures, sounds or volumes, on the same device.
        perceptual: on that device too; None is not measured.
        features: of rFID and rKID; None is EfficientNet-lite0 at 224 pixels.

    Raises:
        UserError: there are no pictures, or these are not pictures.
    """
    tally: _Tally | None = None

    def measured() -> _Found | None:
        nonlocal tally
        for batch in islice(batches, rank(), None, world()):
            if not spatial_of(batch.x.shape[1:]):
                raise UserError("reconstruction is of pictures, and these data are points: measure nll instead")
            if tally is None:
                seen = batch.x.ndim == 4 and batch.x.shape[1] in _VISIBLE
                looking = features or extractor().to(batch.x.device) if seen else None
                tally = _Tally(first_stage, perceptual if seen else None, looking)
            tally.add(batch)
        return None if tally is None else tally.found

    parts = [part for part in from_all(measured) if part is not None]
    if not parts:
        raise UserError("there are no pictures to measure: hold some of the data out, with data.held_out")
    return _joined(parts).report()


class _Tally:
    """Measures one batch after the other."""

    def __init__(self, stage: FirstStage, perceptual: Perceptual | None, features: Features | None) -> None:
        self.stage, self.perceptual, self.features = stage, perceptual, features
        self.found = _Found(
            perceptual=None if perceptual is None else perceptual.name,
            features=None if features is None else features.name,
        )

    def add(self, batch: Batch) -> None:
        """Measures some pictures."""
        x, draws = batch.x, Draws(0, batch.position)
        raw = self.stage.encode_raw(x)
        mode = self.stage.latents(raw, None)
        y = cropped(self.stage.decode(mode), x.shape[2:]).clamp(-1, 1)
        self.found.modes.add(mode)
        self.found.drawn.add(self.stage.latents(raw, draws))
        values = psnr(x, y)
        if x.ndim == 4:
            self.found.gallery.add(values, x, y)
        self._score(psnr=values, ssim=ssim(x, y))
        if self.perceptual is not None:
            self._score(perceptual=self.perceptual(x, y))
        if self.features is not None:
            self._score(features=torch.stack([self.features(x), self.features(y)], dim=1))
        if (nats := self.stage.layer_kl(x, draws)) is not None:
            self._score(kl=nats)
        if (codes := self.stage.code_counts(raw)) is not None:
            self._score(codes=codes[None])

    def _score(self, **values: Tensor) -> None:
        for name, value in values.items():
            self.found.scores.setdefault(name, []).append(value.cpu())


@dataclass
class _Found:
    """What was measured so far.

    Attributes:
        scores: by name, of each batch: (B, ...), but for the codes' counts, (1, K).
        drawn, modes: of the latents.
        perceptual, features: the names of the networks that looked.
    """

    scores: dict[str, list[Tensor]] = field(default_factory=dict[str, list[Tensor]])
    drawn: "_Spread" = field(default_factory=lambda: _Spread())
    modes: "_Spread" = field(default_factory=lambda: _Spread())
    gallery: "_Gallery" = field(default_factory=lambda: _Gallery())
    perceptual: str | None = None
    features: str | None = None

    def report(self) -> ReconstructionReport:
        """Sums up."""
        scores = {name: torch.cat(parts) for name, parts in self.scores.items()}
        codes = scores.pop("codes", None)
        means = {name: score.double().mean(0) for name, score in scores.items()}
        return ReconstructionReport(
            n=len(scores["psnr"]),
            psnr=means["psnr"].item(),
            ssim=means["ssim"].item(),
            **self._as_seen(scores, means),
            latent_mean=tuple(self.drawn.mean.tolist()),
            latent_std=tuple(self.drawn.std.tolist()),
            active=active_channels(self.modes.std),
            **_use_of(codes),
            layer_kl=tuple(means["kl"].tolist()) if "kl" in means else None,
            picture=self.gallery.picture(),
        )

    def _as_seen(self, scores: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> dict[str, Any]:
        """What networks say."""
        found: dict[str, Any] = {}
        if self.perceptual is not None:
            found |= {"perceptual": means["perceptual"].item(), "perceptual_name": self.perceptual}
        if self.features is not None and len(scores["features"]) > 1:
            x, y = scores["features"].unbind(1)
            rkid = kernel_distance(x, y, paired=True)
            found |= {"rfid": frechet_distance(moments([x]), moments([y])), "features_name": self.features}
            found |= {"rkid": rkid.value, "rkid_error": rkid.error}
        return found


def _joined(parts: Sequence[_Found]) -> _Found:
    """What the ranks found, of which each had every ``len(parts)``-th batch."""
    first, *others = parts
    for name, scores in first.scores.items():
        each = zip_longest(scores, *(other.scores[name] for other in others))
        first.scores[name] = [score for turn in each for score in turn if score is not None]
    for other in others:
        first.drawn.sums = first.drawn.sums + other.drawn.sums
        first.modes.sums = first.modes.sums + other.modes.sums
        first.gallery.join(other.gallery)
    return first


def _use_of(counts: Tensor | None) -> dict[str, Any]:
    """From how often each code occurred, (N, K)."""
    if counts is None:
        return {}
    codes = counts.sum(0)
    share = codes.double() / codes.sum()
    entropy = -torch.xlogy(share, share).sum()
    return {"codebook_usage": (codes > 0).double().mean().item(), "perplexity": entropy.exp().item()}


class _Spread:
    """Mean and standard deviation per channel of latents (B, C, ...), in float64."""

    def __init__(self) -> None:
        self.sums = torch.zeros(3, 1, dtype=torch.float64)

    def add(self, z: Tensor) -> None:
        rows = z.transpose(0, 1).flatten(1).double().cpu()
        self.sums = self.sums + torch.stack([torch.full_like(rows[:, 0], rows.shape[1]), rows.sum(1), (rows**2).sum(1)])

    @property
    def mean(self) -> Tensor:
        return self.sums[1] / self.sums[0]

    @property
    def std(self) -> Tensor:
        return (self.sums[2] / self.sums[0] - self.mean.square()).clamp(min=0).sqrt()


@dataclass(frozen=True, eq=False)
class _Example:
    """A picture and its reconstruction, (2, C, H, W): the ``number``-th one, and its PSNR."""

    number: int
    value: float
    pair: Tensor


class _Gallery:
    """The worst pictures, and of the first ones those nearest to the median: few are kept."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.worst: list[_Example] = []
        self.first: list[_Example] = []

    def add(self, values: PerSample, x: Signals, y: Signals) -> None:
        """Keeps what is worth it."""
        numbers = range(len(self.values), len(self.values) + len(x))
        new = [_Example(*found) for found in zip(numbers, values.tolist(), _pairs(x, y), strict=True)]
        self.values += [example.value for example in new]
        self.worst = sorted(self.worst + new, key=lambda example: example.value)[:_SHOWN]
        self.first += new[: _CANDIDATES - len(self.first)]

    def join(self, other: "_Gallery") -> None:
        """Adds what became of later pictures."""
        self.values += other.values
        self.worst = sorted(self.worst + other.worst, key=lambda example: example.value)[:_SHOWN]

    def picture(self) -> Image.Image | None:
        """Three rows: as it was, as it came back, and how they differ; None of nothing."""
        if not self.values:
            return None
        median = torch.tensor(self.values).median().item()
        ranked = sorted(self.first, key=lambda example: abs(example.value - median))
        usual = [example for example in ranked if example not in self.worst][:_SHOWN]
        x, y = torch.stack([example.pair for example in self.worst + usual]).unbind(1)
        error = _AMPLIFIED * (x - y).abs() - 1
        labels = [f"worst {example.value:.1f}" for example in self.worst]
        labels += [f"usual {example.value:.1f}" for example in usual]
        rows = ("original", "again", f"error x {_AMPLIFIED}")
        return grid(torch.cat([x, y, error]), columns=len(x), row_labels=rows, column_labels=labels)


def _pairs(x: Signals, y: Signals) -> list[Tensor]:
    """(2, C, H, W) each, on the CPU, as a person would see them."""
    seen = [as_colour(images) if images.shape[1] in _VISIBLE else images for images in (x, y)]
    return [pair.clone() for pair in torch.stack(seen, dim=1).cpu()]


def _gaussian(edge: int) -> Tensor:
    """The window, (edge,) or one less so that it has a middle; its outer product has the sum 1."""
    reach = (edge - 1) // 2
    weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / _SIGMA).square())
    return weight / weight.sum()


def _filtered(image: Signals, kernel: Tensor) -> Tensor:
    """The means of each channel under the window, wherever it lies within the picture: (B, C, *n)."""
    planes, spatial = image.flatten(0, 1)[:, None], image.ndim - 2
    for axis in range(spatial):
        along = kernel.reshape(*[1] * (2 + axis), -1, *[1] * (spatial - axis - 1))
        planes = rank_of(image).convolved(planes, along)
    return planes.unflatten(0, image.shape[:2]).squeeze(2)


def _span(values: tuple[float, ...]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"
