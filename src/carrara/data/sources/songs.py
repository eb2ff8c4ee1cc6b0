"""A user's folder of MIDI files as a source."""

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, final

from pydantic import Field

from carrara.data.base import Dataset
from carrara.data.description import Description
from carrara.data.pieces import Form, Pieces
from carrara.data.songs import ENDINGS, MOST_VOICES, Choices, channels_of, choose, describe, listen, songs
from carrara.data.sources.base import Source
from carrara.errors import UserError
from carrara.files import is_folder, is_regular, shown
from carrara.modality import Notes, Pitch
from carrara.notes import EVERY

_HEARD_FIRST = 50  # files that say which form suits the folder


@final
@dataclass(frozen=True, kw_only=True)
class SongsSource(Source):
    """A folder of MIDI files, or one of them, in windows of some bars.

    Attributes:
        path: of the folder.
        form: ``tokens``, a row of numbers for each voice, or ``roll``, pictures of steps by pitches; None = tokens if
            most tracks have one note at a time.
        length: steps of a window.
        voices: how many; 0 = all notes together in one pair of a roll's channels; None = as most files have.
        per_quarter: steps in a quarter note; None = the coarsest grid on which nearly all notes lie.
        lowest, highest: pitches, 60 for middle C; None = those that occur.
        transpose: pieces also in other keys, at most 6 semitones away, as far as their pitches are in the range.
    """

    builtin = False
    endings = ENDINGS
    noun = "MIDI file"
    kind: Literal["songs"] = "songs"
    path: str
    form: Form | None = None
    length: Annotated[int, Field(ge=8, le=4096)] = 64
    voices: Annotated[int, Field(ge=0, le=MOST_VOICES)] | None = None
    per_quarter: Annotated[int, Field(ge=1, le=96)] | None = None
    lowest: Pitch | None = None
    highest: Pitch | None = None
    transpose: bool = False

    def __post_init__(self) -> None:
        if self.form == "tokens" and self.voices == 0:
            raise ValueError(
                "voices=0 puts all notes together, which a roll can: take form=roll, or a number of voices"
            )

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        return shown(Path(self.path).stem)

    @property
    def preset(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Tokens are masked and revealed, and rolls are noised like pictures."""
        form = self.form
        if form is None:
            heard = [one for one in islice(listen(Path(self.path)), _HEARD_FIRST) if not one.why]
            form = choose(heard, Choices(voices=self.voices, per_quarter=4))[0].form if heard else "tokens"
        return "chorales" if form == "tokens" else "pixel"

    def absolute(self) -> Source:
        path = Path(self.path)
        return replace(self, path=str(path.resolve())) if is_folder(path) or is_regular(path) else self

    def open(self, size: int | None = None) -> Dataset:
        path = self._there()
        chosen = Choices(
            form=self.form,
            voices=self.voices,
            per_quarter=self.per_quarter,
            lowest=self.lowest,
            highest=self.highest,
        )
        return songs(path, chosen, self.length, self.transpose)

    def describe(self) -> Description | None:
        found = describe(self._there())
        first, *others = found.lines
        return replace(found, lines=(f"{shown(self.path)}: {first}", *(f"  {line}" for line in others)))

    def completed(self, dataset: Dataset) -> tuple[Source, tuple[str, ...]]:
        own = dataset.origin(0)[0]
        if not isinstance(own, Pieces):
            return self, ()
        found = own.modality
        complete = replace(
            self,
            form=found.form,
            voices=0 if found.voices == (EVERY,) else len(found.voices),
            per_quarter=found.per_quarter,
            lowest=found.lowest,
            highest=found.highest,
        )
        return complete, own.choices

    def _there(self) -> Path:
        path = Path(self.path)
        if not is_folder(path) and not (is_regular(path) and path.suffix.lower() in ENDINGS):
            raise UserError(f"there is no folder '{shown(self.path)}' of MIDI files: name one, or a MIDI file")
        return path

    @property
    def modality(self) -> Notes | None:
        if self.form is None or self.voices is None or self.per_quarter is None:
            return None
        if self.lowest is None or self.highest is None:
            return None
        return Notes(
            form=self.form,
            voices=tuple(f"Voice {k + 1}" for k in range(self.voices)) or (EVERY,),
            lowest=self.lowest,
            highest=self.highest,
            per_quarter=self.per_quarter,
        )

    @property
    def spatial(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 1 if self.form == "tokens" else 2

    @property
    def shape(self) -> tuple[int, ...] | None:
        modality = self.modality
        if modality is None:
            return None
        places = (self.length,) if modality.form == "tokens" else (self.length, modality.highest - modality.lowest + 1)
        return (channels_of(modality), *places)
