"""Is diffusion in latents worth its autoencoder? The seed claim of latent diffusion, on OpenMoji at 64 px.

    python benchmarks/latent_against_pixel.py AUTOENCODER_RUN OUT [--minutes 20] [--samples 512]

AUTOENCODER_RUN is what `carrara train openmoji --preset autoencoder-kl-f4 data.held_out=0.2` made. Two U-Nets of one
family are trained without a condition for the same wall-clock time on the same split: one on 3 x 64 x 64 pixels, one on
4 x 16 x 16 latents; as `carrara train` would choose them, so each has attention at 8 x 8 and below. The time that the
autoencoder took is not counted, because it serves every later training; the table names it. Sampling takes the same
sampler and steps, and decoding counts. The kernel distance is to all held-out pictures.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch
from machine import described

from carrara import evaluate
from carrara.data import batch_of
from carrara.device import default_device
from carrara.draw import Ask, finish, request, sample
from carrara.pixels import rounded
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import Store, open_model
from carrara.train import StepReport, read_log

BATCH, STEPS = 64, 25
COMMON = [
    "data.size=64",
    "data.held_out=0.2",
    "model.conditioner=none",
    "train.batch=32",
    "train.lr=1.0e-3",
    "train.optimizer=muon",
    "train.decay=0.5",
    "train.ema_half_life=20000",
    "preview.every=0",
    "sample.guidance=1",
]


def trained(out: Path, name: str, changes: Sequence[str], minutes: float) -> float:
    """Trains, unless that was done; returns images a second, the first tenth left out."""
    planned = plan("openmoji", "pixel", out / name, [*COMMON, f"train.minutes={minutes}", *changes])
    if not (out / name / "model" / "config.json").is_file():
        for stage in planned.stages:
            for event in Session(stage, default_device()):
                if isinstance(event, StepReport) and event.step % 200 == 0:
                    print(f"{name}: {event.progress:.0%}", flush=True)
    lines = list(read_log(out / name / "log.jsonl"))
    first, last = lines[len(lines) // 10], lines[-1]
    return (last["images"] - first["images"]) / (last["seconds"] - first["seconds"])


def sampled(run: Path, count: int) -> tuple[torch.Tensor, float]:
    """Samples in [-1, 1], and how many a second."""
    opened, ask = Store().open(run), Ask(count=count, steps=STEPS, sampler="dpmpp")
    finish(sample(opened, request(opened, replace(ask, count=2))))
    begun = perf_counter()
    return rounded(finish(sample(opened, request(opened, ask)))), count / (perf_counter() - begun)


def main(autoencoder: Path, out: Path, minutes: float, samples: int) -> None:
    """Prints the table."""
    own = [f"model.first_stage={{kind: trained, run: {autoencoder.resolve()}}}", "sample.clip=false"]
    speeds = {name: trained(out, name, c, minutes) for name, c in {"pixel": [], "latent": own}.items()}
    recipe = load(out / "pixel" / "recipe.yaml")
    _, held_out = build.parts(recipe, build.dataset(recipe))
    real = batch_of(held_out, build.transform(recipe), range(len(held_out))).x
    network = evaluate.extractor()
    features = torch.cat(list(evaluate.extract(network, real.split(BATCH))))
    print(
        f"{described()}; {minutes:g} minutes each; {len(real)} held-out pictures, {samples} samples; {network.name}\n"
    )
    print("| | parameters | training, img/s | sampling, img/s | KID x 1000 |\n|---|---|---|---|---|")
    rows: dict[str, tuple[float, float]] = {}
    for name, speed in speeds.items():
        x, rate = sampled(out / name, samples)
        estimate = evaluate.kernel_distance(torch.cat(list(evaluate.extract(network, x.split(BATCH)))), features)
        count = sum(p.numel() for p in open_model(out / name).denoiser.parameters())
        kid = f"{1000 * estimate.value:.0f} ± {1000 * estimate.error:.0f}"
        print(f"| {name} | {count:,} | {speed:.1f} | {rate:.2f} | {kid} |", flush=True)
        rows[name] = speed, rate
    ratios = [rows["latent"][k] / rows["pixel"][k] for k in (0, 1)]
    print(f"\nlatent / pixel: training {ratios[0]:.1f}, sampling {ratios[1]:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("autoencoder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--samples", type=int, default=512)
    given = parser.parse_args()
    main(given.autoencoder, given.out, given.minutes, given.samples)
