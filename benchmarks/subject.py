"""A subject from five pictures: how often samples find it among others, before and after.

    python benchmarks/subject.py OUT [--tune 120] [--count 16] [--rate 1e-3]

The base is the model that ships, of OpenMoji. The subject is its fox in blue: five views of it, turned and shrunk,
are learned from by a LoRA, as a 'zq fox', and five others are looked for. With the features of EfficientNet-lite0,
each sample's nearest picture is sought among those five and all animals and plants of OpenMoji, the fox among them:
``recall@1`` is how often it is the subject, ``rank`` the mean place of the nearest view of it. Samples of a 'fox'
should not be the subject, and ``moved`` is how far these are from the base's of the same seeds, in units of the mean
distance between two of the base's.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from machine import described
from PIL import Image
from torch import Tensor

from carrara.data import Dataset, openmoji
from carrara.device import default_device
from carrara.draw import Request, finish, sample
from carrara.evaluate.features import EfficientNetFeatures
from carrara.pixels import composite, to_tensor
from carrara.run.plan import plan_finetuning
from carrara.run.session import Session
from carrara.store import OpenModel, open_model

BASE, SIZE, GROUP, CLASS, SUBJECT = Path("openmoji"), 64, "Animals & Nature", "fox", "zq fox"
TUNED = (
    *("train.batch=8", "train.minutes=null", "train.ema_half_life=200", "train.warmup=10", "train.compile=false"),
    *("preview.every=0", "data.held_out=0", "checkpoint.every=1000", f"objective.caption={SUBJECT}"),
    "objective.learn={kind: lora, rank: 8, layers: [q, kv, out, conv1, conv2]}",
)
WAYS = {"a LoRA": (), "a LoRA, with its prior": (f"objective.prior={{prompt: {CLASS}, count: 24}}",)}


def views(data: Dataset, angles: tuple[int, ...]) -> list[np.ndarray]:
    """The blue fox, turned by so many degrees and shrunk a little, over white."""
    (fox,) = (k for k in range(len(data)) if data.captions(k)[:1] == (CLASS,))
    picture, found = Image.fromarray(data.pixels(fox)[..., [2, 1, 0, 3]]), list[np.ndarray]()
    for k, angle in enumerate(angles):
        edge = round(picture.width * (1 - 0.06 * (k % 3)))
        turned = Image.new("RGBA", picture.size)
        small = picture.resize((edge, edge), Image.Resampling.LANCZOS).rotate(angle, Image.Resampling.BICUBIC)
        turned.paste(small, ((picture.width - edge) // 2,) * 2)
        shown = np.asarray(turned.resize((SIZE, SIZE), Image.Resampling.LANCZOS))
        found.append(np.asarray(composite(shown), np.uint8))
    return found


def drawn(run: Path, prompt: str, count: int) -> Tensor:
    """Samples of the seeds 0, 1, ..."""
    opened = OpenModel(model=open_model(run))
    request = Request(wishes=(prompt,) * count, seeds=tuple(range(count)), settings=opened.model.settings())
    return finish(sample(opened, request)).clamp(-1, 1)


def found(samples: Tensor, sought: Tensor, others: Tensor) -> tuple[float, float]:
    """recall@1 and mean rank, by the distances of features (N, D)."""
    first = torch.cdist(samples, sought).min(1).values
    ranks = 1 + (torch.cdist(samples, others) < first[:, None]).sum(1)
    return (ranks == 1).double().mean().item(), ranks.double().mean().item()


def shown(samples: Tensor, path: Path) -> None:
    """Writes samples side by side."""
    row = torch.cat(list(samples), 2)
    Image.fromarray(((row + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()).save(path)


def main(out: Path, tune: int, count: int, rate: float) -> None:
    """Prints the table."""
    large, small, features = openmoji(128, groups=[GROUP]), openmoji(SIZE, groups=[GROUP]), EfficientNetFeatures()
    folder = out / "five"
    folder.mkdir(parents=True, exist_ok=True)
    for k, pixels in enumerate(views(large, (0, 15, -15, 30, -30))):
        Image.fromarray(pixels).save(folder / f"{k}.png")

    @torch.no_grad()
    def seen(x: Tensor) -> Tensor:
        return torch.cat([features(part) for part in x.split(32)])

    others = seen(torch.stack([to_tensor(composite(small.pixels(k))) for k in range(len(small))]))
    sought = seen(torch.stack([to_tensor(view) for view in views(large, (8, -8, 22, -22, 38))]))
    print(f"{described()}; tuned for {tune} steps at a rate of {rate:g}; {count} samples; {len(others)} others\n")
    print("| what learns | said | recall@1 | rank | 'fox': recall@1 | 'fox': moved |\n|---|---|---|---|---|---|")
    first = drawn(BASE, CLASS, count)
    before = seen(first)
    unit = torch.pdist(before).mean()
    recall, rank = found(seen(drawn(BASE, SUBJECT, count)), sought, others)
    shown(first[:8], out / "base-fox.png")
    print(
        f"| nothing | {SUBJECT} | {recall:.2f} | {rank:.1f} | {found(before, sought, others)[0]:.2f} | 0 |", flush=True
    )
    for name, changes in WAYS.items():
        run = out / name.replace(", ", "-").replace(" ", "-")
        planned = plan_finetuning(BASE, str(folder), run, [*TUNED, f"train.steps={tune}", f"train.lr={rate}", *changes])
        for stage in planned.stages:
            for _ in Session(stage, default_device()):
                pass
        samples, classes = drawn(run, SUBJECT, count), drawn(run, CLASS, count)
        shown(torch.cat([samples[:8], classes[:8]]), out / f"{run.name}.png")
        recall, rank = found(seen(samples), sought, others)
        kept = seen(classes)
        moved = (kept - before).norm(dim=1).mean() / unit
        print(
            f"| {name} | {SUBJECT} | {recall:.2f} | {rank:.1f} | {found(kept, sought, others)[0]:.2f} | {moved:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tune", type=int, default=120)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    given = parser.parse_args()
    main(given.out, given.tune, given.count, given.rate)
