"""Samples of models as pieces: read, shown and written."""

import io
import wave

import numpy as np
import pytest
import torch
from pieces import melody, random_grid

from carrara.autoencoder.levels import LevelsConfig
from carrara.files import midi_in
from carrara.medium import medium_of
from carrara.medium.notes import NotesMedium, completed
from carrara.modality import Notes
from carrara.notes import EVERY, from_midi, record_of, to_roll, to_tokens, to_unit
from carrara.pixels import read_recipe, to_tensor

pytest.importorskip("symusic")
VOICES = ("high", "middle", "low")


def notes(form: str, voices: tuple[str, ...] = VOICES) -> Notes:
    return Notes(form=form, voices=voices, lowest=40, highest=79)


def samples(form: str) -> torch.Tensor:
    grids = [random_grid(k, parts=3, steps=32) for k in range(5)]
    if form == "tokens":
        return torch.stack([to_tensor(to_unit(to_tokens(grid, 40, 79).T, 40, 79), 1) for grid in grids])
    return torch.stack([to_tensor(to_roll(grid, 40, 79)) for grid in grids])


@pytest.mark.parametrize("form", ["tokens", "roll"])
def test_samples_are_read_as_what_they_were(form: str) -> None:
    medium = medium_of((3, 32) if form == "tokens" else (6, 32, 40), notes(form))
    assert isinstance(medium, NotesMedium)
    values = samples(form)
    values = values + (torch.rand(values.shape) - 0.5) * (0.04 if form == "tokens" else 0.9)
    for k, sample in enumerate(values):
        truth, found = random_grid(k, parts=3, steps=32), medium.read(sample)
        assert np.array_equal(found.pitches, truth.pitches) and np.array_equal(found.onsets, truth.onsets)
        assert found.voices == VOICES


def test_levels_are_the_states_and_what_is_masked_is_silent() -> None:
    sample = samples("tokens")[0]
    stage = LevelsConfig(levels=42).build(sample.shape)
    states = stage.latents(sample[None], None)
    torch.testing.assert_close(stage.decode(states)[0], sample, atol=1e-6, rtol=0)
    medium = NotesMedium(notes("tokens"))
    states[..., 10:] = 0
    found, truth = medium.read(stage.decode(states)[0]), random_grid(0, parts=3, steps=32)
    assert np.array_equal(found.pitches[:, :10], truth.pitches[:, :10]) and (found.pitches[:, 10:] == -1).all()


def test_anything_can_be_read() -> None:
    for form, shape in (("tokens", (3, 32)), ("roll", (6, 32, 40))):
        grid = NotesMedium(notes(form)).read(3 * torch.randn(shape))
        assert grid.steps == 32 and len(grid.pitches) == 3
    together = NotesMedium(notes("roll", (EVERY,))).read(3 * torch.randn(2, 32, 40))
    assert together.voices == () and len(together.pitches) > 1


@pytest.mark.parametrize("form", ["tokens", "roll"])
def test_samples_are_shown_in_rows(form: str) -> None:
    medium, values = NotesMedium(notes(form)), samples(form)
    one, all_of_them = medium.grid(values[:1]), medium.grid(values, 2, ["a", "b", "c"])
    assert all_of_them.width > 1.8 * one.width - 40 and all_of_them.height > 2.5 * one.height - 120
    assert medium.strip([values, values, values]).width > 2 * one.width
    assert medium.single(values[0]).height > one.height  # a sample alone is shown larger


def test_a_sample_is_written_in_four_formats_of_one_name(tmp_path) -> None:
    medium, sample = NotesMedium(notes("tokens")), samples("tokens")[1]
    about = {"picture": "sample", "request": {"wishes": ["key Eb+minor+3/4"], "seeds": [7]}}
    paths = medium.write(sample, tmp_path / "0003", about)
    assert sorted(path.name for path in paths) == ["0003.mid", "0003.musicxml", "0003.png", "0003.wav"]
    again = medium.write(sample, tmp_path / "0003", about)
    assert sorted(path.name for path in again) == ["0003-2.mid", "0003-2.musicxml", "0003-2.png", "0003-2.wav"]
    midi = midi_in((tmp_path / "0003.mid").read_bytes())
    found, truth = from_midi(midi).grid, random_grid(1, parts=3, steps=32)
    assert np.array_equal(found.pitches, truth.pitches) and found.metre == (3, 4) and str(found.key) == "Eb minor"
    assert record_of(midi) == about == read_recipe(tmp_path / "0003.png")
    assert '"seeds": [7]' in (tmp_path / "0003.musicxml").read_text().replace("&quot;", '"')
    with wave.open(io.BytesIO((tmp_path / "0003.wav").read_bytes())) as reader:
        assert reader.getnframes() / reader.getframerate() == pytest.approx(32 * 60 / 80 / 4, abs=0.1)


def test_what_is_not_asked_for_is_what_fits() -> None:
    scale = melody(60, 62, 64, 65, 67, 69, 71, (72, 16))
    assert str(completed(scale, {}).key) == "C major" and completed(scale, {}).metre == (4, 4)
    asked = completed(scale, {"request": {"wishes": ["key C#+major"]}})
    assert str(asked.key) == "C# major"
    assert completed(melody((-1, 8)), {}).key is None
