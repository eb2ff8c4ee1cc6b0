"""What is in a folder of sounds: how they are stored, how long and how loud they are, and which cannot be used."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from carrara.data.description import Description, Told, counts, ranged, taken_as, titled
from carrara.data.sound.folder import SoundFolder, SoundReading
from carrara.data.sound.resampled import SILENT
from carrara.files import shown

_FULL = 32768.0
_TOLD = 5


def describe(path: Path, reading: SoundReading) -> Description:
    """Reads all sounds of a folder or of a zip file, at the rate that they are trained at.

    Levels are in dBFS: decibels below the largest number that is stored.

    Raises:
        UserError: as ``SoundFolder``.
    """
    folder = SoundFolder(path, reading)
    good = sorted((_row(folder, k) for k in folder.used), key=lambda row: str(row["file"]))
    bad: list[Told] = [{"file": shown(name), "problem": why} for name, why in folder.problems]
    return Description(lines=tuple(_lines(folder, good, bad)), rows=(*good, *bad))


def _row(folder: SoundFolder, k: int) -> Told:
    """A file: its header, its levels and its classes."""
    sounds, header = folder.sounds, folder.headers[k]
    first = int(sounds.firsts[k])
    samples = sounds.samples[first : first + int(sounds.channels[k] * sounds.frames[k])].astype(np.float32) / _FULL
    return {
        "file": shown(folder.names[k]),
        "rate": int(header["size"][1]),
        "channels": int(header["channels"]),
        "seconds": round(float(header["size"][0]) / float(header["size"][1]), 3),
        "peak_db": _decibels(float(np.abs(samples).max(initial=0))),
        "mean_db": _decibels(math.sqrt(float((samples**2).mean()) if samples.size else 0.0)),
        "silent": "yes" if sounds.states[k] == SILENT else "",
        "classes": "+".join(folder.classes_of(k)),
    }


def _decibels(level: float) -> float:
    return round(20 * math.log10(max(level, 1 / _FULL)), 1)


def _lines(folder: SoundFolder, good: list[Told], bad: list[Told]) -> list[str]:
    lines = [f"{shown(folder.path)}: {len(good) + len(bad)} sounds, {len(good)} can be trained on"]
    lines += taken_as(folder.info)
    lines.append(titled("rate", f"{folder.rate} Hz: {folder.chosen}"))
    seconds = [float(row["seconds"]) for row in good]
    lines.append(titled("seconds", f"{ranged(seconds, '.3g')}; {sum(seconds):.4g} in all, {len(folder)} examples"))
    lines.append(titled("rates", counts(Counter(f"{row['rate']} Hz" for row in good))))
    lines.append(titled("channels", counts(Counter(str(row["channels"]) for row in good))))
    lines.append(titled("loudest", f"{ranged([float(row['peak_db']) for row in good], '.1f')} dBFS at the peak"))
    if folder.info.classes:
        lines.append(titled("classes", counts(Counter(str(row["classes"]) or "none" for row in good))))
    if full := [str(row["file"]) for row in good if float(row["peak_db"]) >= -0.01]:
        lines.append(titled("full scale", f"{len(full)} reach it, and may be clipped ({_listed(full)})"))
    if silent := [str(row["file"]) for row in good if row["silent"]]:
        lines.append(titled("silent", f"{len(silent)} ({_listed(silent)})"))
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for row in bad:
        reasons[str(row["problem"])].append(str(row["file"]))
    lines += [titled("left out", f"{len(names)}: {why} ({_listed(names)})") for why, names in reasons.items()]
    return lines


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_TOLD]) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")
