"""Samples that are sounds: shown as curves and spectrograms, written as WAV."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from PIL import Image
from torch import Tensor

from carrara import sounds
from carrara.medium.base import Medium
from carrara.modality import Sound
from carrara.pixels import fresh


@final
class SoundMedium(Medium):
    """(C, L) in [-1, 1]."""

    name = "sounds"

    def __init__(self, modality: Sound) -> None:
        self.rate = modality.rate

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        return sounds.sheet(samples, self.rate, columns, labels)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        return sounds.table(states, self.rate)

    def write(self, sample: Tensor, stem: Path, about: Mapping[str, Any]) -> list[Path]:
        """Writes a sample as a WAV file of 16 bits that carries ``about``; a free name is taken."""
        path = fresh(stem.with_name(f"{stem.name}.wav"))
        return [sounds.save_wav(sample, self.rate, path, about)]
