"""Bits per dimension of held-out digits: diffusion with linear and cosine noise, with a learned variance, and VAEs.

    python benchmarks/likelihood.py OUT [MODEL ...] [--minutes 10]

All models are trained for the same time at most, without labels, on the same 80 % of the handwritten digits (16 x 16
pixels, enlarged from 8 x 8), and measured on the other 20 % as probabilities of 256 levels. Diffusion is measured by
the variational bound of the 1000 steps (64 of them drawn for each picture, without bias), with the variance beta or
one that was learned, and by the probability flow. Variational autoencoders have a Gaussian likelihood with one learned
scale, and are measured by their bound and by IWAE with 64 samples; they learn so few pictures by heart in a minute, and
are stopped when the held-out bound has not improved at five previews, 200 steps each, and the best one is measured.
"""

import argparse
from pathlib import Path

from machine import described

from carrara.device import default_device
from carrara.measure.evaluation import measure_run
from carrara.run.plan import plan
from carrara.run.session import Session

COMMON = ["data.held_out=0.2", "train.steps=null"]
STOPPED = ["preview.every=200", "preview.best=loss", "preview.patience=5"]
NETWORK = [
    *("preview.every=0", "model.conditioner=none", "sample.guidance=1", "train.optimizer=muon"),
    *("train.lr=2e-3", "train.decay=0.3", "model.schedule=cosine", "model.parameterization=v"),
    *("objective.times=uniform", "objective.weighting=unit", "model.backbone.multipliers=[1, 2, 2]"),
    *("model.backbone.attention_levels=[2]", "model.backbone.patch=1"),
]
VAE = "{{kind: vae, latents: {}, hidden: 256, depth: 2, likelihood: gaussian}}"
MODELS: dict[str, tuple[str, list[str]]] = {
    "DDPM, linear": ("digits", [*NETWORK, "model.schedule=linear", "model.parameterization=eps"]),
    "DDPM, cosine": ("digits", [*NETWORK, "model.schedule=cosine", "model.parameterization=eps"]),
    "v, cosine": ("digits", NETWORK),
    "hybrid, cosine": ("digits", [*NETWORK, "model.parameterization=eps", "objective.loss=hybrid"]),
    "bound, cosine": ("digits", [*NETWORK, "objective.loss=bound"]),
    "VAE of 16": ("vae", [*STOPPED, f"model.first_stage={VAE.format([16])}"]),
    "VAE of 16 and 8": ("vae-two-layer", [*STOPPED, f"model.first_stage={VAE.format([16, 8])}"]),
}


def measured(out: Path, name: str, minutes: float) -> str:
    """Trains, unless that was done, and measures; a row of the table."""
    preset, changes = MODELS[name]
    folder = out / name.replace(", ", "-").replace(" ", "-")
    for stage in plan("digits", preset, folder, [*COMMON, f"train.minutes={minutes}", *changes]).stages:
        for _ in Session(stage, default_device()):
            pass
    diffuses = preset == "digits"
    found = {
        metric: numbers.data
        for metric in (("nll", "flow") if diffuses else ("nll",))
        for numbers, _ in measure_run(folder if diffuses else folder / "best", metric, default_device())
    }
    nll = found["nll"]
    if not diffuses:
        return f"| {name} | {nll['bits_per_dim']:.3f} | {nll['iwae_bits_per_dim']:.3f} (IWAE) | |"
    parts = ", ".join(f"{nll[part]:.3f}" for part in ("prior", "diffusion", "decoder"))
    return f"| {name} | {nll['total']:.3f} ± {nll['error']:.3f} | {found['flow']['total']:.3f} (flow) | {parts} |"


def main(out: Path, names: list[str], minutes: float) -> None:
    """Prints the table."""
    print(f"{described()}; {minutes:g} minutes of training each\n")
    print("| model | bound, bits/dim | other estimate | prior, diffusion, decoder |\n|---|---|---|---|")
    for name in names:
        print(measured(out, name, minutes), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="*", default=[*MODELS], metavar="MODEL", help="; ".join(MODELS))
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    main(given.out, given.models, given.minutes)
