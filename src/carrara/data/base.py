"""What a data set is, and how it is split.

A data set is a finite sequence of examples. Which part of it an example belongs to depends on what the example *is*: on
a hash of its content, a number in [0, 1) that is compared with the held-out fraction. Files that are added later move
nothing, renaming moves nothing, and exact copies are on the same side.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from carrara.data.ledger import HELD_OUT, Ledger, fingerprint_of, parts_of
from carrara.seeds import Draws, integer
from carrara.types import MAP

Row = NDArray[np.float32]
"""One example's part of a condition column."""
ClassMap = NDArray[np.uint8]
"""What is where in a picture: (H, W, 3) in colours, or (H, W, 1) as their numbers."""


@dataclass(frozen=True)
class Texts:
    """One example's part of a column of texts: its captions, one of which is drawn each time; (L, ...) each."""

    variants: tuple[NDArray[Any], ...]

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return sum(variant.nbytes for variant in self.variants)


@dataclass(frozen=True)
class Choices:
    """One example's part of a column that says more or less of it, one of which is drawn each time; all, first."""

    variants: tuple[Row, ...]

    @property
    def nbytes(self) -> int:
        """How much memory they take."""
        return sum(variant.nbytes for variant in self.variants)


Cell = Row | ClassMap | Texts | Choices
"""One example's part of a column."""
Fault = Literal["corrupt", "truncated", "oversized", "lost"]
"""``lost`` is what many others are lost with: their file cannot be read, which was said once."""


class Unreadable(ValueError):
    """An example that cannot be used, with the reason. A loader takes another one and says so."""

    def __init__(self, reason: str, fault: Fault = "corrupt") -> None:
        super().__init__(reason)
        self.fault: Fault = fault


@dataclass(frozen=True, kw_only=True)
class Example:
    """One picture or point, and what is known about it.

    Attributes:
        pixels: a picture (H, W, C), sound (L, C) or volume (D, H, W, C) of uint8, uint16 or float32 in [0, 1]; or a
            point (D,) float32.
        columns: ``label`` (K,), a weight per class, and ``vector`` (D,), where the data has them.
        captions: different ones of the same picture.
    """

    pixels: NDArray[Any]
    columns: Mapping[str, Cell] = field(default_factory=dict[str, Cell])
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """What is known about a data set without decoding it; enough to choose a model for it.

    Attributes:
        channels: what suits most of the pictures; a transform converts the others. 0 for points.
        native: (height, width), the medians over the pictures; as many edges as other examples have; None for points.
        classes: the names behind the column ``label``; empty if there is none.
        vector_size: how many numbers the column ``vector`` has; 0 if there is none.
        captions: whether there are any.
        maps: whether pictures have maps.
        remarks: what its files were taken as, a line each, with the key that says otherwise.
        dimension: of points; None for pictures.
        stamp: what changes with files that are too large for keys of their contents.
        attribution: who made it and on which terms, where known.
    """

    name: str
    channels: int = 0
    native: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    vector_size: int = 0
    captions: bool = False
    maps: bool = False
    remarks: tuple[str, ...] = ()
    dimension: int | None = None
    stamp: str = ""
    attribution: str = ""


class Preparation(ABC):
    """Brings examples to one shape. Abstract in which.

    ``prepare`` depends on the example alone, so its result can be kept; ``finish`` on its position in the training too.
    """

    @abstractmethod
    def suited(self, dataset: "Dataset", index: int) -> "Preparation":
        """The same for one example."""

    @abstractmethod
    def plain(self) -> "Preparation":
        """The same without anything random."""

    @abstractmethod
    def prepare(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Does what is the same each time."""

    @abstractmethod
    def finish(self, prepared: Sequence[NDArray[Any]], draws: Draws) -> Tensor:
        """Makes float32 (B, *S) of prepared examples, one per sample of ``draws``."""

    def prepare_map(self, numbers: ClassMap) -> ClassMap:
        """Brings a map (H, W, 1) to where ``prepare`` brings its picture."""
        return numbers

    def finish_maps(self, prepared: Sequence[ClassMap], draws: Draws) -> Tensor:
        """Makes (B, ...) of prepared maps."""
        return torch.from_numpy(np.stack(prepared))


class Dataset(ABC):
    """A finite sequence of examples. Abstract in where they come from."""

    info: DataInfo

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def pixels(self, index: int) -> NDArray[Any]:
        """The picture (H, W, C), sound (L, C), volume (D, H, W, C) or point (D,) of an example.

        Raises:
            Unreadable: it cannot be decoded.
        """

    @abstractmethod
    def key(self, index: int) -> str:
        """What identifies the content of an example: equal for exact copies, whatever they are called."""

    @property
    def bare(self) -> "Dataset":
        """The same without what a model's recipe adds to it."""
        return self

    @property
    def ledger(self) -> Ledger | None:
        """What is known of all examples at once; None = each is asked."""
        return None

    def native(self, index: int) -> tuple[int, ...]:
        """The (height, width) of a picture before anything is done to it, or an edge for each axis of others; it is
        decoded where nothing else tells.

        Raises:
            Unreadable: it cannot be decoded.
        """
        return self.pixels(index).shape[:-1]

    def held(self, index: int) -> bool | None:
        """Whether the data themselves hold an example out; None where they do not say."""
        return None

    def columns(self, index: int) -> Mapping[str, Cell]:
        """The condition columns of an example."""
        return {}

    def captions(self, index: int) -> tuple[str, ...]:
        """The captions of an example, the best one first."""
        return ()

    def map(self, index: int) -> ClassMap | None:
        """The map (H, W, 3) of an example, in its colours and of its picture's size.

        Raises:
            Unreadable: it cannot be decoded.
        """
        return None

    def origin(self, index: int) -> "tuple[Dataset, int]":
        """The data set in which an example was first, and its number there."""
        return self, index

    def preparation(self, pictures: Preparation | None) -> Preparation | None:
        """What brings its examples to one shape: ``pictures``, unless they are no pictures any more; None = nothing."""
        return pictures

    def name(self, index: int) -> str:
        """What to call an example in a message."""
        return f"{self.info.name} {index}"

    @final
    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return Example(pixels=self.pixels(index), columns=self.columns(index), captions=self.captions(index))


class View(Dataset):
    """Another data set, seen in another way. Abstract in which; all that it does not say anew is the other one's."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.info = dataset, dataset.info

    def __len__(self) -> int:
        return len(self.dataset)

    def at(self, index: int) -> int:
        """The number that an example has in the other data set."""
        return index

    def pixels(self, index: int) -> NDArray[Any]:
        return self.dataset.pixels(self.at(index))

    def key(self, index: int) -> str:
        return self.dataset.key(self.at(index))

    def native(self, index: int) -> tuple[int, ...]:
        return self.dataset.native(self.at(index))

    def held(self, index: int) -> bool | None:
        return self.dataset.held(self.at(index))

    def columns(self, index: int) -> Mapping[str, Cell]:
        return self.dataset.columns(self.at(index))

    def captions(self, index: int) -> tuple[str, ...]:
        return self.dataset.captions(self.at(index))

    def map(self, index: int) -> ClassMap | None:
        return self.dataset.map(self.at(index))

    def origin(self, index: int) -> tuple[Dataset, int]:
        return self.dataset.origin(self.at(index))

    def preparation(self, pictures: Preparation | None) -> Preparation | None:
        return self.dataset.preparation(pictures)

    def name(self, index: int) -> str:
        return self.dataset.name(self.at(index))


@final
class Subset(View):
    """Some examples of a data set, in a given order."""

    def __init__(self, dataset: Dataset, indices: Sequence[int] | NDArray[np.int64]) -> None:
        super().__init__(dataset)
        self._indices = np.array(indices, np.int64)

    def __len__(self) -> int:
        return len(self._indices)

    def at(self, index: int) -> int:
        return self._indices[index].item()

    @property
    def ledger(self) -> Ledger | None:
        whole = self.dataset.ledger
        return None if whole is None else whole.take(self._indices)


@final
class Without(View):
    """All examples of a data set but a few, which alone are in memory.

    Args:
        others: the numbers (K,) of these, in order.
    """

    def __init__(self, dataset: Dataset, others: NDArray[np.int64]) -> None:
        super().__init__(dataset)
        self._others = others
        self._before = others - np.arange(len(others))  # how many examples there are before each that are not left out

    def __len__(self) -> int:
        return len(self.dataset) - len(self._others)

    def at(self, index: int) -> int:
        return index + int(np.searchsorted(self._before, index, "right"))

    @property
    def ledger(self) -> Ledger | None:
        whole = self.dataset.ledger
        return None if whole is None else whole.take(np.delete(np.arange(len(self.dataset)), self._others))


def captions_of(dataset: Dataset, index: int) -> tuple[str, ...]:
    """An example's captions; none of one that cannot be read, which a loader passes over."""
    try:
        return dataset.captions(index)
    except Unreadable:
        return ()


def split(dataset: Dataset, fraction: float) -> "tuple[Subset | Without, Subset]":
    """Divides a data set into (train, held out): as it says itself, else by content.

    Of two different examples or more, at least one is held out, and at least one is not. What is trained on under
    another name is not held out.

    Args:
        fraction: the expected part that is held out; 0 holds out nothing by content.
    """
    if (ledger := dataset.ledger) is not None:
        others, held_out = parts_of(ledger, fraction)
        return Without(dataset, others), Subset(dataset, held_out)
    if (own := _split_by_itself(dataset)) is not None:
        return own
    places = [integer(HELD_OUT, dataset.key(k)) / 2**63 for k in range(len(dataset))]
    held: set[float] = set()
    if fraction > 0 and places:
        held = ({place for place in places if place < fraction} or {min(places)}) - {max(places)}
    train = [k for k, place in enumerate(places) if place not in held]
    return Subset(dataset, train), Subset(dataset, [k for k, place in enumerate(places) if place in held])


def nested(dataset: Dataset, part: float) -> Subset:
    """A part of a data set, at least one example of it: those that come first in an order by content.

    Like ``split``, the order depends on what the examples are alone: a smaller part lies within a larger one.

    Args:
        part: above 0, up to 1; as many examples as are nearest to it.
    """
    places = [integer("nested", dataset.key(k)) for k in range(len(dataset))]
    first = sorted(range(len(dataset)), key=places.__getitem__)
    return Subset(dataset, sorted(first[: max(1, round(part * len(dataset)))]))


def _split_by_itself(dataset: Dataset) -> tuple[Subset, Subset] | None:
    """The split that the data have themselves; None if they have none, or nothing is left to be held out."""
    held = [bool(dataset.held(k)) for k in range(len(dataset))]
    train = [k for k, out in enumerate(held) if not out]
    known = {dataset.key(k) for k in train} if len(train) < len(held) else set[str]()
    new = [k for k, out in enumerate(held) if out and dataset.key(k) not in known]
    return (Subset(dataset, train), Subset(dataset, new)) if new else None


def contents(dataset: Dataset) -> list[list[int]]:
    """The examples of each key: copies of a picture, or a drawing and its variants."""
    alike: dict[str, list[int]] = {}
    for k in range(len(dataset)):
        alike.setdefault(dataset.key(k), []).append(k)
    return list(alike.values())


def fingerprint(dataset: Dataset) -> str:
    """Identifies a data set for the record of a run: 16 hexadecimal digits over names, contents and labels."""
    if (ledger := dataset.ledger) is not None:
        return fingerprint_of(ledger, dataset.info.classes, dataset.info.stamp)
    digest = hashlib.blake2b((repr(dataset.info.classes) + dataset.info.stamp).encode(), digest_size=8)
    for k in range(len(dataset)):
        rows = {
            name: (row.variants[0] if isinstance(row, Choices) else row).tolist()
            for name, row in sorted(dataset.columns(k).items())
            if not isinstance(row, Texts) and name != MAP
        }
        digest.update(repr((dataset.name(k), dataset.key(k), rows, dataset.captions(k))).encode())
        if dataset.held(k):
            digest.update(b"held out")
    return digest.hexdigest()


def one_hot(count: int, *classes: int) -> Row:
    """Weights (count,): 1 for each of ``classes``, else 0."""
    row = np.zeros(count, np.float32)
    row[list(classes)] = 1
    return row
