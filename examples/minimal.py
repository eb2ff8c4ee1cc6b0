"""The whole flow without a recipe: data, network, training loop, averaged weights, samples, a picture.

Run it with ``python examples/minimal.py``; it takes three minutes of one core and writes ``digits.png``.
"""

from pathlib import Path

import torch

from carrara.autoencoder import Identity
from carrara.backbone import UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.data import Loader, Transform, digits, split
from carrara.denoiser import Denoiser
from carrara.noise import Cosine, UniformTimes, UnitWeighting, V
from carrara.objective import DiffusionObjective
from carrara.pixels import grid, save_png
from carrara.sample import DpmPp, Uniform, clip, generate, guide, last
from carrara.seeds import Draws, torch_generator
from carrara.train import Ema


def main(steps: int = 600, batch: int = 64, seed: int = 0, columns: int = 8, out: Path = Path("digits.png")) -> Path:
    """Trains on handwritten digits and draws each of them ``columns`` times; returns where the picture is."""
    # Data: 1797 pictures, a part held out, enlarged to 16x16 grey pixels in [-1, 1]
    dataset, _ = split(digits(), 0.05)
    loader = Loader(dataset, Transform(size=(16, 16), channels=1), batch, seed)

    # Model: what is known about a picture, and a network that estimates the picture in the noise
    network = UNetConfig(channels=32, multipliers=(1, 2, 2), blocks=1, attention_levels=(2,), modulation="scale_shift")
    with torch_generator(seed, "initial weights"):
        conditioner = LabelsConfig(classes=dataset.info.classes).build(network.vector_width)
        denoiser = Denoiser(network.build((1, 16, 16)), Cosine(), V())
    first_stage, times, weighting = Identity(), UniformTimes(), UnitWeighting()
    objective = DiffusionObjective(
        first_stage=first_stage, conditioner=conditioner, denoiser=denoiser, times=times, weighting=weighting
    )

    # Training: every random number is a function of the seed, the sample and the step
    optimizer = torch.optim.AdamW(objective.roles()["main"], lr=2e-3, betas=(0.9, 0.99), weight_decay=0)
    average = Ema(objective, half_life=5000.0, rampup=0.05)
    for step, samples in zip(range(steps), loader.batches(), strict=False):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, (step + 1) / 50, 3 * (1 - step / steps))
        loss = objective(samples, "main", Draws(seed, samples.position, step)).per_sample.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(step * batch, batch)
        if step % 50 == 0:
            print(f"step {step}: loss {loss.item():.3f}")

    # Samples: a row for each digit; a column shares its noise
    with average.swapped_in(), torch.no_grad():
        wished = torch.eye(10).repeat_interleave(columns, dim=0)
        told, untold = conditioner({"label": wished}), conditioner.null(len(wished))
        denoise = guide(denoiser.bind(told), denoiser.bind(untold), scale=1.5)
        seeds = list(range(columns)) * 10
        way = generate(clip(denoise), (1, 16, 16), seeds, sampler=DpmPp(), grid=Uniform(), steps=20, schedule=Cosine())
        pictures = last(way).x
    return save_png(grid(pictures, columns=columns, row_labels=dataset.info.classes), out)


if __name__ == "__main__":
    print(main())
