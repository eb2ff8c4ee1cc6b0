"""What is in a folder of pictures, and what may be wrong with it, as plain values and as text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from carrara.data.base import Fault
from carrara.data.formats import advice
from carrara.data.inspection.words import histogram
from carrara.files import shown

_SHOWN = 8  # names in a line of the report
_BARS = 24  # classes that are drawn
_WIDTH = 32  # of the longest bar

Number = int | float
Range = tuple[Number, Number, Number]
"""Smallest, median, largest."""


class Finding(NamedTuple):
    """Something that may be wrong.

    Attributes:
        file: its name within the folder.
        finding: of which kind: ``blurred``, ``near copy``, ...
        detail: more about it.
        other: another file that has to do with it.
    """

    file: str
    finding: str
    detail: str = ""
    other: str = ""


@dataclass(frozen=True, kw_only=True)
class Colours:
    """How the good pictures of a folder look on the whole.

    Attributes:
        grey, colour, transparent: how many are.
        mean: red, green and blue, 0..255.
        brightness, contrast: of the pictures, 0..255.
    """

    grey: int
    colour: int
    transparent: int
    mean: tuple[int, int, int]
    brightness: Range
    contrast: Range


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What ``inspect_folder`` found. Files are named relative to the folder.

    Attributes:
        count: how many pictures there are, good or not.
        good: how many can be trained on.
        bytes: of all pictures.
        remarks: what the folder is taken as, with the keys that say otherwise.
        warnings: what cannot be used, beside pictures.
        heights, widths, aspects: of the good ones; an aspect is width / height. None if there are none.
        kinds: how many of the good ones have each of Pillow's modes, or array types.
        colours: how they look; None if there are none.
        classes: how many of the good ones each class has.
        by_class: the names of the good ones of each class, as they are on the disk; of ``""`` where there is none.
        empty_classes: sub-folders without pictures, where sub-folders are classes.
        captions: how many of the good ones have a caption.
        without_caption: the good ones that have none, if others do.
        empty_captions: files of captions with nothing in them.
        lengths: how many words each caption has.
        words: the most common ones.
        faults: by its kind, the pictures that cannot be used, with the reason.
        duplicates: groups of pictures with the same bytes.
        near: groups of pictures that are nearly the same, of one class; copies of one picture count once.
        between: such groups with pictures of several classes: what is one picture is told to be two things.
        turned: pictures that fit the others of their class far better when they are turned back, by these degrees.
        turned_copies: pictures, what each is a copy of, and by how many degrees that was turned.
        blurred: pictures with little detail at their own size, and their sharpness; below 0.2.
        blank: pictures of one colour, or nearly.
        others: how many files have endings that are passed over.
        unused: tables that tell of nothing, with the reason.
        suggested: a (height, width) to train at.
    """

    path: Path
    count: int
    good: int
    bytes: int
    remarks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    heights: Range | None
    widths: Range | None
    aspects: Range | None
    kinds: Counter[str]
    colours: Colours | None = None
    classes: Counter[str]
    by_class: Mapping[str, tuple[str, ...]]
    empty_classes: tuple[str, ...]
    captions: int
    without_caption: tuple[str, ...]
    empty_captions: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    words: Counter[str]
    faults: Mapping[Fault, Mapping[str, str]]
    duplicates: tuple[tuple[str, ...], ...]
    near: tuple[tuple[str, ...], ...] = ()
    between: tuple[tuple[str, ...], ...] = ()
    turned: tuple[tuple[str, int], ...] = ()
    turned_copies: tuple[tuple[str, str, int], ...] = ()
    blurred: tuple[tuple[str, float], ...] = ()
    blank: tuple[str, ...] = ()
    others: Counter[str]
    unused: Mapping[str, str]
    suggested: tuple[int, ...] | None

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield f"{shown(self.path)}: {self.count} pictures, {self.bytes / 1e6:.1f} MB; {self.good} can be trained on"
        for remark in self.remarks:
            yield _line("taken as", remark)
        for warning in self.warnings:
            yield _line("left out", warning.removeprefix("left out "))
        yield from self._pictures()
        yield from self._told()
        yield from self._doubtful()
        yield from _passed_over(self.others)
        if self.suggested:
            height, width = self.suggested
            yield _line("suggested", f"data.size={height}" if height == width else f"data.size=[{height},{width}]")

    def findings(self) -> Iterator[Finding]:
        """All that may be wrong, one after the other."""
        for fault, files in self.faults.items():
            yield from (Finding(name, fault, reason) for name, reason in files.items())
        copies = {"duplicate": self.duplicates, "near copy": self.near, "in two classes": self.between}
        label = {shown(name): label for label, names in self.by_class.items() for name in names}
        for kind, groups in copies.items():
            for first, *others in groups:
                for name in others:
                    apart = f"{label[name]} and {label[first]}" if label[name] != label[first] else ""
                    yield Finding(name, kind, apart, first)
        yield from (Finding(name, "turned", f"to be turned by {by} degrees") for name, by in self.turned)
        for name, other, by in self.turned_copies:
            yield Finding(name, "turned copy", f"turned by {by} degrees", other)
        yield from (Finding(name, "blurred", f"sharpness {sharpness:.2f}") for name, sharpness in self.blurred)
        yield from (Finding(name, "blank") for name in self.blank)
        yield from (Finding(name, "no caption") for name in self.without_caption)
        yield from (Finding(name, "empty caption") for name in self.empty_captions)
        yield from (Finding(name, "empty class") for name in self.empty_classes)
        yield from (Finding(name, "passed over", why) for name, why in self.unused.items())
        for name, count in self.others.items():
            yield Finding(f"*{name}", "passed over", f"{count} files{_because(name)}")

    def _pictures(self) -> Iterator[str]:
        yield from _ranged("height", self.heights, ".0f")
        yield from _ranged("width", self.widths, ".0f")
        yield from _ranged("width/height", self.aspects, ".2f")
        yield from _counted("kinds", self.kinds)
        if self.colours:
            c = self.colours
            parts = {"in colour": c.colour, "grey": c.grey, "transparent": c.transparent}
            seen = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
            yield _line("colours", f"{seen}; mean #{c.mean[0]:02x}{c.mean[1]:02x}{c.mean[2]:02x}")
            if c.transparent:
                yield _line("transparent", "is laid over white in training, unless data.channels=4 keeps it")
            yield from _ranged("brightness", c.brightness, ".0f")
            yield from _ranged("contrast", c.contrast, ".0f")

    def _told(self) -> Iterator[str]:
        yield from _counted("classes", self.classes)
        yield from _bars(self.classes)
        yield from _listed("empty class", self.empty_classes)
        yield from _counted("captions", Counter({"pictures": self.captions}) if self.captions else Counter())
        if self.lengths:
            low, middle, high = range_of(self.lengths) or (0, 0, 0)
            yield _line("words each", f"{low} to {high}, median {middle}  {histogram(list(self.lengths))}")
        yield from _counted("common words", self.words, shown=20)
        yield from _listed("no caption", self.without_caption)
        yield from _listed("empty", self.empty_captions)

    def _doubtful(self) -> Iterator[str]:
        for fault, files in self.faults.items():
            yield from _listed(fault, [f"{name} ({reason})" for name, reason in files.items()])
        copies = {"duplicates": self.duplicates, "near copies": self.near, "two classes": self.between}
        for title, groups in copies.items():
            sign = " = " if title == "duplicates" else " ~ "
            yield from _listed(title, [sign.join(_cut(names)) for names in groups])
        yield from _listed("turned", [f"{name} (turn it by {by})" for name, by in self.turned])
        yield from _listed("turned copy", [f"{name} ~ {other} by {by}" for name, other, by in self.turned_copies])
        yield from _listed("blurred", [f"{name} ({sharpness:.2f})" for name, sharpness in self.blurred])
        yield from _listed("blank", self.blank)


def range_of(values: Sequence[Number]) -> Range | None:
    """The smallest, the lower median and the largest; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]


def _passed_over(others: Counter[str]) -> Iterator[str]:
    known = [name for name, _ in others.most_common() if advice(name)]
    for name in known[:_SHOWN]:
        yield _line("passed over", f"{others[name]} {name}{_because(name)}")
    rest = Counter({name: count for name, count in others.items() if name not in known[:_SHOWN]})
    yield from _counted("passed over", rest)


def _because(name: str) -> str:
    return f": {advice(name)}" if advice(name) else ""


def _bars(counts: Counter[str]) -> Iterator[str]:
    """Classes as bars, the largest first."""
    ordered, most = counts.most_common(), max(counts.values(), default=0)
    if len(ordered) < 2:
        return
    drawn = ordered if len(ordered) <= _BARS else [*ordered[: _BARS // 2], *ordered[-_BARS // 4 :]]
    width = min(20, max(len(name) for name, _ in drawn))
    for k, (name, count) in enumerate(drawn):
        if len(drawn) < len(ordered) and k == _BARS // 2:
            yield _line("", f"{'...':{width}} {len(ordered) - len(drawn)} more")
        cut = name if len(name) <= width else f"{name[: width - 1]}…"
        yield _line("", f"{cut:{width}} {'█' * max(1, round(_WIDTH * count / most))} {count}")


def _line(title: str, text: str) -> str:
    return f"  {title:13}{text}"


def _ranged(title: str, values: Range | None, form: str) -> Iterator[str]:
    if values:
        low, middle, high = (format(value, form) for value in values)
        yield _line(title, low if low == high else f"{low} to {high}, median {middle}")


def _counted(title: str, counts: Counter[str], shown: int = _SHOWN) -> Iterator[str]:
    if counts:
        named = [f"{count} {name}" for name, count in counts.most_common(shown)]
        yield _line(title, _shortened(named, len(counts)))


def _listed(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield _line(title, f"{len(names)}: {_shortened(names[:_SHOWN], len(names))}")


def _cut(names: Sequence[str]) -> Sequence[str]:
    return names if len(names) <= _SHOWN else (*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more")


def _shortened(shown: Sequence[str], count: int) -> str:
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")
