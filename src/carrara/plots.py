"""Points and arrows in the plane, and curves, without a plotting library.

Pictures are drawn at twice the size and scaled down. A chart of curves is also an SVG, to stand in a page: its text and
axes take the page's colour, and its curves have colours that can be told from white and from near-black paper.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

INK, PAPER, GRID, WARM = (31, 58, 95), (255, 255, 255), (225, 228, 232), (200, 80, 40)
_OVERSAMPLING = 2

PALETTE = ("#2f7fd1", "#d2691e", "#2e8b57", "#9560c8", "#d3415a", "#1f8f9c", "#94801f", "#7a828c")
"""Colours of curves, in their order; the next round is dashed."""
_DASHES = ("", "6 4", "2 3")
_LEFT, _TOP, _RIGHT, _BOTTOM = 62.0, 26.0, 32.0, 44.0  # margins of a chart, in its own units
_MOST_TICKS = 6
_FEW = 20  # so many points of a curve are marked


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


_Number = int | float


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve of a chart; a point that cannot be drawn is left out."""

    name: str
    x: Sequence[_Number]
    y: Sequence[_Number]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A stretch of numbers along an edge, linear or logarithmic."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Iterable[_Number], log: bool) -> "Scale":
        """The stretch on which all of ``values`` lie, which are finite, and positive if it is logarithmic."""
        kept = [float(value) for value in values] or [1.0]
        low, high = min(kept), max(kept)
        if low == high:
            low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
        return cls(low=low, high=high, log=log)

    def place(self, value: _Number) -> float:
        """Where a value lies, from 0 to 1."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round numbers on the stretch, two or more and not too many."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for digits in ((1,), (1, 3), (1, 2, 5)):
                found = self._within(digit * 10.0**decade for decade in decades for digit in digits)
                if len(found) >= 3:
                    return found[:: math.ceil(len(found) / _MOST_TICKS)]
        decade = 10.0 ** math.floor(math.log10((self.high - self.low) / _MOST_TICKS))
        step = next(s * decade for s in (1, 2, 5, 10) if (self.high - self.low) / (s * decade) <= _MOST_TICKS)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]

    def _within(self, values: Iterable[float]) -> list[float]:
        return [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves over one pair of axes.

    Attributes:
        title: what it shows, in a few words.
        x_label, y_label: what is along the axes, with its unit.
        log_x, log_y: logarithmic axes; numbers that are not positive are left out.
    """

    title: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False

    def summary(self) -> str:
        """The chart in words, for those who cannot see it: where each curve begins and ends."""
        parts = [
            f"{line.name} goes from {p[0][1]:.3g} at {p[0][0]:g} to {p[-1][1]:.3g} at {p[-1][0]:g}"
            for line in self.lines
            if (p := self._points(line))
        ]
        return f"{self.title}: {self.y_label} over {self.x_label}. {'; '.join(parts) or 'Nothing to draw'}."

    def svg(self, width: int = 480, height: int = 300) -> str:
        """An ``<svg>`` element, without a legend: colours are ``PALETTE``'s, in the order of the lines."""
        marks = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(self.summary())}">']
        for (x0, y0), (x1, y1), text, anchor in self._rulings(width, height):
            place = (x0, height - _BOTTOM + 18) if anchor == "middle" else (x0 - 6, y0 + 4)
            marks.append(f'<line class="grid" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
            marks.append(f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" text-anchor="{anchor}">{text}</text>')
        marks.append(f'<text x="{_LEFT}" y="14">{escape(self.y_label)}</text>')
        marks.append(f'<text x="{width - _RIGHT}" y="{height - 6}" text-anchor="end">{escape(self.x_label)}</text>')
        for k, path in enumerate(self._paths(width, height)):
            dash = _DASHES[k // len(PALETTE) % len(_DASHES)]
            dots = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
            marks.append(f'<polyline points="{dots}" stroke="{colour_of(k)}" stroke-dasharray="{dash}"/>')
            marks += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour_of(k)}"/>' for x, y in _marked(path)]
        return "".join([*marks, "</svg>"])

    def picture(self, width: int = 640, height: int = 400) -> Image.Image:
        """A picture on white, with a legend below if there is more than one curve."""
        font, bigger = ImageFont.load_default(12 * _OVERSAMPLING), _OVERSAMPLING
        legend = self._legend(width, height) if len(self.lines) > 1 else []
        whole = round(legend[-1][1]) + 18 if legend else height
        image = Image.new("RGB", (width * bigger, whole * bigger), PAPER)
        draw = ImageDraw.Draw(image)

        def write(x: _Number, y: _Number, text: str, anchor: str) -> None:
            draw.text((x * bigger, y * bigger), text, fill=INK, font=font, anchor=anchor)

        for (x0, y0), (x1, y1), text, anchor in self._rulings(width, height):
            draw.line([(x0 * bigger, y0 * bigger), (x1 * bigger, y1 * bigger)], fill=GRID, width=bigger)
            write(*((x0, height - _BOTTOM + 14, text, "mm") if anchor == "middle" else (x0 - 6, y0, text, "rm")))
        write(_LEFT, 10, self.y_label, "lm")
        write(width - _RIGHT, height - 10, self.x_label, "rm")
        for k, path in enumerate(self._paths(width, height)):
            corners = [(x * bigger, y * bigger) for x, y in path]
            draw.line(corners, fill=colour_of(k), width=2 * bigger, joint="curve")
            for x, y in _marked(corners):
                draw.circle((x, y), 3 * bigger, fill=colour_of(k))
        for k, (x, y, name) in enumerate(legend):
            draw.line([(x * bigger, y * bigger), ((x + 18) * bigger, y * bigger)], fill=colour_of(k), width=3 * bigger)
            write(x + 24, y, name, "lm")
        return image.resize((width, whole), Image.Resampling.LANCZOS)

    def _points(self, line: Line) -> list[tuple[_Number, _Number]]:
        """The points that can be drawn."""
        pairs = zip(line.x, line.y, strict=True)
        return [(x, y) for x, y in pairs if _drawable(x, self.log_x) and _drawable(y, self.log_y)]

    def _scales(self) -> tuple[Scale, Scale]:
        points = [point for line in self.lines for point in self._points(line)]
        return Scale.of((x for x, _ in points), self.log_x), Scale.of((y for _, y in points), self.log_y)

    def _rulings(self, width: int, height: int) -> list[tuple[tuple[float, float], tuple[float, float], str, str]]:
        """The grid: both ends of each line, the number on it, and how it is anchored there."""
        across, up = self._scales()
        bottom, right = height - _BOTTOM, width - _RIGHT
        columns = [(_LEFT + across.place(v) * (right - _LEFT), v) for v in across.ticks()]
        rows = [(bottom - up.place(v) * (bottom - _TOP), v) for v in up.ticks()]
        vertical = [((x, bottom), (x, _TOP), _written(v), "middle") for x, v in columns]
        return [*vertical, *(((_LEFT, y), (right, y), _written(v), "end") for y, v in rows)]

    def _paths(self, width: int, height: int) -> list[list[tuple[float, float]]]:
        """The corners of each curve."""
        across, up = self._scales()
        wide, high = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
        return [
            [(_LEFT + across.place(x) * wide, _TOP + (1 - up.place(y)) * high) for x, y in self._points(line)]
            for line in self.lines
        ]

    def _legend(self, width: int, height: int) -> list[tuple[float, float, str]]:
        """Where each curve's name stands, row by row below the axes."""
        font, x, y = ImageFont.load_default(12), _LEFT, height + 6.0
        places: list[tuple[float, float, str]] = []
        for line in self.lines:
            needed = 24 + font.getlength(line.name) + 16
            if x > _LEFT and x + needed > width:
                x, y = _LEFT, y + 18
            places.append((x, y, line.name))
            x += needed
        return places


def colour_of(k: int) -> str:
    """The colour of curve ``k``."""
    return PALETTE[k % len(PALETTE)]


def _written(value: _Number) -> str:
    """A number at the edge of a chart."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.6g}"


def _marked(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points of a curve that get a dot: all, if they are few."""
    return path if len(path) <= _FEW else []


def _drawable(value: _Number, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)
