"""The chirps of benchmarks/sounds.py: of every pitch alike."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from carrara.evaluate.spectra import spectra_of, spectral_report
from sounds import LENGTH, LEVEL, RATE, chirps


def spectra(count: int, first: int) -> torch.Tensor:
    return spectra_of([torch.from_numpy(chirps(count, first))[:, None]], 256)


def test_chirps_are_of_every_pitch() -> None:
    made = chirps(50)
    assert made.shape == (50, LENGTH)
    assert np.array_equal(chirps(20, 30), made[30:])
    report = spectral_report(spectra(1500, 0), spectra(1500, 5000), RATE)
    levels = np.array([10 ** (band.level / 10) for band in report.bands])
    assert levels.sum() == pytest.approx(LEVEL**2 / 2, rel=0.05)
    assert levels.max() / levels.min() < 2.5, "bands hold about as much as each other"
    assert all(abs(band.ratio - 1) < 4 * band.error for band in report.bands)
