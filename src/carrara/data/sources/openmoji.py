"""OpenMoji as a source."""

from dataclasses import dataclass
from typing import Literal, final

from carrara.data.base import Dataset
from carrara.data.emoji import openmoji
from carrara.data.sources.base import Source


@final
@dataclass(frozen=True, kw_only=True)
class OpenMojiSource(Source):
    """About 1900 emoji with names in nine groups.

    Attributes:
        skin_tones: the variants of people and hands too.
    """

    kind: Literal["openmoji"] = "openmoji"
    skin_tones: bool = False

    def open(self, size: int | None = None) -> Dataset:
        return openmoji(size or 32, self.skin_tones)
