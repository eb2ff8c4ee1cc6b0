"""What does reusing deep features between steps cost, and how much sooner is it done?

    python benchmarks/caching.py MODEL openmoji|digits [--samples 256] [--pictures 1500] [--rounds 7] [--out FOLDER]

MODEL is a run or a model's folder, or `openmoji`. All draw for the same wishes from the same seeds, as the model's own
settings say, without a cache, with `cache` 2 and 3 (the first level computed at every step), and for comparison with
two levels computed. Then one picture at a time is drawn by each of them in turns, decoding included: the median of the
seconds, and of the ratios of each turn. The last
rows have no cache but fewer steps, which take about as long.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from machine import described
from PIL import Image
from torch import Tensor

from carrara import evaluate
from carrara.backbone import reuse
from carrara.data import Dataset, digits, openmoji
from carrara.draw import Request, finish, sample
from carrara.draw.wishes import prompts
from carrara.objective.distillation import exact_psnr
from carrara.pixels import composite, rounded, to_tensor
from carrara.store import OpenModel, open_model

BATCH, SHOWN = 32, 8


@dataclass(frozen=True, kw_only=True)
class Way:
    """How to draw.

    Attributes:
        cache: N; 1 is none.
        levels: computed at every step.
        share: of the model's own number of steps.
    """

    cache: int = 1
    levels: int = 1
    share: float = 1.0

    def draw(self, opened: OpenModel, asked: Request) -> Tensor:
        """Samples in [-1, 1] with 8 bits."""
        reuse.LEVELS = self.levels
        steps = round(asked.settings.steps * self.share)
        asked = replace(asked, cache=self.cache, settings=replace(asked.settings, steps=steps))
        return rounded(finish(sample(opened, asked, batch=BATCH)))


WAYS = {
    "none": Way(),
    "cache 2": Way(cache=2),
    "cache 3": Way(cache=3),
    "cache 2, two levels": Way(cache=2, levels=2),
    "cache 3, two levels": Way(cache=3, levels=2),
    "none, 0.7 of the steps": Way(share=0.7),
    "none, 0.5 of the steps": Way(share=0.5),
}


def shown(data: Dataset, k: int, size: int, channels: int) -> Tensor:
    """A picture over white, as the model has it."""
    pixels = data.pixels(k)
    pixels = np.asarray(composite(pixels) if pixels.shape[-1] == 4 else pixels, np.uint8)
    whole = Image.fromarray(pixels.squeeze()).convert("RGB" if channels == 3 else "L")
    values = np.asarray(whole.resize((size, size), Image.Resampling.LANCZOS))
    return to_tensor(values if channels == 3 else values[..., None])


def seconds(opened: OpenModel, asked: Request, rounds: int) -> dict[str, list[float]]:
    """Of one picture each way, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(rounds + 1):
        for name, way in WAYS.items():
            begun = perf_counter()
            way.draw(opened, asked.part(slice(turn, turn + 1)))
            taken[name].append(perf_counter() - begun)
    return {name: times[1:] for name, times in taken.items()}


def main(given: argparse.Namespace) -> None:
    """Prints the table."""
    opened = OpenModel(model=open_model(given.model))
    model = opened.model.diffusion("it diffuses")
    data = openmoji(64) if given.data == "openmoji" else digits()
    chosen = np.linspace(0, len(data) - 1, min(given.pictures, len(data))).astype(int).tolist()
    wishes = prompts(model, data, chosen[:: max(1, len(chosen) // given.samples)][: given.samples])
    asked = Request(
        wishes=wishes, seeds=tuple(range(len(wishes))), settings=model.settings(), precision=given.precision
    )
    network = evaluate.extractor()

    @torch.no_grad()
    def features(x: Tensor) -> Tensor:
        return torch.cat(list(evaluate.extract(network, x.split(BATCH))))

    real = features(torch.stack([shown(data, k, model.size[0], model.shape[0]) for k in chosen]))
    samples = {name: way.draw(opened, asked) for name, way in WAYS.items()}
    times = seconds(opened, asked, given.rounds)
    print(f"{described()}, {given.precision}; {len(wishes)} samples, {len(chosen)} pictures; {network.name}\n")
    print("| | seconds a picture | sooner | kernel distance x 1000 | PSNR |\n|---|---|---|---|---|")
    for name, x in samples.items():
        sooner = median(a / b for a, b in zip(times["none"], times[name], strict=True))
        estimate = evaluate.kernel_distance(features(x), real)
        agreement = "" if name == "none" else f"{exact_psnr(x, samples['none']).mean().item():.1f} dB"
        kid = f"{1000 * estimate.value:.1f} ± {1000 * estimate.error:.1f}"
        print(f"| {name} | {median(times[name]):.2f} | {sooner:.2f} x | {kid} | {agreement} |", flush=True)
    if given.out is not None:
        save(list(samples.values()), given.out / f"caching-{given.data}.png")


def save(rows: list[Tensor], path: Path) -> None:
    """Writes some samples, a row each way."""
    sheet = torch.cat([torch.cat(list(row[:SHOWN]), 2) for row in rows], 1)
    values = ((sheet.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.squeeze()).save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", choices=["openmoji", "digits"])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())
