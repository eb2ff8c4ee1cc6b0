"""A user's folder of sounds as a source."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final

from carrara.data.base import Dataset
from carrara.data.description import Description
from carrara.data.sound import SoundFolder, SoundReading, describe
from carrara.data.sources.base import Source
from carrara.data.sources.path import PathSource
from carrara.modality import AnyModality, Sound


@final
@dataclass(frozen=True, kw_only=True)
class SoundSource(SoundReading, PathSource):
    """A folder of sounds (WAV, FLAC, OGG and others), or a zip file of them, and what its files are taken as.

    Attributes:
        path: of the folder.
    """

    spatial = 1
    preset = "sound"
    kind: Literal["sound"] = "sound"

    def open(self, size: int | None = None) -> Dataset:
        return SoundFolder(self.path, self)

    def describe(self) -> Description | None:
        return describe(Path(self.path), self)

    @property
    def modality(self) -> AnyModality | None:
        return None if self.rate is None else Sound(rate=self.rate)

    def completed(self, dataset: Dataset) -> "tuple[Source, tuple[str, ...]]":
        if not isinstance(dataset, SoundFolder):
            return self, ()
        return replace(self, rate=dataset.rate), (f"rate {dataset.rate} Hz: {dataset.chosen}",)
