"""A grid as a picture: a piano roll with a colour for each voice.

Time goes to the right and pitch upwards. A note begins with a dark edge and ends with a gap, so that two of one pitch
are told from one long one. Where voices meet on one pitch, they share its height.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from carrara.notes.grid import REST, Grid

COLOURS = ((47, 111, 193), (214, 121, 22), (46, 139, 87), (176, 58, 120), (120, 94, 200), (0, 139, 150), (146, 118, 20))
"""Of the voices, from the highest on."""
_PAPER, _BLACK_KEYS, _LINE, _BEAT, _BAR, _INK = (
    (255, 255, 255),
    (244, 245, 247),
    (222, 225, 230),
    (232, 234, 238),
    (150, 156, 166),
    (70, 76, 86),
)
_OVER = 2  # drawn larger, and scaled down
_STEP, _PITCH = 10, 8  # pixels
_LEFT, _TOP, _BOTTOM, _RIGHT = 30, 6, 18, 8
_MARGIN = 2  # semitones above and below


def picture(
    grid: Grid, lowest: int | None = None, highest: int | None = None, *, step: int = _STEP, pitch: int = _PITCH
) -> Image.Image:
    """The piano roll of a grid.

    Args:
        lowest, highest: pitches that are shown at least; by default those that sound, and two semitones more.
        step, pitch: pixels of one.
    """
    low, high = _range(grid, lowest, highest)
    size = (_LEFT + step * grid.steps + _RIGHT, _TOP + pitch * (high - low + 1) + _BOTTOM)
    image = Image.new("RGB", (size[0] * _OVER, size[1] * _OVER), _PAPER)
    canvas = _Canvas(ImageDraw.Draw(image), low, high, step, pitch)
    canvas.paper(grid)
    for voice, start, length, sounding in grid.notes().tolist():
        canvas.note(grid, voice, start, length, sounding)
    return image.resize(size, Image.Resampling.LANCZOS)


class _Canvas:
    """What is drawn on, in steps and pitches."""

    def __init__(self, draw: ImageDraw.ImageDraw, low: int, high: int, step: int, pitch: int) -> None:
        self._draw, self._low, self._high, self._step, self._pitch = draw, low, high, step, pitch

    def _x(self, step: int) -> int:
        return (_LEFT + step * self._step) * _OVER

    def _y(self, pitch: int) -> int:
        """The upper edge of a pitch's row."""
        return (_TOP + (self._high - pitch) * self._pitch) * _OVER

    def paper(self, grid: Grid) -> None:
        """Rows, bars and names of octaves."""
        left, right, font = self._x(0), self._x(grid.steps), ImageFont.load_default(9 * _OVER)
        for pitch in range(self._low, self._high + 1):
            if pitch % 12 in (1, 3, 6, 8, 10):
                self._draw.rectangle([left, self._y(pitch), right, self._y(pitch - 1) - 1], fill=_BLACK_KEYS)
        beat = max(1, 4 * grid.per_quarter // (grid.metre or (4, 4))[1])
        for step in range(grid.pickup % beat, grid.steps + 1, beat):
            self._line(step, _BEAT)
        for pitch in range(self._low, self._high + 1):
            if pitch % 12 == 0:
                y = self._y(pitch - 1)
                self._draw.line([(left, y), (right, y)], fill=_LINE, width=_OVER)
                where = (left - 5 * _OVER, y - self._pitch * _OVER / 2)
                self._draw.text(where, f"C{pitch // 12 - 1}", fill=_INK, font=font, anchor="rm")
        for number, step in enumerate(grid.bars, start=1):
            self._line(step, _BAR)
            where = (self._x(step) + 2 * _OVER, self._y(self._low - 1) + 4 * _OVER)
            self._draw.text(where, str(number), fill=_INK, font=font, anchor="lt")
        self._line(grid.steps, _BAR)

    def _line(self, step: int, colour: tuple[int, int, int]) -> None:
        x = self._x(step)
        self._draw.line([(x, self._y(self._high)), (x, self._y(self._low - 1))], fill=colour, width=_OVER)

    def note(self, grid: Grid, voice: int, start: int, length: int, pitch: int) -> None:
        """One note; parts of it that other voices have too are thinner."""
        colour = COLOURS[voice % len(COLOURS)]
        edge = tuple(part * 6 // 10 for part in colour)
        shares = [_share(grid, voice, step, pitch) for step in range(start, start + length)]
        begins = [k for k in range(length) if k == 0 or shares[k] != shares[k - 1]]
        for begin, end in zip(begins, [*begins[1:], length], strict=True):
            place, among = shares[begin]
            height = self._pitch * _OVER / among
            top = self._y(pitch) + place * height
            gap = 1.5 * _OVER if end == length else 0
            box = [self._x(start + begin) + _OVER * (begin == 0), top, self._x(start + end) - gap - 1, top + height - 1]
            self._draw.rectangle(box, fill=colour)
            if begin == 0:
                self._draw.rectangle([*box[:2], box[0] + 2 * _OVER - 1, box[3]], fill=edge)


def _share(grid: Grid, voice: int, step: int, pitch: int) -> tuple[int, int]:
    """The how-manieth a voice is of so many that have this pitch."""
    column: Sequence[int] = grid.pitches[:, step].tolist()
    alike = [v for v, sounding in enumerate(column) if sounding == pitch]
    return alike.index(voice), len(alike)


def _range(grid: Grid, lowest: int | None, highest: int | None) -> tuple[int, int]:
    sounding = grid.pitches[grid.pitches != REST]
    low, high = (int(sounding.min()), int(sounding.max())) if sounding.size else (60, 72)
    low, high = low - _MARGIN, high + _MARGIN
    return max(0, low if lowest is None else lowest), min(127, high if highest is None else highest)
