"""Samples that are sounds: shown as curves and spectrograms, written as WAV."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image
from torch import Tensor

from carrara import sounds
from carrara.data.base import Unreadable
from carrara.data.sound.resampled import as_levels, decoded
from carrara.errors import UserError
from carrara.files.sound import sound_header
from carrara.medium.base import Medium
from carrara.medium.picture import Picture
from carrara.medium.size import Size
from carrara.modality import Sound
from carrara.pixels import fresh, to_tensor


@final
class SoundMedium(Medium):
    """(C, L) in [-1, 1]."""

    name = "sounds"
    timed = True

    def __init__(self, modality: Sound) -> None:
        self.rate = modality.rate

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        return sounds.sheet(samples, self.rate, columns, labels)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        return sounds.table(states, self.rate)

    def tensor(self, given: Picture, shape: Sequence[int], size: Size | None = None) -> Tensor:
        """A sound file at the model's rate, with its channels; cut, or silent at its end, where a size is asked for.

        Raises:
            UserError: it is none.
        """
        try:
            own = sound_header(given.path).rate
            values = np.concatenate(list(decoded(given.path, own, self.rate, shape[0])))
        except Unreadable as error:
            raise UserError(f"'{given.path}' cannot be used ({error}): name another sound") from None
        if size is not None:
            values = np.pad(values[: size[0]], ((0, max(0, size[0] - len(values))), (0, 0)))
        return to_tensor(as_levels(values), 1)[None]

    def unit(self, given: Picture) -> tuple[float, str]:
        return float(self.rate), "seconds"

    def write(self, sample: Tensor, stem: Path, about: Mapping[str, Any]) -> list[Path]:
        """Writes a sample as a WAV file of 16 bits that carries ``about``; a free name is taken."""
        path = fresh(stem.with_name(f"{stem.name}.wav"))
        return [sounds.save_wav(sample, self.rate, path, about)]
