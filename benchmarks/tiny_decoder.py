"""How much faster is the distilled decoder than the full one, and what does it cost?

    carrara train openmoji --preset autoencoder-kl-f4 data.held_out=0.2 --run runs/kl
    carrara distill runs/kl --decoder
    python benchmarks/tiny_decoder.py runs/kl

Both decode the same latents of held-out pictures, in turns, in the precision that training takes; the medians' ratio is
the speed-up. PSNR is against the pictures.
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from machine import described

from carrara.errors import UserError
from carrara.evaluate import psnr
from carrara.store import Store
from carrara.train import autocast

ROUNDS, PICTURES = 15, 364


def main(run: Path) -> None:
    """Prints the table."""
    opened = Store(torch.device("cpu")).open(run)
    model = opened.model
    if model.fast is None:
        raise UserError(f"'{run}' has no distilled decoder: run 'carrara distill {run} --decoder' first")
    stage, x = model.first_stage, opened.examples(PICTURES)
    decoders = {"full": stage.decode, "tiny": model.fast}
    with torch.no_grad():
        z = torch.cat([stage.latents(stage.encode_raw(part), None) for part in x.split(32)])
        made = {name: torch.cat([decode(part) for part in z.split(32)]) for name, decode in decoders.items()}
        quality = {name: psnr(x, y[..., : x.shape[-2], : x.shape[-1]].clamp(-1, 1)) for name, y in made.items()}
    print(f"{described()}; {len(x)} held-out pictures of {x.shape[-1]}x{x.shape[-2]}\n")
    print("| batch | full, ms a picture | tiny, ms a picture | ratio |\n|---|---|---|---|")
    for batch in (1, 16):
        times: dict[str, list[float]] = {name: [] for name in decoders}
        with torch.no_grad(), autocast("auto", z.device):
            for turn in range(ROUNDS + 2):
                for name, decode in decoders.items():
                    begun = perf_counter()
                    for _ in range(3):
                        decode(z[:batch])
                    if turn >= 2:
                        times[name].append((perf_counter() - begun) / 3 / batch * 1000)
        full, tiny = (median(values) for values in times.values())
        print(f"| {batch} | {full:.2f} | {tiny:.2f} | {full / tiny:.1f} |")
    full, tiny = (values.mean().item() for values in quality.values())
    print(f"\nPSNR: full {full:.2f} dB, tiny {tiny:.2f} dB, {full - tiny:.2f} dB less")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
