"""A grid as MusicXML 4.0, which score programs read: a part for each voice, with bars, ties and accidentals.

A note or rest is cut at bar lines, and into lengths that one sign can write; the parts of a note are tied. Names of
pitches are those of the key (``keys.spelled_pitch``), and an accidental is written where neither the signature nor an
earlier one of the bar says it.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from json import dumps
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from carrara.notes.grid import REST, Grid
from carrara.notes.keys import spelled_pitch

_SIGNS = tuple(
    (Fraction(4 * (2 ** (dots + 1) - 1), 2 ** (k + dots)), name, dots)
    for k, name in enumerate(("whole", "half", "quarter", "eighth", "16th", "32nd", "64th"))
    for dots in (0, 1)
)
"""(quarters, name, dots) of what one sign can write."""
_ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
_SHARPS, _FLATS = "FCGDAEB", "BEADGCF"
_LOW = 58  # mean pitch of a voice below which it has a bass clef
_DOCTYPE = (
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">'
)


def to_musicxml(grid: Grid, about: Mapping[str, Any] | None = None) -> str:
    """The text of a MusicXML file.

    Args:
        about: a record, kept as JSON in the field ``carrara`` of the score's miscellaneous.
    """
    score = Element("score-partwise", version="4.0")
    if grid.name:
        _said(SubElement(score, "work"), "work-title", _clean(grid.name))
    if about is not None:
        fields = SubElement(SubElement(score, "identification"), "miscellaneous")
        _said(fields, "miscellaneous-field", dumps(about), name="carrara")
    parts = SubElement(score, "part-list")
    for voice in range(len(grid.pitches)):
        name = grid.voices[voice] if grid.voices else f"Voice {voice + 1}"
        _said(SubElement(parts, "score-part", id=f"P{voice + 1}"), "part-name", _clean(name))
    for voice in range(len(grid.pitches)):
        _part(SubElement(score, "part", id=f"P{voice + 1}"), grid, voice)
    indent(score)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_DOCTYPE}\n{tostring(score, encoding="unicode")}\n'


def _part(part: Element, grid: Grid, voice: int) -> None:
    lines = [0, *(bar for bar in grid.bars if bar), grid.steps]
    signature = grid.key.sharps if grid.key else 0
    for number, (begin, end) in enumerate(pairwise(lines), start=0 if grid.pickup else 1):
        measure = SubElement(part, "measure", number=str(number))
        if begin == 0:
            if grid.pickup:
                measure.set("implicit", "yes")
            _attributes(measure, grid, voice)
            _tempo(measure, grid.tempo)
        heard = _of_signature(signature)
        for start, length, pitch, tied in _signs(grid, voice, begin, end):
            _note(measure, grid, (start, length), pitch, tied, heard)


def _signs(grid: Grid, voice: int, begin: int, end: int) -> Iterator[tuple[int, int, int, tuple[bool, bool]]]:
    """(first step, steps, pitch, whether it is tied to the one before and after) of what stands in a bar."""
    pitches, onsets = grid.pitches[voice], grid.onsets[voice]
    begins = [
        t
        for t in range(begin, end)
        if t == begin or onsets[t] or (pitches[t] == REST) != (pitches[t - 1] == REST)
    ]  # fmt: skip
    for start, stop in zip(begins, [*begins[1:], end], strict=True):
        pitch, at = int(pitches[start]), start
        for length in _lengths(stop - start, grid.per_quarter):
            last = at + length == grid.steps or bool(onsets[at + length]) or pitches[at + length] == REST
            ties = (False, False) if pitch == REST else (not bool(onsets[at]), not last)
            yield at, length, pitch, ties
            at += length


def _lengths(steps: int, per_quarter: int) -> Iterator[int]:
    """The same length as signs, the longest first; what no sign can write is one of its own."""
    while steps:
        one = next((quarters * per_quarter for quarters, *_ in _SIGNS if _fits(quarters, per_quarter, steps)), steps)
        yield int(one)
        steps -= int(one)


def _fits(quarters: Fraction, per_quarter: int, steps: int) -> bool:
    return (quarters * per_quarter).denominator == 1 and quarters * per_quarter <= steps


def _note(
    measure: Element,
    grid: Grid,
    when: tuple[int, int],
    pitch: int,
    tied: tuple[bool, bool],
    heard: dict[tuple[str, int | None], int],
) -> None:
    """Adds a note or rest; ``heard`` has what letters are raised by in this bar, by octave, and in the signature."""
    note, sign = SubElement(measure, "note"), ""
    if pitch == REST:
        SubElement(note, "rest")
    else:
        letter, alter, octave = spelled_pitch(pitch, grid.key.sharps if grid.key else 0)
        place = SubElement(note, "pitch")
        _said(place, "step", letter)
        _said(place, "alter", str(alter))
        _said(place, "octave", str(octave))
        if heard.get((letter, octave), heard[letter, None]) != alter and not tied[0]:
            sign = _ACCIDENTALS[alter]
            heard[letter, octave] = alter
    _said(note, "duration", str(when[1]))
    kinds = [kind for kind, is_tied in zip(("stop", "start"), tied, strict=True) if is_tied]
    for kind in kinds:
        SubElement(note, "tie", type=kind)
    _said(note, "voice", "1")
    found = next(((name, dots) for quarters, name, dots in _SIGNS if quarters * grid.per_quarter == when[1]), None)
    if found:
        _said(note, "type", found[0])
        for _ in range(found[1]):
            SubElement(note, "dot")
    if sign:
        _said(note, "accidental", sign)
    if kinds:
        notations = SubElement(note, "notations")
        for kind in kinds:
            SubElement(notations, "tied", type=kind)


def _attributes(measure: Element, grid: Grid, voice: int) -> None:
    attributes = SubElement(measure, "attributes")
    _said(attributes, "divisions", str(grid.per_quarter))
    if grid.key:
        key = SubElement(attributes, "key")
        _said(key, "fifths", str(grid.key.sharps))
        _said(key, "mode", grid.key.mode)
    beats, beat = grid.metre or (4, 4)
    time = SubElement(attributes, "time")
    _said(time, "beats", str(beats))
    _said(time, "beat-type", str(beat))
    sounding = grid.pitches[voice][grid.pitches[voice] != REST]
    low = len(sounding) > 0 and sounding.mean() < _LOW
    clef = SubElement(attributes, "clef")
    _said(clef, "sign", "F" if low else "G")
    _said(clef, "line", "4" if low else "2")


def _tempo(measure: Element, tempo: float) -> None:
    direction = SubElement(measure, "direction", placement="above")
    metronome = SubElement(SubElement(direction, "direction-type"), "metronome")
    _said(metronome, "beat-unit", "quarter")
    _said(metronome, "per-minute", f"{tempo:g}")
    SubElement(direction, "sound", tempo=f"{tempo:g}")


def _of_signature(sharps: int) -> dict[tuple[str, int | None], int]:
    raised = set(_SHARPS[: max(0, sharps)])
    lowered = set(_FLATS[: max(0, -sharps)])
    return {(letter, None): (letter in raised) - (letter in lowered) for letter in _SHARPS}


def _said(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = text


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
