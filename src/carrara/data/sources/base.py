"""Where data come from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from carrara.data.base import Dataset
from carrara.data.description import Description
from carrara.modality import AnyModality


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A number without which a measurement cannot be judged.

    Attributes:
        meaning: of what it is, and why it matters.
    """

    name: str
    value: float
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where data come from, and how they are made. Abstract in what they are; ``str`` of it is what one types."""

    builtin: ClassVar[bool] = True
    """Whether its name is enough to open it."""
    endings: ClassVar[frozenset[str]] = frozenset()
    """Of files, as ``.wav``, that make a folder one of this kind, or that are such data by themselves."""
    spatial: ClassVar[int] = 2
    """How many axes of places its examples have: 0 points, 1 sounds, 2 pictures, 3 volumes."""
    noun: ClassVar[str] = "example"
    """What one of its files is called."""
    preset: ClassVar[str] = ""
    """The preset that suits it; empty = one of its own name, or that of pictures."""

    kind: str

    @classmethod
    def members(cls) -> "list[type[Source]]":
        """All that are no longer abstract, of this class and of those that extend it."""
        below = cls.__subclasses__()
        return [member for one in below for member in one.members()] if below else [cls]

    @classmethod
    def suits(cls, path: Path) -> bool:
        """Whether something on the disk is surely one of this kind; what most files of a folder are is asked later."""
        return path.suffix.lower() in cls.endings

    @abstractmethod
    def open(self, size: int | None = None) -> Dataset:
        """All of the data.

        Args:
            size: the edge, in pixels, of pictures that are drawn at any size; None = as they are usually drawn.

        Raises:
            UserError: there are none.
        """

    def __str__(self) -> str:
        return self.kind

    @property
    def name(self) -> str:
        """What to call a run."""
        return self.kind

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of an example; None for pictures, which have the size and the channels that one asks for."""
        return None

    @property
    def modality(self) -> AnyModality | None:
        """What the numbers of its examples are; None for pictures and plain points."""
        return None

    def completed(self, dataset: Dataset) -> "tuple[Source, tuple[str, ...]]":
        """The same with what it leaves open as the opened data have it, and a sentence for each such choice."""
        return self, ()

    def describe(self) -> Description | None:
        """What is in the files; None for pictures, into which ``data.inspection`` looks, and where there are no files.

        Raises:
            UserError: there are none.
        """
        return None

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What is quoted beside a likelihood."""
        return ()

    @property
    def looks_captioned(self) -> bool:
        """Whether somebody seems to have put words beside the pictures; nothing is opened."""
        return False

    def absolute(self) -> "Source":
        """The same from wherever one looks."""
        return self
