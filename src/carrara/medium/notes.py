"""Samples that are pieces of music: read from a model's numbers, shown as piano rolls, written for players and editors.

Each sample becomes a MIDI file, a score in MusicXML, a picture of its roll and a WAV file, of one name; all but the
sound carry their record. What a model does not say is added: the key is the one that was asked for, or else the one
that fits the notes best, and the metre the one that was asked for, or else 4/4.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from carrara import pixels, plots
from carrara.errors import UserError
from carrara.files import Malformed, read_midi, replacing
from carrara.medium.base import Medium
from carrara.medium.picture import Picture
from carrara.medium.size import Size
from carrara.modality import Notes
from carrara.notes import (
    EVERY,
    MODES,
    REST,
    TONICS,
    Grid,
    Key,
    best_key,
    fluidsynth,
    from_midi,
    from_roll,
    from_tokens,
    from_unit,
    picture,
    pitch_classes,
    samples,
    to_midi,
    to_musicxml,
    to_roll,
    to_tokens,
    to_unit,
    wav_bytes,
)

TEMPO = 80.0
_STEP, _PITCH = 6, 5  # pixels in a grid of many
_STATES, _WAYS = 5, 3
_METRE = re.compile(r"\b(\d{1,2})/(1|2|4|8|16)\b")
_TONIC = re.compile(rf"\bkey ({'|'.join(sorted(map(re.escape, TONICS), key=len, reverse=True))})(?![#\w])")


@final
class NotesMedium(Medium):
    """(C, T, P) rolls, or (V, T) tokens."""

    name = "pieces"
    timed = True

    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def read(self, sample: Tensor) -> Grid:
        """The music of a sample (*S) in [-1, 1]: the most likely one of a roll, the nearest of tokens."""
        notes = self.notes
        values = (sample.detach().cpu().double().clamp(-1, 1).numpy() + 1) / 2
        if notes.form == "roll":
            grid = from_roll(np.moveaxis(values * 255, 0, -1), notes.lowest, voices=notes.voices)
        else:
            pitches = notes.lowest, notes.highest
            grid = from_tokens(from_unit(values, *pitches), *pitches)
        voices = () if notes.voices == (EVERY,) else notes.voices
        return replace(grid, per_quarter=notes.per_quarter, tempo=TEMPO, voices=voices)

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        across = columns or max(1, round(len(samples) ** 0.5 / 1.5))
        shown = [self._roll(sample) for sample in samples]
        blank = Image.new("RGB", shown[0].size, plots.PAPER)
        rows = [shown[k : k + across] for k in range(0, len(shown), across)]
        rows[-1] += [blank] * (across - len(rows[-1]))
        names = [*labels, *[""] * len(rows)][: len(rows)]
        return plots.sheet(rows, [""] * across, names)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        places = sorted({round(k * (len(states) - 1) / max(1, _STATES - 1)) for k in range(_STATES)})
        rows = [[self._roll(states[k][n]) for k in places] for n in range(min(_WAYS, len(states[0])))]
        return plots.sheet(rows, [""] * len(places), [""] * len(rows))

    def tensor(self, given: Picture, shape: Sequence[int], size: Size | None = None) -> Tensor:
        """A MIDI file, whose tracks are the voices by their names, else in their order; a voice that it lacks rests.

        Raises:
            UserError: it is none, or has more voices or other pitches than the model.
        """
        grid = self._voiced(given, self._heard(given))
        steps = grid.steps if size is None else size[0]
        notes, length = self.notes, min(steps, grid.steps)
        pitches = np.full((len(grid.pitches), steps), REST, np.int16)
        onsets = np.zeros(pitches.shape, bool)
        pitches[:, :length], onsets[:, :length] = grid.pitches[:, :length], grid.onsets[:, :length]
        placed = Grid(pitches=pitches, onsets=onsets, per_quarter=notes.per_quarter)
        try:
            if notes.form == "tokens":
                unit = to_unit(to_tokens(placed, notes.lowest, notes.highest), notes.lowest, notes.highest)
                return 2 * torch.from_numpy(unit)[None] - 1
            roll = to_roll(placed, notes.lowest, notes.highest, together=notes.voices == (EVERY,))
        except ValueError as error:
            raise UserError(f"'{given.path}' cannot be used ({error}): transpose it, or name another piece") from None
        return pixels.to_tensor(roll)[None]

    def unit(self, given: Picture) -> tuple[float, str]:
        grid = self._heard(given)
        return float(grid.bar), "bars"

    def channels(self, said: str, shape: Sequence[int]) -> list[int]:
        names = [name.strip().lower() for name in said.split(",")]
        voices = [voice.lower() for voice in self.notes.voices]
        if not set(names) <= set(voices):
            if self.notes.form == "tokens" and all(name.isdecimal() for name in names):
                return super().channels(said, shape)
            raise UserError(f"'{said}' are no voices of this model: they are {', '.join(self.notes.voices)}")
        each = 1 if self.notes.form == "tokens" else 2
        return [each * voices.index(name) + k for name in names for k in range(each)]

    def _heard(self, given: Picture) -> Grid:
        """A file's music, each track a voice, or as many as sound in it at once."""
        try:
            return from_midi(read_midi(given.path), per_quarter=self.notes.per_quarter).grid
        except Malformed as error:
            raise UserError(f"'{given.path}' {error}: name a MIDI file with notes") from None

    def _voiced(self, given: Picture, grid: Grid) -> Grid:
        """With the model's voices, in their order."""
        wanted = [voice.lower() for voice in self.notes.voices]
        have = [voice.lower() for voice in grid.voices] if grid.voices else []
        named = bool(have) and set(have) <= set(wanted)
        if self.notes.voices == (EVERY,) or (len(grid.pitches) == len(wanted) and not named):
            return grid
        if len(grid.pitches) > len(wanted):
            voices = f"{len(grid.pitches)} voices, and this model writes {len(wanted)}"
            raise UserError(f"'{given.path}' has {voices}: leave some out, or name another piece")
        places = [wanted.index(name) for name in have] if named else range(len(grid.pitches))
        pitches = np.full((len(wanted), grid.steps), REST, np.int16)
        onsets = np.zeros(pitches.shape, bool)
        for voice, place in enumerate(places):
            pitches[place], onsets[place] = grid.pitches[voice], grid.onsets[voice]
        return replace(grid, pitches=pitches, onsets=onsets, voices=())

    def write(self, sample: Tensor, stem: Path, about: Mapping[str, Any]) -> list[Path]:
        grid = completed(self.read(sample), about)
        first = pixels.fresh(stem.with_name(f"{stem.name}.mid"))
        contents = {
            ".mid": to_midi(grid, about),
            ".musicxml": to_musicxml(grid, about).encode(),
            ".wav": fluidsynth(grid) or wav_bytes(samples(grid)),
        }
        paths = list[Path]()
        for ending, content in contents.items():
            paths.append(pixels.fresh(first.with_suffix(ending)))
            with replacing(paths[-1]) as file:
                file.write(content)
        shown = self.single(sample)
        return [*paths, pixels.save_png(shown, first.with_suffix(".png"), about)]

    def single(self, sample: Tensor) -> Image.Image:
        return picture(self.read(sample), self.notes.lowest, self.notes.highest)

    def _roll(self, sample: Tensor) -> Image.Image:
        return picture(self.read(sample), self.notes.lowest, self.notes.highest, step=_STEP, pitch=_PITCH)


def completed(grid: Grid, about: Mapping[str, Any]) -> Grid:
    """A piece with the key and the metre that its record says were asked for, or else those that fit."""
    said = _said(about)
    metre, tonic = _METRE.search(said), _TONIC.search(said)
    modes = [mode for mode in MODES if re.search(rf"\b{mode}\b", said)]
    sounding = pitch_classes(grid)
    key = best_key(sounding) if np.ptp(sounding) else None
    if tonic is not None:
        same = key if key is not None and key.tonic == TONICS.index(tonic[1]) else None
        mode = modes[0] if len(modes) == 1 else same.mode if same else "major"
        key = Key(tonic=TONICS.index(tonic[1]), mode="minor" if mode == "minor" else "major")
    return replace(grid, key=key, metre=(int(metre[1]), int(metre[2])) if metre else (4, 4))


def _said(about: Mapping[str, Any]) -> str:
    """All words of a record's request that were asked for."""
    request = about.get("request")
    wishes = request.get("wishes") if isinstance(request, Mapping) else None
    return " ".join(str(wish) for wish in wishes if wish) if isinstance(wishes, list | tuple) else ""
