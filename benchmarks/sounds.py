"""Chirps: are generated spectra those of the data? A folder of WAV files, a model of it, and eight bands.

    python benchmarks/sounds.py --minutes 30 --samples 4000     writes benchmarks/results/sounds.md

A chirp is a sine whose frequency goes evenly, in mel, from one to another. Both are drawn at random, those near the
ends of the scale more often, so that each band holds about as much of the data's power as the others.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import machine
import numpy as np
import torch
from numpy.typing import NDArray

from carrara.evaluate.spectra import SpectralReport, spectra_of, spectral_report
from carrara.measure import MeasureSettings
from carrara.measure.samples import SampleSet
from carrara.measure.subject import Subject
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.seeds import Draws
from carrara.sounds import hertz, mel, save_wav, sheet
from carrara.store import Store

RATE, LENGTH, LEVEL = 8000, 256, 0.5
FILES, REFERENCE = 4000, 20_000
LOW, HIGH = 60.0, 3900.0
CHANGES = (
    "model.backbone={kind: dit, width: 192, depth: 6, heads: 6, patch: 8, positions: rotary, qk_norm: true}",
    "train.lr=1e-3",
    "train.warmup=200",
    "model.parameterization={kind: edm, sigma_data: 0.35}",
    "model.schedule={kind: ve, sigma_min: 0.002, sigma_max: 20}",
    "objective.times={kind: log_normal, mean: -1.5, std: 1.3}",
    "sample.grid={kind: karras, sigma_min: 0.002, sigma_max: 20}",
    "sample.steps=30",
    "sample.guidance=1",
    "data.held_out=0.02",
    "preview.every=0",
    "preview.held_out=0",
    "train.batch=64",
)


def chirps(count: int, first: int = 0) -> NDArray[np.float32]:
    """(count, LENGTH) samples; chirp k is the same however many there are."""
    draws = Draws(0, torch.arange(first, first + count))
    low, high = (mel(torch.tensor(f, dtype=torch.float64)) for f in (LOW, HIGH))
    ends = low + (high - low) * (1 - torch.cos(torch.pi * draws.uniform("chirp", 2).double())) / 2
    along = torch.linspace(0, 1, LENGTH, dtype=torch.float64)
    frequency = hertz(ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * along)
    phase = 2 * torch.pi * (draws.uniform("chirp phase").double()[:, None] + frequency.cumsum(1) / RATE)
    return (LEVEL * torch.sin(phase)).float().numpy()


def write(folder: Path, count: int) -> Path:
    """A folder of so many chirps."""
    for k, samples in enumerate(chirps(count)):
        save_wav(torch.from_numpy(samples)[None], RATE, folder / f"{k:05}.wav")
    return folder


def trained(folder: Path, run: Path, changes: Sequence[str]) -> Path:
    for stage in plan(str(folder), "sound", run, [*CHANGES, *changes]).stages:
        for _ in Session(stage, torch.device("cpu")):
            pass
    return run


def compared(run: Path, samples: int) -> tuple[SpectralReport, torch.Tensor]:
    """Samples against chirps that nothing was trained on."""
    subject = Subject(Store().open(run), MeasureSettings(samples=samples))
    made = SampleSet(subject.opened, subject.data, subject.settings).drawn
    unseen = torch.from_numpy(chirps(REFERENCE, first=1_000_000))[:, None]
    return spectral_report(spectra_of(made.split(500), 256), spectra_of(unseen.split(500), 256), RATE), made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--samples", type=int, default=4000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place, "chirps"), FILES)
        run = trained(folder, Path(place, "run"), [f"train.minutes={asked.minutes}"])
        found, made = compared(run, asked.samples)
        steps = len((run / "log.jsonl").read_text().splitlines())
    results = Path(__file__).parent / "results"
    sheet(made[:12], RATE, 4).save(results / "sounds.png")
    lines = [
        "# Chirps: generated spectra against the data's",
        "",
        machine.described(),
        "",
        f"{asked.minutes:g} minutes of training ({steps} steps of 64) on {FILES} WAV files; {asked.samples} samples "
        f"against {REFERENCE} chirps that nothing was trained on. Largest difference of a band: {found.worst:.1%}.",
        "",
        "```",
        *found.lines(),
        "```",
    ]
    (results / "sounds.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
