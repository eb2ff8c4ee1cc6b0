"""A user's folder of sounds as a source."""

from dataclasses import dataclass
from typing import Literal, final

from carrara.data.base import Dataset
from carrara.data.sound import SoundFolder, SoundReading
from carrara.data.sources.path import PathSource


@final
@dataclass(frozen=True, kw_only=True)
class SoundSource(SoundReading, PathSource):
    """A folder of sounds (WAV, FLAC, OGG and others), or a zip file of them, and what its files are taken as.

    Attributes:
        path: of the folder.
    """

    kind: Literal["sound"] = "sound"

    def open(self, size: int | None = None) -> Dataset:
        return SoundFolder(self.path, self)
