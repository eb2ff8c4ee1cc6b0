"""A LoRA beside full fine-tuning: how far each moves a model to data that it has not seen.

    python benchmarks/finetuning.py OUT [--steps 1500] [--tune 300] [--count 256]

A small model without a condition learns from a part of a set, of 16 x 16: OpenMoji but for the food, and the digits 0
to 4. Then it learns from the other part, once with all of its weights and once by a LoRA, for as many steps, each
with the best of three rates. The kernel distance of its samples (EfficientNet-lite0) to pictures of the other part
that nobody has learned from is measured before and after: ``moved`` is how much of the way to these, as far as full
fine-tuning goes, the LoRA goes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import described
from PIL import Image
from torch import Tensor

from carrara.data import Dataset, digits, openmoji
from carrara.device import default_device
from carrara.draw import Request, finish, sample
from carrara.evaluate.features import EfficientNetFeatures
from carrara.evaluate.kernel import Estimate, kernel_distance
from carrara.pixels import composite, to_tensor
from carrara.run.plan import Plan, plan, plan_finetuning
from carrara.run.session import Session
from carrara.store import OpenModel, open_model

SIZE, OTHER = 16, "Food & Drink"
BASE = (
    *(f"data.size={SIZE}", "data.held_out=0", "data.channels=3", "train.precision=float32", "model.conditioner=none"),
    "model.backbone={kind: unet, channels: 32, multipliers: [1, 2, 3], blocks: 1, attention_levels: [1, 2], "
    "head_width: 32, modulation: scale_shift}",
    *("train.batch=16", "train.minutes=null", "train.compile=false", "preview.every=0", "checkpoint.every=1000"),
    *("train.ema_half_life=2000", "sample.steps=20", "sample.guidance=1"),
)
TUNED = (
    *("train.batch=16", "train.minutes=null", "train.ema_half_life=500", "train.compile=false"),
    *("preview.every=0", "data.held_out=0", "checkpoint.every=1000"),
)
LEARNS = {
    "all": ("objective.learn=all", (1e-4, 3e-4, 1e-3)),
    "lora": ("objective.learn={kind: lora, rank: 4, layers: [qkv, attention.out, conv1, conv2]}", (1e-3, 3e-3, 1e-2)),
}


def sets() -> dict[str, tuple[Dataset, Callable[[int], bool]]]:
    """Data, and which of it is of the other part."""
    emoji, numbers = openmoji(SIZE), digits()
    return {
        "openmoji": (emoji, lambda k: emoji.info.classes[label(emoji, k)] == OTHER),
        "digits": (numbers, lambda k: label(numbers, k) > 4),
    }


def label(data: Dataset, k: int) -> int:
    """The number of a picture's class."""
    return int(np.argmax(data.columns(k)["label"]))


def written(data: Dataset, which: list[int], folder: Path) -> Path:
    """The folder, with these pictures in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in which:
        Image.fromarray(shown(data, k)).save(folder / f"{k:04d}.png")
    return folder


def shown(data: Dataset, k: int) -> np.ndarray:
    """A picture over white, in three channels."""
    pixels = np.asarray(composite(data.pixels(k)), np.uint8)
    large = Image.fromarray(pixels.squeeze()).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return np.asarray(large)


def trained(planned: Plan) -> Path:
    """Trains, unless that was done."""
    for stage in planned.stages:
        for _ in Session(stage, default_device()):
            pass
    return planned.folder


def drawn(run: Path, count: int) -> Tensor:
    """Samples of the seeds 0, 1, ..."""
    opened = OpenModel(model=open_model(run))
    request = Request(wishes=(None,) * count, seeds=tuple(range(count)), settings=opened.model.settings())
    return finish(sample(opened, request)).clamp(-1, 1)


def learning(run: Path) -> float:
    """The part of the network's numbers that a LoRA has."""
    from carrara.lora import read_adapter

    own = sum(one.up.numel() + one.down.numel() for one in read_adapter(run / "model").values())
    network = open_model(run).diffusion("it diffuses").denoiser
    return own / sum(p.numel() for p in network.parameters())


def main(out: Path, steps: int, tune: int, count: int) -> None:
    """Prints the table."""
    features = EfficientNetFeatures()

    @torch.no_grad()
    def seen(x: Tensor) -> Tensor:
        return torch.cat([features(part) for part in x.split(64)])

    print(f"{described()}; {steps} steps, then {tune}; {count} samples\n")
    print("| set | what learns | parameters | rate | kernel distance x 1000 | moved |\n|---|---|---|---|---|---|")
    for name, (data, other) in sets().items():
        of_other = [k for k in range(len(data)) if other(k)]
        learned, kept = of_other[::2], of_other[1::2]
        rest = [k for k in range(len(data)) if not other(k)]
        base = trained(
            plan(
                str(written(data, rest, out / name / "rest")),
                "pixel",
                out / name / "base",
                [*BASE, f"train.steps={steps}"],
            )
        )
        goal = seen(torch.stack([to_tensor(shown(data, k)) for k in kept]))
        folder = str(written(data, learned, out / name / "other"))

        def distance(run: Path, goal: Tensor = goal) -> Estimate:
            return kernel_distance(seen(drawn(run, count)), goal)

        before, full = distance(base), 0.0
        print(f"| {name} | nothing | 0 | | {1000 * before.value:.1f} ± {1000 * before.error:.1f} | |", flush=True)
        for learn, (change, rates) in LEARNS.items():
            tried = list[tuple[float, Estimate, Path]]()
            for rate in rates:
                more = [*TUNED, f"train.steps={tune}", change, f"train.lr={rate}"]
                run = trained(plan_finetuning(base, folder, out / name / f"{learn}-{rate:g}", more))
                tried.append((rate, distance(run), run))
            rate, after, run = min(tried, key=lambda one: one[1].value)
            way = before.value - after.value
            full = way if learn == "all" else full
            part = 1.0 if learn == "all" else learning(run)
            print(
                f"| {name} | {learn} | {part:.1%} | {rate:g} | {1000 * after.value:.1f} ± {1000 * after.error:.1f} "
                f"| {way / full:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--tune", type=int, default=300)
    parser.add_argument("--count", type=int, default=256)
    given = parser.parse_args()
    main(given.out, given.steps, given.tune, given.count)
