"""Handwritten digits, which need no files.

``assets/digits.png`` is a sheet of 60 by 30 pictures of 8x8 pixels, row by row, the last three empty. It was exported
once from scikit-learn's copy of the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
UCI, 1998; CC BY 4.0), its values 0..16 scaled to 0..255; the labels stand in the PNG's text chunk ``labels``.
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from carrara.data.arrays import ASSETS, Arrays
from carrara.data.base import DataInfo, Dataset
from carrara.data.sources.base import Source
from carrara.files import open_picture


@final
@dataclass(frozen=True, kw_only=True)
class DigitsSource(Source):
    """1797 handwritten digits of 8x8 grey pixels, in ten classes."""

    kind: Literal["digits"] = "digits"

    def open(self, size: int | None = None) -> Dataset:
        with open_picture(ASSETS / "digits.png") as image:
            labels = [int(label) for label in image.info["labels"]]
            sheet = np.asarray(image).reshape(30, 8, 60, 8).swapaxes(1, 2).reshape(-1, 8, 8, 1)
        info = DataInfo(
            name="digits",
            channels=1,
            native=(8, 8),
            classes=tuple("0123456789"),
            attribution="Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI 1998, CC BY 4.0",
        )
        return Arrays(info, sheet[: len(labels)], labels)


def digits() -> Dataset:
    """1797 handwritten digits of 8x8 grey pixels, in ten classes."""
    return DigitsSource().open()
