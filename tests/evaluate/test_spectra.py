"""Spectral distances, against sounds whose spectra are known."""

import math

import pytest
import torch

from carrara.evaluate.kernel import kernel_distance
from carrara.evaluate.spectra import SpectralFeatures, spectra_of, spectral_report

RATE = 8000
TIME = torch.arange(4096) / RATE


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(count, 1, 4096, generator=torch.Generator().manual_seed(seed))


def sines(frequencies: torch.Tensor) -> torch.Tensor:
    return torch.sin(2 * math.pi * frequencies[:, None] * TIME)[:, None]


def test_equal_sets_are_equal() -> None:
    found = spectral_report(spectra_of([noise(5)]), spectra_of(noise(5).split(2)), RATE)
    assert found.distance == pytest.approx(0, abs=1e-5)
    assert [band.ratio for band in found.bands] == pytest.approx([1] * 8)


def test_a_gain_of_two_is_six_decibels() -> None:
    x = noise(4)
    found = spectral_report(spectra_of([2 * x]), spectra_of([x]), RATE)
    decibels = 20 * math.log10(2)
    assert found.distance == pytest.approx(decibels, abs=1e-4)
    assert [band.distance for band in found.bands] == pytest.approx([decibels] * 8, abs=1e-4)
    assert [band.ratio for band in found.bands] == pytest.approx([4] * 8, rel=1e-5)
    assert found.worst == pytest.approx(3, rel=1e-5)


@pytest.mark.parametrize(("frequency", "band"), [(100, 0), (300, 1), (1000, 3), (3500, 7)])
def test_a_sine_is_in_its_band(frequency: float, band: int) -> None:
    found = spectral_report(spectra_of([noise(4)]), spectra_of([sines(torch.tensor([frequency]))]), RATE)
    levels = [band.level for band in found.bands]
    assert found.bands[band].low < frequency < found.bands[band].high
    assert levels[band] == pytest.approx(10 * math.log10(0.5), abs=0.2)
    assert all(level < levels[band] - 20 for k, level in enumerate(levels) if k != band)


def test_a_band_that_is_missing_is_seen_there_alone() -> None:
    f = torch.fft.rfftfreq(4096, 1 / RATE)
    x = noise(40)
    cut = torch.fft.irfft(torch.fft.rfft(x) * ~((f > 1150) & (f < 1560)), 4096)
    found = spectral_report(spectra_of([cut]), spectra_of([x]), RATE)
    assert [k for k, band in enumerate(found.bands) if abs(band.ratio - 1) > 0.1] == [4]
    assert found.bands[4].ratio < 0.2


def test_errors_are_those_of_chance() -> None:
    reports = [spectral_report(spectra_of([noise(8, k)]), spectra_of([noise(8, k + 50)]), RATE) for k in range(50)]
    scaled = torch.tensor([[(band.ratio - 1) / band.error for band in report.bands] for report in reports])
    assert 0.8 < scaled.std() < 1.3


def test_lines_and_data_agree() -> None:
    found = spectral_report(spectra_of([noise(4)]), spectra_of([noise(6, 1)]), RATE)
    assert len(found.lines()) == 10
    assert found.data()["bands"][3]["ratio"] == found.bands[3].ratio
    assert (found.data()["fake"], found.data()["real"]) == (4, 6)
    with pytest.raises(ValueError, match="one sound or more"):
        spectral_report(torch.zeros(0, 257), torch.zeros(2, 257), RATE)


@pytest.mark.parametrize("length", [64, 1000, 4096])
def test_vectors_are_finite_and_of_one_width(length: int) -> None:
    features = SpectralFeatures(RATE, length)
    for x in (torch.zeros(2, 1, length), torch.rand(2, 2, length) * 2 - 1):
        vectors = features(x)
        assert vectors.shape == (2, features.width)
        assert bool(vectors.isfinite().all())


def test_vectors_tell_time_and_gain() -> None:
    features = SpectralFeatures(RATE, 4096)
    fading = noise(1) * torch.exp(-8 * TIME)
    there, back = features(fading), features(fading.flip(-1))
    assert (there - back).abs().mean() > 0.05, "a mean over time alone would be blind to it"
    louder = features(10 ** (6 / 20) * fading) - there
    means = torch.cat([louder[0, :32], louder[0, 64:192]])
    assert means.mean().item() == pytest.approx(6 / 30, abs=0.02)


def test_a_kernel_distance_tells_sounds_apart_that_have_one_mean_spectrum() -> None:
    generator = torch.Generator().manual_seed(0)
    single = sines(200 + 3000 * torch.rand(64, generator=generator))
    mixed = sum(single.roll(k, 0) for k in (0, 7, 20, 41)) / 2
    means = (spectra_of([x]) for x in (mixed, single))
    assert spectral_report(*means, RATE).worst < 0.1
    features = SpectralFeatures(RATE, 4096)
    other = sines(200 + 3000 * torch.rand(64, generator=generator))
    same, different = (kernel_distance(features(x), features(single)) for x in (other, mixed))
    assert abs(same.value) < 4 * same.error
    assert different.value > 4 * different.error
