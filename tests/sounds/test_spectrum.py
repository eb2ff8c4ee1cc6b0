"""Spectra: their sums, units and scales are what the formulas say."""

import math

import pytest
import torch

from carrara.sounds import band_edges, decibels, frame_of, frequencies, hertz, mel, powers, spectrum_of, triangles

RATE = 8000


def sine(frequency: float, length: int = 8192, level: float = 1.0) -> torch.Tensor:
    return level * torch.sin(2 * math.pi * frequency * torch.arange(length, dtype=torch.float64) / RATE)[None, None]


@pytest.mark.parametrize("n", [16, 256, 1024])
def test_powers_add_up_to_the_mean_square(n: int) -> None:
    x = torch.randn(3, 2, 64 * n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = torch.cat([x, x], -1)[..., : 64 * n + n // 2]  # frames that see each sample twice, but for the ends
    assert spectrum_of(whole, n).sum(1).tolist() == pytest.approx(x.square().mean((1, 2)).tolist(), rel=0.02)
    constant = torch.full((1, 1, n), 0.5, dtype=torch.float64)
    window = torch.hann_window(n, dtype=torch.float64)
    exact = 0.25 * ((window.sum() ** 2) / (n * window.square().sum()))
    assert powers(constant, n)[0, 0, 0, 0].item() == pytest.approx(exact.item(), rel=1e-12)


def test_a_sine_is_where_it_belongs() -> None:
    power = spectrum_of(sine(1000, level=0.5), 256)[0]
    peak = int(power.argmax())
    assert frequencies(RATE, 256)[peak] == 1000
    assert power.sum().item() == pytest.approx(0.5**2 / 2, rel=1e-3)
    assert power[peak - 1 : peak + 2].sum() / power.sum() > 0.9999


def test_a_short_sound_is_followed_by_silence() -> None:
    x = sine(1000, 100)
    assert torch.equal(powers(x, 256), powers(torch.cat([x, torch.zeros(1, 1, 156)], -1), 256))


def test_mel_and_hertz_are_inverse() -> None:
    f = torch.tensor([0.0, 440.0, 1000.0, 4000.0], dtype=torch.float64)
    assert torch.allclose(hertz(mel(f)), f)
    assert mel(torch.tensor(1000.0)).item() == pytest.approx(1000, abs=0.1)
    edges = band_edges(RATE, 8)
    assert edges[0] == 0
    assert edges[-1].item() == pytest.approx(RATE / 2)
    assert torch.allclose(mel(edges).diff(), mel(edges)[-1] / 8)


@pytest.mark.parametrize("bands", [8, 32])
def test_triangles_share_each_frequency(bands: int) -> None:
    n = 2048
    weights, edges = triangles(RATE, n, bands), band_edges(RATE, bands + 1)
    f = frequencies(RATE, n)
    inside = (f >= edges[1]) & (f <= edges[-2])
    assert torch.allclose(weights.sum(0)[inside], torch.ones(int(inside.sum())), atol=1e-5)
    assert weights.min() >= 0
    assert weights.max() <= 1


def test_narrow_triangles_are_not_empty() -> None:
    assert (triangles(RATE, 16, 32).sum(1) > 0).all()


def test_decibels() -> None:
    assert decibels(torch.tensor([1.0, 0.01, 0.0])).tolist() == pytest.approx([0, -20, -120])


@pytest.mark.parametrize(("rate", "length", "frame"), [(8000, 8192, 256), (44100, 65536, 1024), (8000, 64, 32)])
def test_frames_suit(rate: int, length: int, frame: int) -> None:
    assert frame_of(rate, length) == frame
