"""How a folder is read where people differ: what its sub-folders, its tables and the texts beside its pictures mean."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from carrara.data.formats import endings


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a folder's files are taken as. With ``auto``, it is recognised, and said back.

    Attributes:
        classes: ``none`` makes no classes of sub-folders, ``first`` one of each sub-folder, with all that is below it,
            ``deep`` one of each folder that holds pictures, by its path; ``auto`` is ``first`` where the sub-folders
            divide the pictures, and are no parts, dates or numbered heaps.
        split: ``auto`` takes folders such as ``train/`` and ``val/``, or a column that says so, as the split; ``none``
            does not.
        captions: ``files`` beside the pictures, ``metadata`` in tables, ``names`` of the pictures' own files, or
            ``none``; ``.tags`` takes the files with this ending alone; ``auto`` is tables, and files for the others.
        lines: whether ``each`` line of a caption's file is a caption of its own, or the file is ``one``.
        repeats: whether ``10_`` of a folder ``10_name`` is ignored, or is kept in the name of its class.
        metadata: the table to read, a name within the folder; ``auto`` is all of the folder's, ``none`` is no one.
        only: a file that lists the pictures to take, one name a line or a table, such as a run's
            ``pictures/step-0.csv``; ``all`` is all that are there.
    """

    endings: ClassVar[frozenset[str]] = frozenset(endings())
    """Of the files that are taken, in small letters."""
    noun: ClassVar[str] = "picture"
    """What one of them is called."""

    classes: Literal["auto", "none", "first", "deep"] = "auto"
    split: Literal["auto", "none"] = "auto"
    captions: str = "auto"
    lines: Literal["each", "one"] = "each"
    repeats: Literal["ignore", "keep"] = "ignore"
    metadata: str = "auto"
    only: str = "all"

    def __post_init__(self) -> None:
        if self.captions not in ("auto", "files", "metadata", "names", "none") and self.captions[:1] != ".":
            raise ValueError(
                "captions is auto, files, metadata, names, none, or the ending of the files that hold them, as .tags"
            )


AS_IT_COMES = Reading()
"""Everything is recognised."""
