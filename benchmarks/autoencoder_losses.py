"""What do the perceptual term and the critic do to an autoencoder?

    python benchmarks/autoencoder_losses.py runs/losses [--steps 450]

Trains the preset autoencoder-kl-f4 on OpenMoji four times for the same number of steps (plain L1; with the perceptual
term at the preset's weight of 0.2, and at 1; with the critic from half-way on), and measures held-out pictures. Runs
that are there already are not trained again. The perceptual distance and rFID look through the same network,
EfficientNet-lite0, whose features the perceptual term trains on; the critic never sees it.
"""

import argparse
from pathlib import Path

from machine import described

from carrara.device import default_device
from carrara.measure.evaluation import measure_run
from carrara.run.plan import plan
from carrara.run.session import Session

PLAIN = "objective.perceptual=0"


def variants(steps: int) -> dict[str, list[str]]:
    """The changes to the preset, by name."""
    critic = f"objective.critic={{start: {steps // 2}, channels: 32, layers: 2}}"
    strong = "objective.perceptual=1"
    return {"plain": [PLAIN], "perceptual": [], "perceptual-1": [strong], "critic": [PLAIN, critic]}


def main(out: Path, steps: int) -> None:
    """Prints the table."""
    rows: list[str] = []
    for name, changes in variants(steps).items():
        length = [f"train.steps={steps}", "data.held_out=0.2", "preview.every=0"]
        device = default_device()
        for stage in plan("openmoji", "autoencoder-kl-f4", out / name, [*length, *changes]).stages:
            for _ in Session(stage, device):
                pass
        ((measured, _),) = measure_run(out / name, "reconstruction", device)
        values = [measured.data[key] for key in ("psnr", "ssim", "perceptual", "rfid", "rkid")]
        rows.append(f"| {name} | " + " | ".join(f"{value:.4g}" for value in values) + " |")
    print(f"{described()}; {steps} steps of 16\n")
    print("| loss | PSNR | SSIM | perceptual distance | rFID | rKID |\n|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=450)
    arguments = parser.parse_args()
    main(arguments.out, arguments.steps)
