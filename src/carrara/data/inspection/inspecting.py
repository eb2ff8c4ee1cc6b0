"""A folder of pictures looked into. Every file is decoded; nothing is changed or deleted."""

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from carrara.data.base import Fault
from carrara.data.buckets import suggested_size
from carrara.data.folder import AS_IT_COMES, Folder, Found, Reading, look
from carrara.data.formats import is_noise
from carrara.data.inspection.alike import blank, contrasts, near_copies, turned, turned_copies
from carrara.data.inspection.examining import Examined, examine
from carrara.data.inspection.looks import BLURRED, Looks
from carrara.data.inspection.report import Colours, DataReport, range_of
from carrara.data.inspection.words import common_words, lengths
from carrara.errors import UserError
from carrara.files import is_folder, replacing, shown

_COLOUR = 4  # a colour's channels differ by less in a grey picture


def inspect_folder(
    path: Path | str, reading: Reading = AS_IT_COMES, watch: Callable[[int, int], None] | None = None
) -> DataReport:
    """Reads every picture of a folder or of a zip file completely.

    What is found is remembered: pictures that have not changed are not read again.

    Args:
        reading: what the folder's files are taken as.
        watch: is told how many pictures were looked at, and of how many.

    Raises:
        UserError: there is no such folder, no picture in it, or its metadata are wrong.
    """
    path = Path(path)
    found = look(path, reading)
    examined = examine(path, found.pictures, watch)
    folder = Folder(path, examined.headers(path), reading) if len(examined.rows) else None
    captions = {folder.name(k): folder.captions(k) for k in range(len(folder))} if folder else {}
    texts = [text for told in captions.values() for text in told]
    sizes = [(int(height), int(width)) for height, width in examined.rows["size"].tolist()]
    names, labels = list(map(shown, examined.names)), _labels(folder)
    classes = Counter(folder.info.classes[k] for label in labels for k in sorted(label)) if folder else Counter[str]()
    return DataReport(
        path=path,
        count=len(found.pictures),
        good=len(examined.rows),
        bytes=examined.bytes,
        remarks=found.remarks,
        warnings=found.warnings,
        heights=range_of([height for height, _ in sizes]),
        widths=range_of([width for _, width in sizes]),
        aspects=range_of([width / height for height, width in sizes]),
        kinds=Counter(mode.decode() for mode in examined.rows["mode"].tolist()),
        colours=_colours(examined.looks) if len(examined.rows) else None,
        classes=classes,
        empty_classes=_empty_folders(path, found) if any("/" in name for name in found.pictures) and classes else (),
        captions=sum(map(bool, captions.values())),
        without_caption=tuple(n for n, c in captions.items() if not c) if any(captions.values()) else (),
        empty_captions=tuple(map(shown, found.empty)),
        lengths=tuple(lengths(texts)),
        words=common_words(texts),
        faults=_faults(examined),
        duplicates=tuple(tuple(names[k] for k in group) for group in _duplicates(examined)),
        **_alike(examined, names, labels),
        by_class=_by_class(examined, labels, folder.info.classes if folder else ()),
        others=Counter({shown(name): count for name, count in found.passed_over.items()}),
        unused=found.unused,
        suggested=suggested_size(folder.info.native) if folder and folder.info.native else None,
    )


def write_findings(report: DataReport, path: Path) -> int:
    """Writes what may be wrong as CSV, a line for a finding; how many there are.

    Raises:
        UserError: there is such a file already, or the disk refuses.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(("file", "finding", "detail", "other"))
    findings = list(report.findings())
    rows.writerows(findings)
    if os.path.lexists(path):
        raise UserError(f"'{shown(path)}' is there already: name a file that is not")
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    return len(findings)


def _labels(folder: Folder | None) -> list[frozenset[int]]:
    """The classes of each picture."""
    if folder is None or not folder.info.classes:
        return []
    return [frozenset(np.flatnonzero(folder.columns(k)["label"]).tolist()) for k in range(len(folder))]


def _alike(examined: Examined, names: Sequence[str], labels: Sequence[frozenset[int]]) -> dict[str, Any]:
    """Copies, turned pictures, and what is blurred or blank."""
    looks, near, between = examined.looks, list[tuple[str, ...]](), list[tuple[str, ...]]()
    first = {k: group[0] for group in _duplicates(examined) for k in group}
    for group in near_copies(looks):
        different = sorted({first.get(k, k) for k in group})
        if labels and len({labels[k] for k in group}) > 1:
            between.append(tuple(names[k] for k in group))
        elif len(different) > 1:
            near.append(tuple(names[k] for k in different))
    groups: defaultdict[frozenset[int], list[int]] = defaultdict(list)
    for k, label in enumerate(labels or [frozenset[int]()] * len(names)):
        groups[label].append(k)
    later = {k for k, before in first.items() if k != before}
    copies = [(of, to, by) for of, to, by in turned_copies(looks) if not {of, to} & later]
    sharpness = looks["sharpness"]
    return {
        "near": tuple(near),
        "between": tuple(between),
        "turned": tuple((names[k], by) for k, by in sorted(turned(looks, list(groups.values())))),
        "turned_copies": tuple((names[of], names[to], by) for of, to, by in copies),
        "blurred": tuple((names[k], float(sharpness[k])) for k in np.flatnonzero(sharpness < BLURRED).tolist()),
        "blank": tuple(names[k] for k in np.flatnonzero(blank(looks)).tolist()),
    }


def _colours(looks: Looks) -> Colours:
    thumbs = looks["thumb"].astype(np.int16)
    grey = (thumbs.max(3) - thumbs.min(3)).max((1, 2)) < _COLOUR
    brightness = thumbs.mean((1, 2, 3)).round(1).tolist()
    red, green, blue = thumbs.mean((0, 1, 2)).round().astype(int).tolist()
    return Colours(
        grey=int(grey.sum()),
        colour=int((~grey).sum()),
        transparent=int(looks["transparent"].sum()),
        mean=(red, green, blue),
        brightness=range_of(brightness) or (0, 0, 0),
        contrast=range_of(contrasts(looks).round(1).tolist()) or (0, 0, 0),
    )


def _by_class(
    examined: Examined, labels: Sequence[frozenset[int]], classes: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, label in zip(examined.names, labels or [frozenset[int]()] * len(examined.rows), strict=True):
        found[classes[min(label)] if label else ""].append(name)
    return {name: tuple(pictures) for name, pictures in found.items()}


def _empty_folders(path: Path, found: Found) -> tuple[str, ...]:
    """The sub-folders in which there is no picture at all."""
    used = {name.partition("/")[0] for name in (*found.pictures, *found.maps, *found.left_out)}
    if not is_folder(path):
        return ()
    folders = sorted(entry.name for entry in os.scandir(path) if is_folder(Path(entry.path)))
    return tuple(shown(name) for name in folders if name not in used and not is_noise(name))


def _faults(examined: Examined) -> dict[Fault, dict[str, str]]:
    faults: defaultdict[Fault, dict[str, str]] = defaultdict(dict)
    for name, problem in examined.problems.items():
        faults[problem.fault][shown(name)] = str(problem)
    return dict(sorted(faults.items()))


def _duplicates(examined: Examined) -> list[list[int]]:
    """Places of pictures with the same bytes."""
    groups: defaultdict[bytes, list[int]] = defaultdict(list)
    for k, digest in enumerate(examined.rows["digest"]):
        groups[digest.tobytes()].append(k)
    return [places for places in groups.values() if len(places) > 1]
