"""What generated music is like beside held-out music: keys, voice leading, harmony, and what it copies.

Where a model is told keys and metres, its samples are asked for those of training examples from all over. What is told
of a piece counts for what is measured; else its key is the one that fits best, and its metre is 4/4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from carrara.errors import UserError
from carrara.evaluate import Copying, Musicality, TrainingMusic, copying, musicality
from carrara.measure.measurement import MetricResult
from carrara.measure.run_data import EXAMPLES_AT_ONCE, Split
from carrara.measure.subject import Subject
from carrara.medium.notes import NotesMedium, completed
from carrara.notes import EVERY, REST, Grid
from carrara.types import Batch

MOST_READ = 50_000
"""Training examples that samples are compared with."""
_SHOWN = 12
_MEANINGS = {
    "in key": "of what sounds, is in the piece's key",
    "in range": "of what sounds, is between the voice's lowest and highest training note",
    "crossings": "a bar, of neighbouring voices",
    "parallels": "a bar, fifths and octaves",
    "chords": "total variation from training data, of kinds of chords on beats",
    "intervals": "the same, of steps from note to note in each voice",
    "lengths": "the same, of the lengths of notes",
    "tonal": "of beats, are triads or sevenths",
    "nearest bar": "mean part of a bar that differs from the nearest training bar",
    "bars copied": "of bars, are equal to a training bar",
    "longest copy": "bars in a row that stand in a training example",
}


@dataclass(frozen=True, kw_only=True)
class MusicReport:
    """A set of pieces beside training music."""

    music: Musicality
    copies: Copying

    @property
    def values(self) -> dict[str, float]:
        """All figures by name; NaN where no training bar is as long."""
        known = [distance for distance in self.copies.nearest if not np.isnan(distance)]
        return {
            **self.music.seven,
            "tonal": self.music.tonal,
            "nearest bar": float(np.mean(known)) if known else float("nan"),
            "bars copied": self.copies.exact,
            "longest copy": self.copies.longest,
        }


def music_reports(sets: Mapping[str, Sequence[Grid]], training: Sequence[Grid]) -> dict[str, MusicReport]:
    """Sets of pieces of as many voices, each beside training music.

    Raises:
        ValueError: nothing sounds in one of them.
    """
    known, ranges = TrainingMusic(training), voice_ranges(training)
    return {
        name: MusicReport(music=musicality(pieces, known, ranges), copies=copying(pieces, known))
        for name, pieces in sets.items()
    }


def voice_ranges(pieces: Sequence[Grid]) -> list[tuple[int, int]]:
    """The lowest and highest pitch of each voice; of one that never sounds, none."""
    sounding = [
        np.concatenate([row[row != REST] for row in rows]) for rows in zip(*(p.pitches for p in pieces), strict=True)
    ]
    return [(int(row.min()), int(row.max())) if row.size else (1, 0) for row in sounding]


def measure_music(subject: Subject) -> MetricResult:
    """What is measured of generated music, beside the same of held-out data."""
    medium = subject.model.medium
    if not isinstance(medium, NotesMedium):
        raise UserError(f"this metric is of music, and '{subject.folder}' makes {medium.name}")
    split, count = subject.data.adjective, subject.settings.samples
    training, held_out = heard(subject, "train", MOST_READ), heard(subject, "held out", count)
    wishes = asked_like_training(subject)
    drawn = subject.samples.made(wishes)
    made = [completed(medium.read(x), _asked(wish)) for x, wish in zip(drawn, wishes, strict=True)]
    if not any((grid.pitches != REST).any() for grid in made):
        raise UserError(f"nothing sounds in what '{subject.folder}' draws: train it longer")
    made, held_out, training = _as_many_voices(medium, made, held_out, training)
    found = music_reports({"samples": made, f"{split} data": held_out}, training)
    compared = f"{len(made)} samples, {len(held_out)} {split} and {len(training)} training examples"
    return MetricResult(
        lines=[*described(found), f"compared      {compared}"],
        data={
            **{name.split()[0]: _data(report) for name, report in found.items()},
            "fake": len(made),
            "real": len(held_out),
            "training": len(training),
            "split": f"{split} data",
            **subject.samples.record,
        },
        picture=medium.grid(drawn[:_SHOWN], 3),
    )


def described(found: dict[str, MusicReport]) -> list[str]:
    """A line for each figure, a column for each set of pieces."""
    columns = [report.values for report in found.values()]
    rows = [" " * 14 + "".join(f"{name:>16}" for name in found)]
    for name, meaning in _MEANINGS.items():
        rows.append(f"{name:<14}" + "".join(f"{column[name]:16.3f}" for column in columns) + f"    {meaning}")
    return rows


def heard(subject: Subject, split: Split, most: int) -> list[Grid]:
    """The music of examples from all over a part of the data, in the keys and metres that these say."""
    data, medium = subject.data, subject.model.medium
    assert isinstance(medium, NotesMedium)
    classes = data.splits[split].info.classes

    def read(batch: Batch) -> list[Grid]:
        labels = batch.columns.get("label")
        said = [None if labels is None else label_of(row, classes) for row in (batch.x if labels is None else labels)]
        return [completed(medium.read(x), _asked(one)) for x, one in zip(batch.x.cpu(), said, strict=True)]

    found = data.measured(read, split, f"music of the {split} data", min(most, len(data.splits[split])))
    return [grid for grids in found for grid in grids]


def asked_like_training(subject: Subject) -> list[str | None]:
    """What samples are asked for: the labels of training examples from all over, where the model is told labels."""
    data, model, count = subject.data, subject.model, subject.settings.samples
    classes = model.conditioner.classes
    if model.conditioner.column != "label" or not classes:
        return subject.samples.wishes("held out")
    places = [(2 * k + 1) * len(data.splits["train"]) // (2 * count) for k in range(count)]
    batches = (places[first : first + EXAMPLES_AT_ONCE] for first in range(0, count, EXAMPLES_AT_ONCE))
    return [label_of(row, classes) for part in batches for row in data.batch(part, "train").columns["label"]]


def label_of(row: Tensor, classes: Sequence[str]) -> str | None:
    """Several labels as one writes them: key C+major+4/4."""
    return "+".join(name for name, weight in zip(classes, row.tolist(), strict=True) if weight > 0) or None


def _asked(wish: str | None) -> dict[str, Any]:
    """The record that says what was asked for."""
    return {"request": {"wishes": [wish]}}


def _as_many_voices(medium: NotesMedium, *sets: list[Grid]) -> list[list[Grid]]:
    """Where any number of notes sounds at once, silent voices are added so that all pieces have as many."""
    if medium.notes.voices != (EVERY,):
        return list(sets)
    most = max(len(grid.pitches) for grids in sets for grid in grids)
    return [[_widened(grid, most) for grid in grids] for grids in sets]


def _widened(grid: Grid, voices: int) -> Grid:
    more = ((0, voices - len(grid.pitches)), (0, 0))
    return replace(grid, pitches=np.pad(grid.pitches, more, constant_values=REST), onsets=np.pad(grid.onsets, more))


def _data(report: MusicReport) -> dict[str, Any]:
    values = {name.replace(" ", "_"): None if np.isnan(value) else value for name, value in report.values.items()}
    return values | {"fifths": report.music.fifths, "octaves": report.music.octaves}
