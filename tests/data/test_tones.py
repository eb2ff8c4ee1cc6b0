"""Strings, bells and drums: their pitch and fading are those of the formulas, and they are always the same."""

import hashlib

import numpy as np
import pytest
import torch

from carrara.data.sources.tones import TonesSource, bells, drums, strings
from carrara.seeds import Draws

RATE = 8000


def draws(count: int) -> Draws:
    return Draws(0, torch.arange(count))


def test_they_are_of_three_classes_in_range() -> None:
    data = TonesSource(count=30, length=1024).open()
    assert data.info.classes == ("bell", "drum", "string")
    assert data.info.native == (1024,)
    labels = np.array([data.columns(k)["label"] for k in range(30)])
    assert labels.sum(0).tolist() == [10, 10, 10]
    sounds = np.stack([data.pixels(k)[:, 0] for k in range(30)]) * 2 - 1
    peaks = np.abs(sounds).max(1)
    assert peaks.min() > 0.29
    assert peaks.max() < 0.91
    assert np.array_equal(sounds * 32768, np.rint(sounds * 32768)), "as 16 bits hold them"


def test_a_sound_does_not_depend_on_how_many_there_are() -> None:
    few, many = TonesSource(count=6, length=512).open(), TonesSource(count=60, length=512).open()
    assert all(np.array_equal(few.pixels(k), many.pixels(k)) for k in range(6))
    assert len(TonesSource(count=6).open(256).pixels(0)) == 256


def test_they_are_always_the_same() -> None:
    data = TonesSource(count=6, length=2048).open()
    digest = hashlib.blake2b(b"".join(data.pixels(k).tobytes() for k in range(6)), digest_size=8).hexdigest()
    assert digest == "002b6c15d034c319"


def test_a_string_repeats_and_fades() -> None:
    pitch = 110 * 4 ** draws(8).uniform("string pitch").double().numpy()
    for sound, f in zip(strings(draws(8), RATE, 8192), pitch, strict=True):
        period = round(RATE / f - 0.5) + 0.5
        spectrum = np.abs(np.fft.rfft(sound[:4096] * np.hanning(4096), 1 << 16))
        near = np.arange(len(spectrum)) * RATE / (1 << 16)
        around = (near > 0.9 * RATE / period) & (near < 1.1 * RATE / period)
        assert near[around][spectrum[around].argmax()] == pytest.approx(RATE / period, rel=0.01)
        energies = np.square(sound).reshape(8, -1).sum(1)
        assert (np.diff(energies) < 0).all()


def test_the_loop_is_the_formula() -> None:
    sound = strings(draws(1), RATE, 1000)[0]
    f = 110 * 4 ** draws(1).uniform("string pitch").double().item()
    fading = 0.4 * 5 ** draws(1).uniform("string fading").double().item()
    period = round(RATE / f - 0.5)
    rho = 10 ** (-3 * (period + 0.5) / RATE / fading)
    y = np.concatenate([[0.0], sound])
    later = np.arange(period + 1, 1000)
    assert sound[later] == pytest.approx(rho / 2 * (y[later - period + 1] + y[later - period]), abs=1e-12)
    assert sound[period] == pytest.approx(rho / 2 * sound[0])


def test_bells_ring_and_drums_fall() -> None:
    f = 250 * 3.6 ** draws(4).uniform("bell pitch").double().numpy()
    for sound, pitch in zip(bells(draws(4), RATE, 8192), f, strict=True):
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(8192)))
        prime = round(pitch * 8192 / RATE)
        assert spectrum[prime - 12 : prime + 13].max() > 10 * np.median(spectrum)
    pitch = 50 * 3.6 ** draws(4).uniform("drum pitch").double().numpy()
    for sound, low in zip(drums(draws(4), RATE, 8192), pitch, strict=True):
        late = np.abs(np.fft.rfft(sound[2000:4000] * np.hanning(2000), 1 << 16))
        assert late.argmax() * RATE / (1 << 16) == pytest.approx(low, rel=0.05)
        assert np.square(sound[:2000]).sum() > np.square(sound[4000:]).sum()


@pytest.mark.parametrize("keys", [{"count": 2}, {"rate": 10}, {"length": 1}])
def test_what_cannot_be_made_is_told(keys: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="take 3 sounds or more"):
        TonesSource(**keys)


def test_the_noise_is_centred() -> None:
    assert abs(drums(draws(16), RATE, 4096).mean()) < 0.01
