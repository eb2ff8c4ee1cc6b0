"""What is in a folder of pictures, and what is wrong with it. Every file is decoded; nothing is changed or deleted."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median_low

from carrara.data.base import Fault, Unreadable
from carrara.data.files import Header, decode, explain, read_header, relative, scan
from carrara.data.folder import Folder, look
from carrara.files import PICTURE, BadFile, is_folder, opened, shown

_SHOWN = 8  # names in a line of the report

Number = int | float
Range = tuple[Number, Number, Number]
"""Smallest, median, largest."""


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What ``inspect_folder`` found. Files are named relative to the folder.

    Attributes:
        count: how many pictures there are, good or not.
        good: how many can be trained on.
        bytes: of all pictures.
        heights, widths, aspects: of the good ones; an aspect is width / height. None if there are none.
        kinds: how many of the good ones have each of Pillow's modes, or array types.
        classes: how many of the good ones each class has.
        empty_classes: sub-folders without pictures, where sub-folders are classes.
        captions: how many of the good ones have a caption.
        without_caption: the good ones that have none, if others do.
        faults: by its kind, the pictures that cannot be used, with the reason.
        duplicates: groups of pictures with the same bytes.
        others: how many files have endings that are passed over.
        suggested: a (height, width) to train at.
    """

    path: Path
    count: int
    good: int
    bytes: int
    heights: Range | None
    widths: Range | None
    aspects: Range | None
    kinds: Counter[str]
    classes: Counter[str]
    empty_classes: tuple[str, ...]
    captions: int
    without_caption: tuple[str, ...]
    faults: Mapping[Fault, Mapping[str, str]]
    duplicates: tuple[tuple[str, ...], ...]
    others: Counter[str]
    suggested: tuple[int, int] | None

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield f"{shown(self.path)}: {self.count} pictures, {self.bytes / 1e6:.1f} MB; {self.good} can be trained on"
        yield from _ranged("height", self.heights, ".0f")
        yield from _ranged("width", self.widths, ".0f")
        yield from _ranged("width/height", self.aspects, ".2f")
        yield from _counted("kinds", self.kinds)
        yield from _counted("classes", self.classes)
        yield from _counted("captions", Counter({"pictures": self.captions}) if self.captions else Counter())
        for fault, files in self.faults.items():
            yield from _listed(fault, [f"{name} ({reason})" for name, reason in files.items()])
        yield from _listed("duplicates", [" = ".join(_cut(names)) for names in self.duplicates])
        yield from _listed("no caption", self.without_caption)
        yield from _listed("empty class", self.empty_classes)
        yield from _counted("passed over", self.others)
        if self.suggested:
            height, width = self.suggested
            yield _line("suggested", f"data.size={height}" if height == width else f"data.size=[{height},{width}]")


@dataclass(frozen=True, kw_only=True)
class _Finding:
    name: str
    header: Header
    bytes: int = 0
    digest: str = ""


def inspect_folder(path: Path | str) -> DataReport:
    """Reads every picture of a folder completely.

    Raises:
        UserError: there is no such folder, no picture in it, or its metadata are wrong.
    """
    path = Path(path)
    found = look(path)
    findings = list(scan(partial(_examine, path), [path / name for name in found.pictures], "Reading pictures"))
    good = [finding.header for finding in findings if not finding.header.problem]
    sizes = [header.size for header in good if header.size]
    folder = Folder(path, good) if good else None
    captions = {folder.name(k): folder.captions(k) for k in range(len(folder))} if folder else {}
    classes = _class_counts(folder) if folder else Counter[str]()
    return DataReport(
        path=path,
        count=len(findings),
        good=len(good),
        bytes=sum(finding.bytes for finding in findings),
        heights=_range([height for height, _ in sizes]),
        widths=_range([width for _, width in sizes]),
        aspects=_range([width / height for height, width in sizes]),
        kinds=Counter(header.mode for header in good),
        classes=classes,
        empty_classes=_empty_folders(path, findings) if classes else (),
        captions=sum(map(bool, captions.values())),
        without_caption=tuple(n for n, c in captions.items() if not c) if any(captions.values()) else (),
        faults=_faults(findings),
        duplicates=_duplicates(findings),
        others=Counter({shown(name): count for name, count in found.passed_over.items()}),
        suggested=suggested_size(folder.info.native) if folder and folder.info.native else None,
    )


def suggested_size(native: tuple[int, int], largest: int = 64) -> tuple[int, int]:
    """A size to train at: the shorter side is a power of two, at most ``largest``, and the longer a multiple of 8."""
    short = min(native)
    side = max(8, min(largest, 1 << (short.bit_length() - 1)))
    height, width = (max(8, round(edge * side / short / 8) * 8) for edge in native)
    return height, width


def _examine(folder: Path, path: Path) -> _Finding:
    name, header = relative(path, folder), read_header(path)
    try:
        with opened(path, PICTURE) as file:
            digest, size = hashlib.file_digest(file, "blake2b").hexdigest(), file.tell()
    except (BadFile, OSError):  # a link that leads nowhere, a file that may not be read: the header knows
        return _Finding(name=name, header=header)
    try:
        if not header.problem:
            decode(path, header)
    except Unreadable as error:
        header = replace(header, problem=explain(path, error))
    return _Finding(name=name, header=header, bytes=size, digest=digest)


def _class_counts(folder: Folder) -> Counter[str]:
    labels = [folder.columns(k)["label"] for k in range(len(folder))] if folder.info.classes else []
    return Counter(name for row in labels for name, weight in zip(folder.info.classes, row, strict=True) if weight)


def _empty_folders(path: Path, findings: Sequence[_Finding]) -> tuple[str, ...]:
    used = {finding.name.partition("/")[0] for finding in findings}
    folders = sorted(entry.name for entry in path.iterdir() if is_folder(entry) and not entry.name.startswith("."))
    return tuple(shown(name) for name in folders if name not in used)


def _faults(findings: Sequence[_Finding]) -> dict[Fault, dict[str, str]]:
    faults: defaultdict[Fault, dict[str, str]] = defaultdict(dict)
    for finding in findings:
        if problem := finding.header.problem:
            faults[problem.fault][shown(finding.name)] = str(problem)
    return dict(sorted(faults.items()))


def _duplicates(findings: Sequence[_Finding]) -> tuple[tuple[str, ...], ...]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for finding in findings:
        if finding.bytes:
            groups[finding.digest].append(shown(finding.name))
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def _range(values: Sequence[Number]) -> Range | None:
    return (min(values), median_low(values), max(values)) if values else None


def _line(title: str, text: str) -> str:
    return f"  {title:13}{text}"


def _ranged(title: str, values: Range | None, form: str) -> Iterator[str]:
    if values:
        low, middle, high = (format(value, form) for value in values)
        yield _line(title, low if low == high else f"{low} to {high}, median {middle}")


def _counted(title: str, counts: Counter[str]) -> Iterator[str]:
    if counts:
        shown = [f"{count} {name}" for name, count in counts.most_common(_SHOWN)]
        yield _line(title, _shortened(shown, len(counts)))


def _listed(title: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield _line(title, f"{len(names)}: {_shortened(names[:_SHOWN], len(names))}")


def _cut(names: Sequence[str]) -> Sequence[str]:
    return names if len(names) <= _SHOWN else (*names[: _SHOWN - 1], f"{len(names) - _SHOWN + 1} more")


def _shortened(shown: Sequence[str], count: int) -> str:
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")
