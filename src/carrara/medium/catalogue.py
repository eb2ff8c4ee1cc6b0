"""Which medium samples have: by their modality, and where they have none by their shape."""

from collections.abc import Sequence

from carrara.medium.base import MEDIA, Medium
from carrara.medium.notes import NotesMedium
from carrara.medium.numbers import NumbersMedium
from carrara.medium.sound import SoundMedium
from carrara.medium.table import TableMedium
from carrara.modality import AnyModality, Notes, Numbers, Sound, Table
from carrara.shapes import spatial_of


def medium_of(shape: Sequence[int], modality: AnyModality | None = None) -> Medium:
    """What samples of a shape are.

    Args:
        modality: what their numbers are; None for pictures and plain points.
    """
    match modality:
        case Sound():
            return SoundMedium(modality)
        case Notes():
            return NotesMedium(modality)
        case Numbers():
            return NumbersMedium(modality, spatial_of(shape))
        case Table():
            return TableMedium(modality)
        case _:
            return MEDIA[spatial_of(shape)]
