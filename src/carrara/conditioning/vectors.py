r"""Class labels and real-valued vectors: one matrix product for all of them.

A column w of shape (B, K) becomes the vector

.. math:: c = w E, \quad E \in R^{K \times D}.                                                                   (1)

One-hot rows are class labels; rows with several ones are several labels at once; weights that sum to one mix embeddings
(half one class, half another); and any real numbers are a context vector.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from carrara.conditioning.base import Conditioner, ConditionerConfig, Unconditional
from carrara.data import DataInfo
from carrara.errors import UserError, unknown
from carrara.types import Columns, Conditioning


class VectorConditioner(Conditioner):
    """Equation (1), and a learned vector for "nothing is said". Abstract in what users may type."""

    def __init__(self, column: str, size: int, width: int) -> None:
        super().__init__()
        self.column = column
        self.table = nn.Parameter(torch.empty(size, width))
        nn.init.normal_(self.table)
        self.table.looked_up = True  # pyright: ignore[reportAttributeAccessIssue]
        self.nothing = nn.Parameter(torch.zeros(width))

    def null(self, count: int) -> Conditioning:
        return Conditioning(vector=self.nothing.expand(count, -1))

    def embed(self, columns: Columns) -> Conditioning:
        assert self.column is not None
        return Conditioning(vector=columns[self.column] @ self.table)


class Labels(VectorConditioner):
    """Classes by name. Use ``LabelsConfig(classes=...).build(width)``."""

    def __init__(self, config: "LabelsConfig", width: int) -> None:
        super().__init__("label", len(config.classes), width)
        self.classes = config.classes

    def parse(self, text: str) -> Tensor:
        """Reads ``"cat"``, several labels ``"cat+hat"`` or weights ``"cat:0.5+dog:0.5"`` into (K,) weights."""
        row = torch.zeros(len(self.classes))
        for part in [text] if text in self.classes else text.split("+"):
            name, colon, weight = part.strip().rpartition(":")
            name, weight = (name, weight) if colon and name in self.classes else (part.strip(), "1")
            if name not in self.classes:
                raise unknown("label", name, self.classes)
            row[self.classes.index(name)] += _number(weight, part)
        return row


class Vectors(VectorConditioner):
    """Real numbers that mean something to the user. Use ``VectorsConfig(size=...).build(width)``."""

    def __init__(self, config: "VectorsConfig", width: int) -> None:
        super().__init__("vector", config.size, width)
        self.size = config.size

    def parse(self, text: str) -> Tensor:
        """Reads ``"0.2,-1,3"`` into (K,) numbers."""
        numbers = [_number(part, text) for part in text.split(",")]
        if len(numbers) != self.size:
            raise UserError(f"this model is told {self.size} numbers per picture, but '{text}' has {len(numbers)}")
        return torch.tensor(numbers)


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"'{text}' in '{where.strip()}' is not a number")
    return number


@dataclass(frozen=True, kw_only=True)
class UnconditionalConfig(ConditionerConfig):
    """No condition."""

    kind: Literal["none"] = "none"

    def build(self, width: int) -> Conditioner:
        return Unconditional()


@dataclass(frozen=True, kw_only=True)
class LabelsConfig(ConditionerConfig):
    """Class labels, one or several per picture.

    Attributes:
        classes: their names, in the order of the column; empty in a recipe means: those of the data.
    """

    kind: Literal["labels"] = "labels"
    classes: tuple[str, ...] = ()

    def complete(self, info: DataInfo, captions: Iterable[str]) -> "LabelsConfig":
        if not self.classes and not info.classes:
            raise UserError("model.conditioner is labels, but the data has none: make one sub-folder per class")
        if self.classes not in ((), info.classes):
            raise UserError(
                f"model.conditioner.classes are {_listed(self.classes)}, but the data's are {_listed(info.classes)}: "
                "leave them out to take the data's"
            )
        return LabelsConfig(classes=info.classes)

    def build(self, width: int) -> Conditioner:
        if not self.classes:
            raise ValueError("conditioning on labels needs class names: make one sub-folder per class")
        return Labels(self, width)


@dataclass(frozen=True, kw_only=True)
class VectorsConfig(ConditionerConfig):
    """Real-valued vectors, ``size`` numbers per picture; 0 in a recipe means: as many as the data has."""

    kind: Literal["vectors"] = "vectors"
    size: int = 0

    def complete(self, info: DataInfo, captions: Iterable[str]) -> "VectorsConfig":
        if not self.size and not info.vector_size:
            raise UserError('model.conditioner is vectors, but the data has none: put "vector" into metadata.jsonl')
        if self.size not in (0, info.vector_size):
            raise UserError(
                f"model.conditioner.size is {self.size}, but the data has {info.vector_size} numbers per picture: "
                "leave it out to take the data's"
            )
        return VectorsConfig(size=info.vector_size)

    def build(self, width: int) -> Conditioner:
        if self.size < 1:
            raise ValueError('conditioning on vectors needs a "vector" of numbers per picture in metadata.jsonl')
        return Vectors(self, width)


def _listed(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "") or "none"
