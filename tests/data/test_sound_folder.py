"""Folders of sounds: what their files mean, one rate for all, and what is told."""

import logging
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from carrara.data import Transform, batch_of, split
from carrara.data.sources.sound import SoundSource
from carrara.errors import UserError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def sine(frequency: float, seconds: float, rate: int, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * math.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three formats, one file of another rate, one of two channels, one with a caption."""
    place = tmp_path / "sounds"
    write(place / "high" / "a.wav", sine(1000, 0.5, 8000))
    write(place / "high" / "b.flac", sine(1000, 0.5, 44100), 44100)
    write(place / "low" / "c.ogg", sine(200, 0.25, 8000))
    write(place / "low" / "d.wav", np.stack([sine(200, 0.5, 8000), -sine(200, 0.5, 8000)], 1))
    (place / "low" / "d.txt").write_text("a hum left and right")
    return place


def test_a_folder_is_read_as_one_of_pictures_is(folder: Path) -> None:
    data = SoundSource(path=str(folder)).open()
    assert data.info.classes == ("high", "low")
    assert data.info.channels == 1
    assert data.info.native == (4000,)
    assert data.info.captions
    assert [data.name(k) for k in range(len(data))] == ["high/a.wav", "high/b.flac", "low/c.ogg", "low/d.wav"]
    assert data.columns(0)["label"].tolist() == [1, 0]
    assert data.captions(3) == ("a hum left and right",)
    assert any("classes from 2 folders" in line for line in data.info.remarks)
    assert any("captions of 1 sound from the .txt" in line for line in data.info.remarks)


def test_samples_are_levels_and_exact(folder: Path) -> None:
    data = SoundSource(path=str(folder)).open()
    found = data.pixels(0)
    assert found.shape == (4000, 1)
    assert found.dtype == np.float32
    stored, _ = soundfile.read(folder / "high" / "a.wav", dtype="float32")
    assert np.array_equal(2 * found[:, 0] - 1, stored)
    assert data.pixels(3).shape == (4000, 2)


def test_another_rate_is_resampled_once(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = SoundSource(path=str(folder)).open()
    found = 2 * data.pixels(1)[:, 0] - 1
    inside = slice(200, 3800)
    assert found.shape == (4000,)
    assert np.abs(found - sine(1000, 0.5, 8000))[inside].max() < 0.002
    kept = list(cache.glob("sounds-*.npy"))
    assert len(kept) == 1
    before = kept[0].read_bytes()
    monkeypatch.setattr("carrara.data.sound.resampled.read_sound", lambda path: pytest.fail("it is read again"))
    assert np.array_equal(SoundSource(path=str(folder)).open().pixels(1), data.pixels(1))
    monkeypatch.undo()
    kept[0].unlink()  # the other one is still open
    kept[0].write_bytes(before[:200])
    monkeypatch.setenv("CARRARA_CACHE", str(cache))
    assert np.array_equal(SoundSource(path=str(folder)).open().pixels(1), data.pixels(1))
    assert kept[0].read_bytes() == before, "the same to the bit"


def test_the_rate_is_chosen_and_may_be_said(folder: Path) -> None:
    chosen = SoundSource(path=str(folder)).open()
    assert (chosen.rate, chosen.chosen) == (8000, "as most of the sounds have; 1 sound of other rates resampled")
    said = SoundSource(path=str(folder), rate=16000).open()
    assert said.info.native == (8000,)
    assert said.chosen == "as data.source.rate says; 4 sounds of other rates resampled"
    with pytest.raises(ValueError, match="rate is 100 to 768000"):
        SoundSource(path=str(folder), rate=5)


def test_channels_are_mixed(folder: Path) -> None:
    data = SoundSource(path=str(folder)).open()
    mono = batch_of(data, Transform(size=(4000,), channels=1), [0, 3]).x
    stereo = batch_of(data, Transform(size=(4000,), channels=2), [0, 3]).x
    assert mono.shape == (2, 1, 4000)
    assert mono[1].abs().max() < 1e-4, "opposite channels cancel"
    assert torch.equal(stereo[0, 0], stereo[0, 1])
    assert torch.allclose(stereo[0, :1], mono[0])


def test_long_sounds_are_cut_into_parts(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 3)
    write(tmp_path / "sounds" / "long.wav", samples)
    write(tmp_path / "sounds" / "short.wav", samples[:800])
    data = SoundSource(path=str(tmp_path / "sounds"), seconds=1.25).open()
    assert [len(data.pixels(k)) for k in range(len(data))] == [8000, 8000, 8000, 800]
    joined = np.concatenate([data.pixels(k) for k in range(3)])[:, 0] * 2 - 1
    assert np.abs(joined - samples).max() <= 1 / 32768 + 1e-7
    assert len({data.key(k) for k in range(4)}) == 4
    assert data.name(1) == "long.wav from 1.00 s"
    assert any("1 sound longer than 1.25 s cut into parts: 4 examples in all" in line for line in data.info.remarks)
    training, held = split(data, 0.25)
    assert len(training) + len(held) == 4


def test_what_cannot_be_used_is_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(folder / "low" / "silent.wav", np.zeros(4000))
    (folder / "low" / "empty.wav").write_bytes(b"")
    (folder / "low" / "text.wav").write_text("no sound")
    write(folder / "low" / "cut.flac", np.random.default_rng(0).uniform(-1, 1, 80_000))
    content = (folder / "low" / "cut.flac").read_bytes()
    (folder / "low" / "cut.flac").write_bytes(content[: len(content) // 2])
    soundfile.write(folder / "low" / "nan.wav", np.full(100, np.nan), 8000, subtype="FLOAT")
    for _ in range(2):  # the second time from the cache
        with caplog.at_level(logging.WARNING):
            data = SoundSource(path=str(folder)).open()
        assert len(data) == 5
        assert any("1 sound with nothing but silence" in line for line in data.info.remarks)
    said = caplog.text
    assert said.count("left out 4 unreadable of 9 sounds") == 1
    assert "empty.wav" in said


def test_a_folder_without_sounds_is_told(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no sounds in .* it is empty; Carrara reads \.aif"):
        SoundSource(path=str(tmp_path / "none")).open()
    (tmp_path / "none" / "a.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 1 sounds in .* 'a.wav': it is empty"):
        SoundSource(path=str(tmp_path / "none")).open()
    with pytest.raises(UserError, match="there is no folder"):
        SoundSource(path=str(tmp_path / "gone")).open()


def test_a_zip_file_is_read_as_it_is(folder: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    packed, plain = (SoundSource(path=str(path)).open() for path in (tmp_path / "packed.zip", folder))
    assert len(packed) == len(plain)
    assert all(np.array_equal(packed.pixels(k), plain.pixels(k)) for k in range(len(plain)))
