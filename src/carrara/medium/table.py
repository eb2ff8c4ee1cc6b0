"""Rows of a table: points, written with the columns that the data had."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from PIL import Image
from torch import Tensor

from carrara import pixels
from carrara.data.rows import decoded, width_of
from carrara.files import replacing
from carrara.medium.base import PointMedium
from carrara.modality import Table


@final
class TableMedium(PointMedium):
    """(D,): shown by the first two columns of numbers, as far as there are two."""

    name = "rows"

    def __init__(self, modality: Table) -> None:
        self.modality = modality
        firsts, numbers = 0, list[int]()
        for column in modality.columns:
            numbers += [firsts] * (not column.categories)
            firsts += width_of(column)
        self._plane = (*numbers[:2], *(k for k in range(firsts) if k not in numbers[:2]))[:2]

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        return super().grid(self._points(samples), columns, labels)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        return super().strip([self._points(state) for state in states])

    def write(self, sample: Tensor, stem: Path, about: Mapping[str, Any]) -> list[Path]:
        return [self._written(sample[None], stem.with_name(f"{stem.name}.csv"))]

    def write_all(self, samples: Tensor, folder: Path, about: Callable[[int], Mapping[str, Any]]) -> list[Path]:
        """All of them in one ``samples.csv``."""
        return [self._written(samples, folder / "samples.csv")]

    def _written(self, samples: Tensor, path: Path) -> Path:
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow([column.name for column in self.modality.columns])
        rows.writerows(decoded(samples.detach().cpu().numpy(), self.modality.columns))
        path = pixels.fresh(path)
        with replacing(path) as file:
            file.write(text.getvalue().encode())
        return path

    def _points(self, x: Tensor) -> Tensor:
        """Two coordinates of each, (N, 2)."""
        chosen = self._plane if len(self._plane) == 2 else (0, 0)
        return x[:, list(chosen)]
