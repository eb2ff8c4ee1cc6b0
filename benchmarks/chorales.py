"""Is a model of chorales better than a Markov chain, does it harmonise as Bach does, and does it copy?

    python benchmarks/chorales.py RUN [--samples 200] [--steps 256] [--remask 0] [--guidance 1]
        [--note "60 minutes of training"]

RUN is what `carrara train chorales` made. The same figures are of the model, of the same model untrained, of two Markov
chains of columns (order 2, Witten and Bell's smoothing; fitted to the training pieces in their own keys, and in all
keys that the model was shown), and of held-out Bach. The model is asked for keys and metres of training windows from
all over. Writes benchmarks/results/chorales.md.
"""

import argparse
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from machine import described

import carrara
from carrara.data import Dataset, batch_of, spread
from carrara.data.chorales import RANGES, corpus
from carrara.data.pieces import shifts_within
from carrara.data.sources import ChoralesSource
from carrara.draw.verbs import Edited
from carrara.evaluate import MarkovChain
from carrara.evaluate.music import tonal
from carrara.files import replacing
from carrara.measure import MeasureSettings
from carrara.measure.likelihood import levels_bound
from carrara.measure.metrics.music import (
    MusicReport,
    asked_like_training,
    heard,
    label_of,
    music_reports,
)
from carrara.measure.subject import Subject
from carrara.medium.notes import NotesMedium, completed
from carrara.model import DiffusionModel
from carrara.notes import Grid, to_midi
from carrara.recipe import build
from carrara.sample import Absorbing
from carrara.seeds import Draws
from carrara.store import OpenModel, Store

BATCH, EVALUATIONS, MOST_MOVED = 32, 16, 6
HARMONISED, UNTRAINED = 20, 50
BACH = "held-out Bach"
COLUMNS = {
    "in key": "in key",
    "in range": "in range",
    "crossings": "crossings a bar",
    "parallels": "parallels a bar",
    "chords": "chords",
    "intervals": "intervals",
    "lengths": "lengths",
}


TONICNET = """\
These figures must not be set beside the 0.220 of TonicNet (Peracha, 2019). That is a mean of cross-entropies in natural
logarithms, too, but of other things: its code (data Jsb16thSeparated.npz, in a split of 229, 76 and 77 pieces) predicts
each note with the true chord of the step given, does not tell a note that begins from one that goes on, and takes the
mean piece by piece; whether it is of validation or of test pieces is not settled. Ours is a bound, given no chord, of
pitches and of where notes begin, on windows of another split of another corpus."""


SEVEN = """\
{samples} windows of each (of the untrained model {untrained}). In key, and in the voice's range: parts of what sounds;
the key is the one that fits best, for all. Parallels: fifths and octaves. Chords on beats, melodic intervals of each
voice and lengths of notes: total variation from the training windows. Tonal beats, beside the seven: triads and
sevenths."""

COPIES = """\
Every bar beside all training bars in all keys; a distance is the part of its cells that differ. Bach repeats himself;
what counts is whether the model copies more than held-out pieces do."""

LIKELIHOOD = """\
Of all {count} held-out windows, in their own keys, with one standard error, of pieces. The model's is a bound
(`measure.likelihood.levels_bound`, {evaluations} numbers of masked values for each window), which can only be above
what it is; the chains' are exact."""

HARMONISING = """\
{count} sopranos, of as many held-out pieces, with three new voices: `carrara edit RUN inpaint melody.mid --channels
alto,tenor,bass`, seed 0, none chosen."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options."""

    run: Path
    samples: int
    steps: int
    remask: float
    guidance: float
    note: str
    out: Path


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Held-out windows in the keys that they were written in.

    Attributes:
        keys: of the pieces that they are from.
        labels: what a model is told of each.
    """

    data: Dataset
    grids: list[Grid]
    keys: list[str]
    labels: list[str]


def windows(subject: Subject) -> Windows:
    """All that begin at a bar line."""
    recipe, medium = subject.data.recipe, subject.model.medium
    source = recipe.data.source
    assert isinstance(source, ChoralesSource) and isinstance(medium, NotesMedium)
    settings = replace(recipe.data, source=replace(source, transpose=False))
    data = settings.parts(settings.open())[1]
    grids, labels = list[Grid](), list[str]()
    for first in range(0, len(data), BATCH):
        batch = batch_of(data, subject.data.transform, range(first, min(first + BATCH, len(data))))
        for x, row in zip(batch.x, batch.columns["label"], strict=True):
            labels.append(label_of(row, data.info.classes) or "")
            grids.append(completed(medium.read(x), {"request": {"wishes": [labels[-1]]}}))
    return Windows(data=data, grids=grids, keys=[data.key(k) for k in range(len(data))], labels=labels)


def training_pieces(held: set[str]) -> tuple[list[Grid], list[Grid]]:
    """As they were written, and in all keys."""
    own = [one.grid for one in corpus().pieces if one.copy_of not in held and shifts_within(one.grid, RANGES)]
    moved = [grid.transposed(k) for grid in own for k in shifts_within(grid, RANGES) if abs(k) <= MOST_MOVED]
    return own, moved


def composed(chain: MarkovChain, pieces: Sequence[Grid], count: int, length: int) -> list[Grid]:
    """What a chain writes, without the pickup that most pieces begin with."""
    metre, pickup = Counter((piece.metre, piece.pickup) for piece in pieces).most_common(1)[0][0]
    made = chain.sample(range(count), length + pickup)
    return [replace(one.window(pickup, length), metre=metre, pickup=0) for one in made]


def drawn(subject: Subject) -> list[Grid]:
    """What a model writes, in the metres that it was asked for."""
    medium, wishes = subject.model.medium, asked_like_training(subject)
    assert isinstance(medium, NotesMedium)
    made = subject.samples.made(wishes)
    return [completed(medium.read(x), {"request": {"wishes": [w]}}) for x, w in zip(made, wishes, strict=True)]


def mean_by_piece(values: Sequence[float], keys: Sequence[str]) -> tuple[float, float]:
    """The mean of all windows, and its standard error where those of a piece depend on each other."""
    x, which = np.array(values), np.array(keys)
    centred = [(x[which == key] - x.mean()).sum() for key in sorted(set(keys))]
    groups = len(centred)
    return float(x.mean()), float((groups / (groups - 1) * np.square(centred).sum()) ** 0.5 / len(x))


def model_nats(subject: Subject, held: Windows, told: bool, places: Sequence[int]) -> list[float]:
    """The bound of each window, in nats for a voice and a sixteenth."""
    model, found = subject.diffusion("is none"), list[float]()
    for first in range(0, len(places), BATCH):
        batch = batch_of(held.data, subject.data.transform, places[first : first + BATCH]).to(model.device)
        batch = batch if told else replace(batch, columns={})
        cost = levels_bound(model, batch, Draws(0, batch.position), evaluations=EVALUATIONS)
        found += (cost.nats / cost.dimensions).tolist()
    return found


def harmonised(subject: Subject, held: Windows, asked: Asked, told: bool) -> tuple[list[Grid], list[Grid], int]:
    """Windows of different pieces, the same with three new voices, and in how many of these the soprano is the same."""
    medium, toolkit = subject.model.medium, carrara.load(subject.folder)
    assert isinstance(medium, NotesMedium)
    places, bach, made = chosen(held), list[Grid](), list[Grid]()
    with tempfile.TemporaryDirectory() as folder:
        for place in places:
            path = Path(folder, f"{place}.mid")
            path.write_bytes(to_midi(held.grids[place]))
            results = toolkit.edit.inpaint(
                path,
                channels="alto,tenor,bass",
                prompt=held.labels[place] if told else None,
                count=1,
                seed=0,
                steps=asked.steps,
                sampler=Absorbing(remask=asked.remask),
                guidance=asked.guidance if told else 1,
            )
            assert isinstance(results, Edited)
            grid = medium.read(results.rows[0].results[0])
            bach.append(held.grids[place])
            made.append(replace(grid, metre=bach[-1].metre))
    same = [
        np.array_equal(new.pitches[0], old.pitches[0]) and np.array_equal(new.onsets[0], old.onsets[0])
        for new, old in zip(made, bach, strict=True)
    ]
    return bach, made, sum(same)


def chosen(held: Windows) -> list[int]:
    """The middle one of the windows of each of some pieces from all over, in which all voices sing to the end."""
    whole = [k for k, grid in enumerate(held.grids) if (grid.pitches[:, [0, -1]] >= 0).all()]
    pieces = list(dict.fromkeys(held.keys[k] for k in whole))
    own = [[k for k in whole if held.keys[k] == pieces[p]] for p in spread(HARMONISED, len(pieces))]
    return [found[len(found) // 2] for found in own]


def untold(pieces: Sequence[Grid]) -> list[Grid]:
    """Without keys, so that all are measured in the one that fits best."""
    return [replace(piece, key=None) for piece in pieces]


def figures(found: dict[str, MusicReport], samples: int) -> list[str]:
    """A row for each, and in how many of the seven figures the model is nearer to Bach than each chain."""
    rows = ["| | " + " | ".join(COLUMNS.values()) + " | tonal beats |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, report in found.items():
        values = " | ".join(f"{report.values[key]:.3f}" for key in COLUMNS)
        rows.append(f"| {name} | {values} | {report.values['tonal']:.3f} |")
    aim = found[BACH].music.seven
    for chain in (name for name in found if "chain" in name):
        other = found[chain].music.seven
        own = found["model"].music.seven
        nearer = [COLUMNS[key] for key in aim if abs(own[key] - aim[key]) < abs(other[key] - aim[key])]
        rows += ["", f"The model is nearer to {BACH} than the {chain}, in {len(nearer)} of 7: {', '.join(nearer)}."]
    return ["", "## Seven figures", "", SEVEN.format(samples=samples, untrained=min(samples, UNTRAINED)), "", *rows]


def copies(found: dict[str, MusicReport]) -> list[str]:
    """What stands in the training pieces as it is."""
    rows = ["| | distance of the nearest training bar, mean | bars copied | longest row |", "|---|---|---|---|"]
    for name, report in found.items():
        v = report.values
        rows.append(f"| {name} | {v['nearest bar']:.3f} | {v['bars copied']:.1%} | {v['longest copy']} |")
    return ["", "## Copies", "", COPIES, "", *rows]


def likelihoods(
    trained: Subject, untrained: Subject, held: Windows, chains: dict[str, MarkovChain], levels: int
) -> list[str]:
    """Nats of the same windows."""
    places, few = range(len(held.grids)), spread(100, len(held.grids))
    cells = held.grids[0].pitches.size
    found = {
        "model, told key, mode and metre: bound": model_nats(trained, held, True, places),
        "model, told nothing: bound": model_nats(trained, held, False, places),
        **{name: [chain.nats(grid) / cells for grid in held.grids] for name, chain in chains.items()},
        f"untrained model, {len(few)} of the windows: bound": model_nats(untrained, held, True, few),
    }
    rows = ["| | nats for a voice and a sixteenth |", "|---|---|"]
    for name, values in found.items():
        keys = held.keys if len(values) == len(held.keys) else [held.keys[k] for k in few]
        mean, error = mean_by_piece(values, keys)
        rows.append(f"| {name} | {mean:.4f} ± {error:.4f} |")
    rows.append(f"| one of K = {levels} as likely as another | {math.log(levels):.4f} |")
    said = LIKELIHOOD.format(count=len(held.grids), evaluations=EVALUATIONS)
    return ["", "## Likelihood", "", said, "", *rows, "", TONICNET]


def harmonies(subject: Subject, held: Windows, asked: Asked) -> list[str]:
    """New voices for held-out sopranos, told keys and metres, and told nothing."""
    rows = ["| | triads and sevenths on beats | beside Bach | soprano exactly kept |", "|---|---|---|---|"]
    for told in (True, False):
        bach, made, same = harmonised(subject, held, asked, told)
        share, aim = 100 * tonal(made), 100 * tonal(bach)
        name = "told key, mode and metre" if told else "told nothing"
        rows.append(f"| {name} | {share:.1f} % | {share - aim:+.1f} points | {same} of {len(made)} |")
    rows.append(f"| {BACH} himself | {aim:.1f} % | | |")
    return ["", "## Harmonising", "", HARMONISING.format(count=HARMONISED), "", *rows]


def opened(asked: Asked) -> tuple[Subject, Subject]:
    """The trained model and the untrained one, which draw as is asked; the latter fewer samples."""
    trained = Subject(Store().open(asked.run), MeasureSettings(samples=asked.samples))
    fresh = build.model(trained.data.recipe)
    assert isinstance(fresh, DiffusionModel)
    like = OpenModel(model=fresh.eval(), folder=asked.run, store=trained.opened.store)
    untrained = Subject(like, MeasureSettings(samples=min(asked.samples, UNTRAINED)))
    for one in (trained, untrained):
        settings = one.model.settings(
            sampler=Absorbing(remask=asked.remask), steps=asked.steps, guidance=asked.guidance
        )
        one.samples.request = replace(one.samples.request, settings=settings)
    return trained, untrained


def main(asked: Asked) -> None:
    """Measures and writes."""
    trained, untrained = opened(asked)
    held = windows(trained)
    own, moved = training_pieces(set(held.keys))
    low, high = RANGES[-1][0], RANGES[0][1]
    chains = {"chain, own keys": MarkovChain(own, low, high), "chain, all keys": MarkovChain(moved, low, high)}
    length, training = held.grids[0].steps, heard(trained, "train", 1 << 30)
    sets = {
        "untrained model": drawn(untrained),
        **{name: composed(chain, own, asked.samples, length) for name, chain in chains.items()},
        "model": drawn(trained),
        BACH: [held.grids[k] for k in spread(asked.samples, len(held.grids))],
    }
    found = music_reports({name: untold(pieces) for name, pieces in sets.items()}, untold(training))
    model = trained.model
    levels = model.first_stage.levels or 1
    counted = f"{len(training)} training windows in all keys, of {len(own)} pieces; {len(held.grids)} held-out windows"
    command = f"--samples {asked.samples} --steps {asked.steps} --remask {asked.remask:g} --guidance {asked.guidance:g}"
    lines = [
        "# Chorales: a model beside Markov chains and held-out Bach",
        "",
        f"`python benchmarks/chorales.py RUN {command}`",
        "",
        f"{described()}. {asked.note} Step {model.about.get('step')}. {counted} of {length} sixteenths, of "
        f"{len(set(held.keys))} pieces, in the keys that they were written in.",
        *figures(found, asked.samples),
        *copies(found),
        *likelihoods(trained, untrained, held, chains, levels),
        *harmonies(trained, held, asked),
    ]
    with replacing(asked.out) as file:
        file.write(("\n".join(lines) + "\n").encode())
    print("\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--remask", type=float, default=0.0, help="of the absorbing sampler")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--note", default="", help="a sentence about the training")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "chorales.md")
    given = parser.parse_args()
    main(Asked(**vars(given)))
