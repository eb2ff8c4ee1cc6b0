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

from carrara.evaluate.reconstruction import psnr
from carrara.model import DiffusionModel
from carrara.recipe import open_model
from carrara.recipe.editing import examples
from carrara.sample import Ddim, SampleSettings, Uniform
from carrara.task import Told, encode, finished, inverted, reconstruct, rewrite


def measured(model: DiffusionModel, x: Tensor, told: Told, refinements: int) -> str:
    """A row of the table."""
    began = perf_counter()
    for step in inverted(model, encode(model, x), told, refinements=refinements):
        noise = step.x
    seconds = perf_counter() - began
    again = finished(rewrite(model, x, told, told, refinements=refinements))
    decoded, picture = (psnr(again, y.cpu()) for y in (reconstruct(model, x), x))
    numbers = [decoded.mean(), decoded.min(), picture.mean(), noise.std()]
    return " | ".join([str(refinements), *(f"{n.item():.2f}" for n in numbers), f"{seconds / len(x):.2f}"])


def main(run: Path, pictures: int, steps: int, refinements: Sequence[int]) -> None:
    """Prints the table."""
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    x = examples(model, run, pictures)
    settings = SampleSettings(sampler=Ddim(), grid=Uniform(), steps=steps, clip=model.config.sample.clip)
    told = Told(wishes=[None] * len(x), seeds=range(len(x)), settings=settings)
    ceiling = psnr(reconstruct(model, x), x.cpu()).mean().item()
    print(f"{run.name}: {len(x)} pictures, {steps} steps; the autoencoder alone: {ceiling:.2f} dB\n{described()}\n")
    print("| refinements | PSNR, dB | lowest | PSNR to the picture | noise's std | seconds a picture |")
    print("|---|---|---|---|---|---|")
    for count in refinements:
        print(f"| {measured(model, x, told, count)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--refinements", type=int, nargs="+", default=[0, 1, 2, 3, 5, 8])
    given = parser.parse_args()
    with torch.no_grad():
        main(given.run, given.pictures, given.steps, given.refinements)
