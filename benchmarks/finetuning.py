"""A LoRA beside full fine-tuning: how far each moves a model to a part of a set.

    python benchmarks/finetuning.py OUT [--only digits] [--steps 450] [--tune 100] [--count 128]

Two models draw anything of what they know: the one that ships, of all of OpenMoji, told 'an emoji'; and a small one
that learns here the digits 0 to 4, of 16 x 16. Then each learns from a half of one part, the emoji of food or the
digits 5 to 9, once with all of its weights and once by a LoRA, for as many steps, each with the best of two rates.
The kernel distance of its samples (EfficientNet-lite0) to the other half of that part, which no tuning has seen, is
measured before and after: ``moved`` is how much of the way that full fine-tuning goes the LoRA goes.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
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

SHIPPED, OTHER = Path("openmoji"), "Food & Drink"
BASE = (
    *("data.held_out=0", "data.channels=3", "train.precision=float32", "model.conditioner=none"),
    "model.backbone={kind: unet, channels: 32, multipliers: [1, 2, 3], blocks: 1, attention_levels: [1, 2], "
    "head_width: 32, modulation: scale_shift}",
    *("train.batch=16", "train.minutes=null", "train.compile=false", "preview.every=0", "checkpoint.every=1000"),
    *("train.ema_half_life=2000", "sample.steps=20", "sample.guidance=1"),
)
TUNED = (
    *("train.batch=8", "train.minutes=null", "train.ema_half_life=200", "train.warmup=10", "train.compile=false"),
    *("preview.every=0", "data.held_out=0", "checkpoint.every=1000"),
)
LEARNS = {
    "all": ("objective.learn=all", (1e-4, 3e-4)),
    "lora": ("objective.learn={{kind: lora, rank: 4, layers: [{layers}]}}", (1e-3, 3e-3)),
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A set, and which of it is to be learned.

    Attributes:
        size: edges of its pictures.
        other: whether an example is of the part.
        shipped: the model that knows the set; None = one learns the rest of it first.
        said: what is said of all pictures, and asked for.
        layers: of the network, which the LoRA is for.
    """

    data: Dataset
    size: int
    other: Callable[[int], bool]
    shipped: Path | None = None
    said: str = ""
    layers: str


def parts() -> dict[str, Part]:
    """By name."""
    emoji, numbers = openmoji(64), digits()
    return {
        "openmoji": Part(
            data=emoji,
            size=64,
            other=lambda k: emoji.info.classes[label(emoji, k)] == OTHER,
            shipped=SHIPPED,
            said="an emoji",
            layers="q, kv, out, conv1, conv2",
        ),
        "digits": Part(data=numbers, size=16, other=lambda k: label(numbers, k) > 4, layers="qkv, out, conv1, conv2"),
    }


def label(data: Dataset, k: int) -> int:
    """The number of a picture's class."""
    return int(np.argmax(data.columns(k)["label"]))


def written(part: Part, which: list[int], folder: Path) -> Path:
    """The folder, with these pictures in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in which:
        Image.fromarray(shown(part, k)).save(folder / f"{k:04d}.png")
    return folder


def shown(part: Part, k: int) -> np.ndarray:
    """A picture over white, in three channels."""
    pixels = part.data.pixels(k)
    pixels = np.asarray(composite(pixels) if pixels.shape[-1] == 4 else pixels, np.uint8)
    whole = Image.fromarray(pixels.squeeze()).convert("RGB")
    return np.asarray(whole.resize((part.size, part.size), Image.Resampling.LANCZOS))


def trained(planned: Plan) -> Path:
    """Trains, unless that was done."""
    for stage in planned.stages:
        for _ in Session(stage, default_device()):
            pass
    return planned.folder


def drawn(run: Path, said: str, count: int) -> Tensor:
    """Samples of the seeds 0, 1, ..."""
    opened = OpenModel(model=open_model(run))
    settings = opened.model.settings(guidance=1.0)
    request = Request(wishes=(said or None,) * count, seeds=tuple(range(count)), settings=settings)
    return finish(sample(opened, request)).clamp(-1, 1)


def learning(run: Path) -> float:
    """The part of the network's numbers that a LoRA has."""
    from carrara.lora import read_adapter

    own = sum(one.up.numel() + one.down.numel() for one in read_adapter(run / "model").values())
    network = open_model(run).diffusion("it diffuses").denoiser
    return own / sum(p.numel() for p in network.parameters())


def main(out: Path, only: str | None, steps: int, tune: int, count: int) -> None:
    """Prints the table."""
    features = EfficientNetFeatures()

    @torch.no_grad()
    def seen(x: Tensor) -> Tensor:
        return torch.cat([features(part) for part in x.split(64)])

    print(f"{described()}; {steps} steps of the digits, then {tune}; {count} samples\n")
    print("| set | what learns | parameters | rate | kernel distance x 1000 | moved |\n|---|---|---|---|---|---|")
    for name, part in parts().items():
        if only not in (None, name):
            continue
        every = range(len(part.data))
        of_other = [k for k in every if part.other(k)]
        learned, kept = of_other[::2], of_other[1::2]
        goal = seen(torch.stack([to_tensor(shown(part, k)) for k in kept]))
        folder = str(written(part, learned, out / name / "other"))
        base = part.shipped or base_of(part, out / name, steps)

        def distance(run: Path, name: str, part: Part = part, goal: Tensor = goal, to: Path = out / name) -> Estimate:
            samples = drawn(run, part.said, count)
            save(samples[:32], to / f"{name}.png")
            return kernel_distance(seen(samples), goal)

        before, full = distance(base, "before"), 0.0
        print(f"| {name} | nothing | 0 | | {1000 * before.value:.1f} ± {1000 * before.error:.1f} | |", flush=True)
        for learn, (change, rates) in LEARNS.items():
            tried = list[tuple[float, Estimate, Path]]()
            for rate in rates:
                said = (f"objective.caption={part.said}",) if part.said else ()
                more = [*TUNED, *said, f"train.steps={tune}", change.format(layers=part.layers), f"train.lr={rate}"]
                run = trained(plan_finetuning(base, folder, out / name / f"{learn}-{rate:g}", more))
                tried.append((rate, distance(run, f"{learn}-{rate:g}"), run))
                print(f"{name}, {learn}, {rate:g}: {1000 * tried[-1][1].value:.1f}", file=sys.stderr, flush=True)
            rate, after, run = min(tried, key=lambda one: one[1].value)
            way = before.value - after.value
            full = way if learn == "all" else full
            share = 1.0 if learn == "all" else learning(run)
            print(
                f"| {name} | {learn} | {share:.1%} | {rate:g} | {1000 * after.value:.1f} ± {1000 * after.error:.1f} "
                f"| {way / full:.2f} |",
                flush=True,
            )


def base_of(part: Part, out: Path, steps: int) -> Path:
    """A model of the rest of a set."""
    rest = [k for k in range(len(part.data)) if not part.other(k)]
    folder = str(written(part, rest, out / "rest"))
    changes = [*BASE, f"data.size={part.size}", f"train.steps={steps}"]
    return trained(plan(folder, "pixel", out / "base", changes))


def save(samples: Tensor, path: Path) -> None:
    """Writes samples in rows of eight."""
    sheet = torch.cat([torch.cat(list(row), 2) for row in samples.split(8)], 1)
    Image.fromarray(((sheet + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=["openmoji", "digits"])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--tune", type=int, default=100)
    parser.add_argument("--count", type=int, default=128)
    given = parser.parse_args()
    main(given.out, given.only, given.steps, given.tune, given.count)
