"""One step from scratch: a mean flow beside plain diffusion and its student, at equal training time.

    python benchmarks/onestep.py MEAN PLAIN STUDENT [--samples 500] [--pictures 1700]

MEAN is a run of the objective mean_flow, PLAIN of plain diffusion with the same network, STUDENT what `carrara distill`
made of a teacher like PLAIN; `results/onestep.md` says how long each was trained. All draw for the same wishes from the
same seeds without guidance. The kernel distance is to pictures from all over the data, training part included. With
--sheet a picture is written that has a row of samples for each row of the table. Of points the kernel sees the
coordinates.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from time import process_time

import torch
from machine import described
from PIL import Image
from torch import Tensor

from carrara import evaluate
from carrara.data import batch_of, spread
from carrara.draw import Request, finish, sample
from carrara.measure import MeasureSettings, Subject
from carrara.pixels import rounded
from carrara.recipe import build
from carrara.sample import SampleSettings
from carrara.store import OpenModel, Store

BATCH = 64
SHOWN = 16
"""Samples of a row of the sheet."""


def sampled(opened: OpenModel, wishes: list[str | None], settings: SampleSettings) -> tuple[Tensor, float]:
    """Samples, of pictures with 8 bits, and processor seconds for all of them."""
    asked = Request(wishes=tuple(wishes), seeds=tuple(range(len(wishes))), settings=settings, precision="float32")
    begun = process_time()
    x = finish(sample(opened, asked, batch=BATCH))
    return x if x.ndim == 2 else rounded(x), process_time() - begun


def sheet(rows: list[Tensor], path: Path) -> None:
    """Writes rows of samples, enlarged twice."""
    picture = torch.cat([torch.cat(list(x[:SHOWN]), dim=2) for x in rows], dim=1)
    values = ((picture.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte()
    image = Image.fromarray(values[..., 0].numpy() if values.shape[2] == 1 else values[..., :3].numpy())
    image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST).save(path)


def main(runs: dict[str, Path], samples: int, pictures: int, path: Path | None) -> None:
    """Prints the table."""
    opened = {name: Store().open(run) for name, run in runs.items()}
    subject = Subject(opened["diffusion"], MeasureSettings(samples=samples))
    wishes, points = subject.samples.wishes("held out"), len(opened["diffusion"].model.shape) == 1
    network = evaluate.extractor()
    seen = "coordinates" if points else network.name

    def features(x: Tensor) -> Tensor:
        if points:
            return x
        return torch.cat(list(evaluate.extract(network, x.split(BATCH))))

    whole = build.dataset(subject.data.recipe)
    chosen = spread(min(pictures, len(whole)), len(whole))
    parts = (chosen[first : first + BATCH] for first in range(0, len(chosen), BATCH))
    real = torch.cat([features(batch_of(whole, subject.data.transform, part).x) for part in parts])
    plain, student = (opened[name].model for name in ("diffusion", "student"))
    rows = {
        **{f"mean flow, {k} steps": ("mean flow", opened["mean flow"].model.settings(steps=k)) for k in (1, 2, 4)},
        **{f"diffusion, {k} steps": ("diffusion", replace(plain.settings(steps=k), guidance=1.0)) for k in (4, 50)},
        f"student, {student.few_steps} steps": ("student", student.settings()),
    }
    print(f"{described()}; {len(wishes)} samples, batches of {BATCH}; {len(chosen)} pictures; {seen}\n")
    print("| | KID x 1000 | processor seconds |\n|---|---|---|")
    drawn = list[Tensor]()
    for name, (who, settings) in rows.items():
        x, seconds = sampled(opened[who], wishes, settings)
        estimate = evaluate.kernel_distance(features(x), real)
        print(f"| {name} | {1000 * estimate.value:.1f} ± {1000 * estimate.error:.1f} | {seconds:.1f} |", flush=True)
        drawn.append(x)
    if path is not None:
        sheet(drawn, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("mean", "plain", "student"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--pictures", type=int, default=1700)
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    folders = {"mean flow": given.mean, "diffusion": given.plain, "student": given.student}
    main(folders, given.samples, given.pictures, given.sheet)
