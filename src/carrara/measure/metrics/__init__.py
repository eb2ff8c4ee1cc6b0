"""The metrics of ``carrara evaluate``, by name: each is measured of a run, and says what it found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from carrara.evaluate import SAMPLE_METRICS
from carrara.measure.measurement import MetricResult
from carrara.measure.metrics.autoencoders import measure_reconstruction
from carrara.measure.metrics.likelihoods import measure_flow, measure_likelihood
from carrara.measure.metrics.music import measure_music
from carrara.measure.metrics.samples import (
    distance_measure,
    measure_clip_score,
    measure_memorisation,
    measure_retrieval,
)
from carrara.measure.metrics.sounds import measure_kernel, measure_spectrum
from carrara.measure.subject import Subject

__all__ = ["METRICS", "Metric"]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Something that can be measured of a run.

    Attributes:
        about: what it is, as the command's help says it.
        measure: measures it, or raises a ``UserError`` for a run that does not have it.
        shows: what is to be seen on its picture, if it has one.
    """

    about: str
    measure: Callable[[Subject], MetricResult]
    shows: str = "what was measured"


METRICS: Mapping[str, Metric] = {
    "reconstruction": Metric(
        about="PSNR, SSIM, perceptual distance, rFID, rKID, and what the latents are like",
        measure=measure_reconstruction,
        shows="held-out pictures, what the autoencoder makes of them, and the errors",
    ),
    "nll": Metric(
        about="the variational bound, in bits per dimension; of a variational autoencoder also in nats",
        measure=measure_likelihood,
        shows="what each step of the variational bound costs",
    ),
    "flow": Metric(about="the likelihood by the probability flow, which takes longer", measure=measure_flow),
    "retrieval": Metric(
        about="whether pictures drawn for 100 held-out captions are nearest to the right ones",
        measure=measure_retrieval,
        shows="the right pictures of held-out captions, and below them what the model drew",
    ),
    "clip_score": Metric(about="samples against their captions, with clip:FOLDER", measure=measure_clip_score),
    "memorisation": Metric(
        about="whether samples repeat training pictures",
        measure=measure_memorisation,
        shows="samples beside the training pictures that are nearest to them",
    ),
    "spectrum": Metric(
        about="the spectra of generated sounds against those of held-out ones, by bands",
        measure=measure_spectrum,
        shows="the mean spectra of samples and of held-out sounds",
    ),
    "kad": Metric(about="kernel distance of sounds, by their log-mel spectra over time", measure=measure_kernel),
    "music": Metric(
        about="keys, voice leading and harmony of generated music, and how near its bars are to training bars",
        measure=measure_music,
        shows="what the model composed, as piano rolls",
    ),
    **{
        name: Metric(about="samples against held-out pictures", measure=distance_measure(name))
        for name in SAMPLE_METRICS
    },
}
