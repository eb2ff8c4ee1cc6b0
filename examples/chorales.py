"""Three chorales, a soprano of Bach's with new voices, and a phrase of his that goes on: as pictures and as sound.

    python examples/chorales.py runs/chorales docs/gallery/music

Needs a run of the preset chorales, and soundfile (`pip install 'carrara[sound]'`). Seeds are 0, 1 and 2, none chosen;
the soprano and the phrase are of the first held-out pieces in 4/4 whose voices all sing at both ends of a window.
"""

import argparse
import io
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

import carrara
from carrara import pixels
from carrara.measure import MeasureSettings
from carrara.measure.metrics.music import label_of
from carrara.measure.subject import Subject
from carrara.medium.notes import NotesMedium, completed
from carrara.notes import Grid, samples, to_midi
from carrara.sample import Absorbing

RATE, GIVEN, MADE = 22_050, 2, 4
WISH = "key G+major+4/4"
HOW: dict[str, Any] = {"sampler": Absorbing(remask=0.02), "steps": 256}


def held_out(subject: Subject) -> list[tuple[Tensor, Grid, str]]:
    """A window of each of two held-out pieces in 4/4: as numbers, as music, and what a model is told of it."""
    medium, data, found = subject.model.medium, subject.data.held_out, dict[str, tuple[Tensor, Grid, str]]()
    assert isinstance(medium, NotesMedium)
    for k in range(len(data)):
        if data.key(k) in found or len(found) > 1:
            continue
        batch = subject.data.batch([k])
        label = label_of(batch.columns["label"][0], data.info.classes) or ""
        grid = completed(medium.read(batch.x[0]), {"request": {"wishes": [label]}})
        if grid.metre == (4, 4) and (grid.pitches[:, [0, -1]] >= 0).all():
            found[data.key(k)] = batch.x[0], grid, label
    return list(found.values())


def sounding(grid: Grid) -> bytes:
    """As Ogg Vorbis, with our own voice."""
    kept = io.BytesIO()
    soundfile.write(kept, samples(grid, RATE), RATE, format="OGG", subtype="VORBIS", compression_level=0.8)
    return kept.getvalue()


def edited(toolkit: Any, verb: str, grid: Grid, **said: Any) -> Tensor:
    """What a verb makes of a piece, with the seed 0."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "piece.mid")
        path.write_bytes(to_midi(grid))
        return getattr(toolkit.edit, verb)(path, count=1, seed=0, **HOW, **said).rows[0].results[0]


def main(run: Path, out: Path) -> None:
    """Draws all, and writes it."""
    toolkit = carrara.load(run)
    subject = Subject(toolkit.opened, MeasureSettings())
    medium = subject.model.medium
    assert isinstance(medium, NotesMedium)
    (x, bach, told), (_, phrase, goes_on) = held_out(subject)
    begun = replace(phrase.window(0, GIVEN * phrase.bar), name="")
    chorales = toolkit.samples(WISH, count=3, **HOW)
    harmonised = edited(toolkit, "inpaint", bach, channels="alto,tenor,bass", prompt=told)
    continued = edited(toolkit, "outpaint", begun, margins=f"0,{MADE}", tile=64, prompt=goes_on)
    shown = torch.stack([x, harmonised])
    pictures = {
        "chorales": medium.grid(chorales, 3),
        "harmonised": medium.grid(shown, 2),
        "continued": medium.grid(continued[None], 1),
    }
    for name, picture in pictures.items():
        pixels.save_png(picture, out / f"{name}.png", overwrite=True)
    sounds = {f"chorale-{k}": x for k, x in enumerate(chorales)} | {"harmonised": harmonised, "continued": continued}
    for name, x in sounds.items():
        (out / f"{name}.ogg").write_bytes(sounding(medium.read(x)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    main(given.run, given.out)
