"""What generated sounds are like beside held-out ones."""

from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import Tensor

from carrara import evaluate
from carrara.errors import UserError, option
from carrara.evaluate.scores import FEWEST
from carrara.evaluate.spectra import SpectralFeatures, spectra_of, spectral_report
from carrara.measure.measurement import MetricResult
from carrara.measure.run_data import EXAMPLES_AT_ONCE
from carrara.measure.subject import Subject
from carrara.modality import Sound
from carrara.plots import Chart, Line
from carrara.sounds import decibels, frequencies


def measure_spectrum(subject: Subject) -> MetricResult:
    """How far the mean spectrum of samples is from that of held-out sounds, by bands of frequencies."""
    rate = _rate(subject)
    fake, real = spectra_of(subject.samples.drawn.split(EXAMPLES_AT_ONCE)), spectra_of(_held_out(subject))
    report = spectral_report(fake, real, rate)
    f = frequencies(rate, 2 * (fake.shape[1] - 1)).tolist()
    split = f"{subject.data.adjective} sounds"
    curves = [(split, real), ("samples", fake)]
    lines = [Line(name=name, x=f[1:], y=decibels(spectra.mean(0)).tolist()[1:]) for name, spectra in curves]
    chart = Chart(title="Mean spectra", lines=lines, x_label="frequency in Hz", y_label="power in dB", log_x=True)
    return MetricResult(
        lines=[*report.lines(), f"compared      {len(fake)} samples, {len(real)} {split}"],
        data={**report.data(), "split": split, **subject.samples.record},
        picture=chart.picture(),
    )


def measure_kernel(subject: Subject) -> MetricResult:
    """The kernel distance of samples and held-out sounds, of fixed spectral features."""
    features = SpectralFeatures(_rate(subject), subject.model.shape[1])
    count, held, split = subject.settings.samples, len(subject.data.held_out), f"{subject.data.adjective} sounds"
    if min(count, held) < FEWEST:
        raise UserError(
            f"{count} samples and {held} {split} are too few to compare: take {FEWEST} of each or more "
            f"({option('samples')}, and data.held_out in training)"
        )
    fake = torch.cat(list(evaluate.extract(features, subject.samples.drawn.split(EXAMPLES_AT_ONCE))))
    real = torch.cat(list(evaluate.extract(features, _held_out(subject))))
    found = evaluate.kernel_distance(fake, real)
    return MetricResult(
        lines=[
            f"kad           {found.value:.4g} ± {found.error:.1g}    one standard error; unbiased; 0 is perfect",
            f"features      {features.name}",
            f"compared      {len(fake)} samples, {len(real)} {split}",
        ],
        data={
            "kad": asdict(found),
            "features": features.name,
            "fake": len(fake),
            "real": len(real),
            "split": split,
            **subject.samples.record,
        },
    )


def _rate(subject: Subject) -> int:
    """Samples a second.

    Raises:
        UserError: the run makes no sounds.
    """
    modality = subject.model.config.modality
    if not isinstance(modality, Sound):
        raise UserError(f"spectra are of sounds, and '{subject.folder}' makes {subject.model.medium.name}")
    return modality.rate


def _held_out(subject: Subject) -> Iterator[Tensor]:
    return (batch.x.cpu() for batch in subject.data.batches(what="spectra of the held-out sounds"))
