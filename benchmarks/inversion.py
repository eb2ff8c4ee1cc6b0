"""How exactly pictures come back from the noise that inversion makes of them.

    python benchmarks/inversion.py RUN [--pictures 16] [--steps 50] [--refinements 0 1 2 3 5 8]

Held-out pictures of the run's data, inverted by DDIM on the uniform grid without guidance, told nothing, and drawn
again from the noise alone on the same grid. The PSNR of latent models is against what the autoencoder makes of the
pictures, and against the pictures; no refinement is plain DDIM inversion.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch
from machine import described
from torch import Tensor

from carrara.draw import Drawing, Request, finish, open_drawing, reconstruct
from carrara.draw.edit import encode
from carrara.draw.invert import noise_of, rewrite
from carrara.evaluate.reconstruction import psnr
from carrara.model import DiffusionModel
from carrara.sample import Ddim, SampleSettings, Uniform
from carrara.store import Store


def measured(asked: Drawing, x: Tensor, refinements: int) -> str:
    """A row of the table."""
    began, model = perf_counter(), asked.model
    for step in noise_of(asked, encode(model, x), refinements=refinements):
        noise = step.x
    seconds = perf_counter() - began
    again = finish(rewrite(asked, asked, x, refinements=refinements))
    decoded, picture = (psnr(again, y.cpu()) for y in (reconstruct(model, x), x))
    numbers = [decoded.mean(), decoded.min(), picture.mean(), noise.std()]
    return " | ".join([str(refinements), *(f"{n.item():.2f}" for n in numbers), f"{seconds / len(x):.2f}"])


def main(run: Path, pictures: int, steps: int, refinements: Sequence[int]) -> None:
    """Prints the table."""
    opened = Store(torch.device("cpu")).open(run)
    model, x = opened.model, opened.examples(pictures)
    assert isinstance(model, DiffusionModel)
    settings = SampleSettings(sampler=Ddim(), grid=Uniform(), steps=steps, clip=model.config.sample.clip)
    asked = open_drawing(opened, Request(wishes=(None,) * len(x), seeds=tuple(range(len(x))), settings=settings))
    ceiling = psnr(reconstruct(model, x), x.cpu()).mean().item()
    print(f"{run.name}: {len(x)} pictures, {steps} steps; the autoencoder alone: {ceiling:.2f} dB\n{described()}\n")
    print("| refinements | PSNR, dB | lowest | PSNR to the picture | noise's std | seconds a picture |")
    print("|---|---|---|---|---|---|")
    for count in refinements:
        print(f"| {measured(asked, x, count)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--refinements", type=int, nargs="+", default=[0, 1, 2, 3, 5, 8])
    given = parser.parse_args()
    with torch.no_grad():
        main(given.run, given.pictures, given.steps, given.refinements)
