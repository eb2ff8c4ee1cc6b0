"""Points and arrows in the plane as pictures, drawn at twice the size and scaled down: no plotting library needed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

INK, PAPER, GRID, WARM = (31, 58, 95), (255, 255, 255), (225, 228, 232), (200, 80, 40)
_OVERSAMPLING = 2


class Plane:
    """A square picture of [-limit, limit]^2, to be drawn on.

    Args:
        size: pixels of a side.
        limit: the largest coordinate that is shown.
    """

    def __init__(self, size: int = 320, limit: float = 3.0) -> None:
        self._size, self._limit = size, limit
        self._image = Image.new("RGB", (size * _OVERSAMPLING, size * _OVERSAMPLING), PAPER)
        self._draw = ImageDraw.Draw(self._image)
        middle = size * _OVERSAMPLING // 2
        self._draw.line([(0, middle), (2 * middle, middle)], fill=GRID, width=2)
        self._draw.line([(middle, 0), (middle, 2 * middle)], fill=GRID, width=2)

    def points(self, points: Tensor, radius: float = 1.2, color: tuple[int, int, int] = INK) -> "Plane":
        """Adds a dot for each row of ``points`` (N, 2)."""
        r = radius * _OVERSAMPLING
        for x, y in self._place(points):
            self._draw.ellipse([x - r, y - r, x + r, y + r], fill=color)
        return self

    def arrows(self, starts: Tensor, vectors: Tensor, color: tuple[int, int, int] = WARM) -> "Plane":
        """Adds an arrow for each row of ``starts`` and ``vectors`` (N, 2), both in the plane's units."""
        for (x0, y0), (x1, y1) in zip(self._place(starts), self._place(starts + vectors), strict=True):
            self._draw.line([(x0, y0), (x1, y1)], fill=color, width=_OVERSAMPLING)
            along = np.array([x1 - x0, y1 - y0])
            length = float(np.hypot(*along))
            if length > 2 * _OVERSAMPLING:
                head = along / length * min(5 * _OVERSAMPLING, length)
                side = np.array([-head[1], head[0]]) / 2.5
                tip, back = np.array([x1, y1]), np.array([x1, y1]) - head
                self._draw.polygon([tuple(tip), tuple(back + side), tuple(back - side)], fill=color)
        return self

    def picture(self) -> Image.Image:
        """The finished picture."""
        return self._image.resize((self._size, self._size), Image.Resampling.LANCZOS)

    def _place(self, points: Tensor) -> NDArray[np.float64]:
        xy = points.detach().cpu().double().numpy()[:, :2] / self._limit
        return (np.stack([xy[:, 0], -xy[:, 1]], axis=1) + 1) / 2 * self._size * _OVERSAMPLING


def scatter(points: Tensor, size: int = 320, limit: float | None = None) -> Image.Image:
    """A picture of points (N, 2); without ``limit`` all but the farthest hundredth fit."""
    if limit is None:
        limit = float(np.quantile(points.detach().cpu().abs().numpy(), 0.99)) * 1.15 or 1.0
    return Plane(size, limit).points(points).picture()


def sheet(
    rows: Sequence[Sequence[Image.Image]], columns: Sequence[str], labels: Sequence[str], gap: int = 8
) -> Image.Image:
    """Puts pictures of one size into a table.

    Args:
        columns: a heading for each column.
        labels: a heading for each row.
    """
    font = ImageFont.load_default(15)
    width, height = rows[0][0].size
    left = max(round(font.getlength(label)) for label in labels) + 2 * gap
    top = 30
    size = (left + len(columns) * (width + gap) + gap, top + len(rows) * (height + gap) + gap)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    for c, heading in enumerate(columns):
        draw.text((left + c * (width + gap) + width / 2, top / 2), heading, fill=INK, font=font, anchor="mm")
    for r, (label, row) in enumerate(zip(labels, rows, strict=True)):
        y = top + r * (height + gap)
        draw.text((gap, y + height / 2), label, fill=INK, font=font, anchor="lm")
        for c, cell in enumerate(row):
            image.paste(cell, (left + c * (width + gap), y))
    return image
