"""Sounds as pictures: the curve of the samples, and below it how strong each frequency is at each time.

Frequencies go up in mel (``spectrum``, equation (2)), time goes to the right, and colours are decibels from the loudest
point of the whole sheet down, so that the sounds of a sheet can be compared.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from carrara.plots import GRID, INK, PAPER, Scale
from carrara.sounds.spectrum import Sounds, band_edges, decibels, frame_of, frequencies

WIDTH, CURVE, SPECTRUM = 240, 36, 96
"""The pixels of a cell: across, of the curve and of the spectrogram."""
DEPTH = 70.0
"""Decibels from the lightest colour to the darkest."""
_LEFT, _BELOW, _GAP = 34, 18, 8
_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
_COLOURS = ((12, 10, 34), (66, 22, 104), (168, 46, 94), (240, 124, 52), (252, 246, 190))
_MARKS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


def sheet(x: Sounds, rate: int, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
    """Draws sounds row by row on a white sheet, each as a curve above its spectrogram, with seconds and hertz.

    Args:
        x: (B, C, L).
        rate: samples a second.
        columns: how many side by side; None = up to four.
        labels: written left of the rows.
    """
    columns = columns or min(4, max(1, math.ceil(math.sqrt(len(x)))))
    rows = math.ceil(len(x) / columns)
    font = ImageFont.load_default(11)
    margin = _GAP + math.ceil(max((font.getlength(text[:24]) for text in labels), default=0))
    wide, high = _LEFT + WIDTH + _GAP, CURVE + SPECTRUM + _BELOW + _GAP
    page = Image.new("RGB", (margin + columns * wide, _GAP + rows * high), PAPER)
    draw = ImageDraw.Draw(page)
    pictures = spectrograms(x, rate)
    for k in range(len(x)):
        left, top = margin + k % columns * wide + _LEFT, _GAP + k // columns * high
        _curve(draw, x[k].detach().cpu().float().numpy(), left, top)
        page.paste(Image.fromarray(pictures[k]), (left, top + CURVE))
        _axes(draw, font, left, top + CURVE, rate, x.shape[-1])
    for row, text in enumerate(labels[:rows]):
        draw.text((_GAP // 2, _GAP + row * high + (CURVE + SPECTRUM) / 2), text[:24], INK, font, anchor="lm")
    return page


def table(states: Sequence[Sounds], rate: int) -> Image.Image:
    """Draws sounds being made: a row of spectrograms for each sound, a column for each state, from left to right.

    Args:
        states: (B, C, L) each; colours are of each state's own loudest point.
    """
    columns = [spectrograms(state, rate, width=max(24, 960 // len(states))) for state in states]
    height, width = columns[0].shape[1:3]
    page = Image.new("RGB", (len(columns) * (width + 2) + 2, len(states[0]) * (height + 2) + 2), PAPER)
    for c, pictures in enumerate(columns):
        for r, picture in enumerate(pictures):
            page.paste(Image.fromarray(picture), (2 + c * (width + 2), 2 + r * (height + 2)))
    return page


def spectrograms(x: Sounds, rate: int, width: int = WIDTH, height: int = SPECTRUM) -> NDArray[np.uint8]:
    """The coloured spectrograms (B, height, width, 3) of sounds; channels are taken together."""
    levels = torch.stack([_levels(sound, rate, width, height) for sound in x.detach().cpu().float()]).numpy()
    value = 1 + (levels - levels.max()) / DEPTH
    channels = [np.interp(value, _PLACES, [colour[k] for colour in _COLOURS]) for k in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def _levels(sound: torch.Tensor, rate: int, width: int, height: int) -> torch.Tensor:
    """(C, L) to decibels (height, width), high frequencies above; a column is the frame around its time."""
    n = frame_of(rate, sound.shape[1])
    middles = torch.linspace(0, sound.shape[1] - 1, width).round().long()
    framed = F.pad(sound, (n // 2, n // 2))[:, middles[:, None] + torch.arange(n)]
    window = torch.hann_window(n)
    power = (2 * torch.fft.rfft(framed * window).abs() / window.sum()).square().mean(0)  # a full sine is 0 dB
    return decibels(_rows(power, rate, n, height), 1e-10).flip(1).T


def _rows(power: torch.Tensor, rate: int, n: int, height: int) -> torch.Tensor:
    """Powers (T, K) to (T, height), equally far in mel: the strongest of a row's frequencies, or between two."""
    edges, f = band_edges(rate, height), frequencies(rate, n)
    middles = (edges[1:] + edges[:-1]) / 2
    above = torch.searchsorted(f, middles).clamp(1, len(f) - 1)
    part = ((middles - f[above - 1]) / (f[above] - f[above - 1])).float()
    rows = power[:, above - 1] * (1 - part) + power[:, above] * part
    for row, (low, high) in enumerate(pairwise(edges.tolist())):
        inside = power[:, (f >= low) & (f < high)]
        if inside.shape[1] > 1:
            rows[:, row] = inside.amax(1)
    return rows


def _curve(draw: ImageDraw.ImageDraw, sound: NDArray[np.float32], left: int, top: int) -> None:
    """The extremes of the samples at each pixel, the channels below each other; full scale fills the height."""
    high = CURVE / len(sound)
    for channel, samples in enumerate(sound.clip(-1, 1)):
        middle = top + (channel + 0.5) * high
        draw.line([(left, middle), (left + WIDTH - 1, middle)], GRID)
        firsts = np.arange(WIDTH) * len(samples) // WIDTH
        lows, highs = np.minimum.reduceat(samples, firsts), np.maximum.reduceat(samples, firsts)
        for k, (low, up) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
            ends = [round(middle - value * (high / 2 - 1)) for value in (up, low)]
            draw.line([(left + k, ends[0]), (left + k, ends[1])], INK)


def _axes(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    left: int,
    top: int,
    rate: int,
    length: int,
) -> None:
    """Hertz at the left of a spectrogram, seconds below it."""
    edges, last = band_edges(rate, SPECTRUM).numpy(), top + 6
    for mark in reversed(_MARKS):
        if mark < rate / 2:
            y = top + SPECTRUM * (1 - np.interp(mark, edges, np.linspace(0, 1, len(edges))))
            if y >= last and y < top + SPECTRUM - 4:
                draw.line([(left - 3, y), (left - 1, y)], INK)
                draw.text((left - 5, y), f"{mark // 1000}k" if mark >= 1000 else str(mark), INK, font, anchor="rm")
                last = y + 11
    seconds = Scale(low=0.0, high=length / rate, log=False)
    bottom, ticks = top + SPECTRUM, seconds.ticks()
    for at in ticks[:: math.ceil(len(ticks) / 5)]:
        x = left + seconds.place(at) * WIDTH
        draw.line([(x, bottom), (x, bottom + 2)], INK)
        text = f"{at:g} s" if at == 0 or length / rate >= 0.1 else f"{1000 * at:g} ms"
        draw.text((x, bottom + 9), text, INK, font, anchor="lm" if at == 0 else "mm" if x < left + WIDTH - 12 else "rm")
