"""Is a model of few steps as good as its teacher, and how much faster?

    python benchmarks/fewstep.py TEACHER STUDENT [--samples 1000] [--pictures 4000] [--steps 50]

STUDENT is what `carrara distill TEACHER --steps 4` made. Both draw for the same wishes (captions of held-out pictures,
or each class in turn) from the same seeds, in the same batches; decoding counts. The teacher draws as its run says, in
the given steps, and for comparison also in as few as the student. The kernel distance is to pictures from all over the
data, training part included: whatever a picture is compared with is the same for all rows, and many make it precise.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from machine import described
from torch import Tensor

from carrara import evaluate
from carrara.data import batch_of, spread
from carrara.draw import Request, finish, sample
from carrara.measure import MeasureSettings, Subject
from carrara.objective.distillation import exact_psnr
from carrara.pixels import rounded
from carrara.recipe import build
from carrara.sample import SampleSettings
from carrara.store import OpenModel, Store

BATCH = 64


def sampled(opened: OpenModel, wishes: list[str | None], settings: SampleSettings) -> tuple[Tensor, float]:
    """Samples in [-1, 1] with 8 bits, and seconds for all of them."""
    asked = Request(wishes=tuple(wishes), seeds=tuple(range(len(wishes))), settings=settings)
    finish(sample(opened, asked.part(slice(2))))
    begun = perf_counter()
    return rounded(finish(sample(opened, asked, batch=BATCH))), perf_counter() - begun


def main(teacher_run: Path, student_run: Path, samples: int, pictures: int, steps: int) -> None:
    """Prints the table."""
    teacher, student = (Store().open(run) for run in (teacher_run, student_run))
    subject = Subject(teacher, MeasureSettings(samples=samples))
    wishes = subject.samples.wishes("held out")
    network = evaluate.extractor()

    def features(x: Tensor) -> Tensor:
        return torch.cat(list(evaluate.extract(network, x.split(BATCH))))

    whole = build.dataset(subject.data.recipe)
    chosen = spread(pictures, len(whole))
    parts = (chosen[first : first + BATCH] for first in range(0, len(chosen), BATCH))
    real = torch.cat([features(batch_of(whole, subject.data.transform, part).x) for part in parts])
    few, own = student.model.settings(), teacher.model.settings(steps=steps)
    rows = {
        f"teacher, {steps} steps": (teacher, own),
        f"teacher, {few.steps} steps": (teacher, replace(own, steps=few.steps)),
        f"student, {few.steps} steps": (student, few),
    }
    print(f"{described()}; {samples} samples, batches of {BATCH}; {len(chosen)} pictures; {network.name}\n")
    print("| | KID x 1000 | seconds | PSNR to the teacher |\n|---|---|---|---|")
    kids, times, first = list[float](), list[float](), None
    for name, (opened, settings) in rows.items():
        x, seconds = sampled(opened, wishes, settings)
        first = x if first is None else first
        estimate = evaluate.kernel_distance(features(x), real)
        agreement = "" if x is first else f"{exact_psnr(x, first).mean().item():.1f} dB"
        kid = f"{1000 * estimate.value:.1f} ± {1000 * estimate.error:.1f}"
        print(f"| {name} | {kid} | {seconds:.1f} | {agreement} |", flush=True)
        kids.append(estimate.value)
        times.append(seconds)
    print(f"\nstudent / teacher: kernel distance {kids[2] / kids[0]:.2f}, speed {times[0] / times[2]:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=50)
    given = parser.parse_args()
    main(given.teacher, given.student, given.samples, given.pictures, given.steps)
