"""How good are samples after so many minutes? OpenMoji at 32 px, without a condition, one after the other.

    python benchmarks/quality.py OUT [--who carrara,diffusers] [--minutes 5,20] [--samples 512] [key=value ...]

Writes benchmarks/results/quality.md, a plot and grids of samples. All train on the same 80 % of the pictures for the
same wall-clock time on a machine with nothing else to do; the kernel distance is to the other 20 %.

* carrara: ``carrara train openmoji data.size=32`` as it comes, told to know no classes; ``key=value`` changes it.
* diffusers: what its unconditional example does (AdamW, a cosine rate with a warm-up of 500, batches of 16, mirror
  images, averaged weights, bfloat16), with UNet2DModel at widths that suit 32 px: 17.2 million parameters.
* denoising-diffusion-pytorch: what its Trainer does by default (Adam, batches of 16, mirror images, averaged weights,
  bfloat16, v predicted), with its Unet at widths that suit 32 px: 12.1 million parameters.

Samples are drawn as each does by itself: by our recipe's sampler, by 50 steps of DDIM. Ours are also drawn in 10 and in
100 steps.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from environment import environment
from lucidrains import ENVIRONMENT, NAME, lucidrains
from machine import described
from torch import Tensor

from carrara import evaluate, pixels, plots
from carrara.data import batch_of
from carrara.device import default_device
from carrara.draw import Ask, finish, request, sample
from carrara.memory import keep_freed
from carrara.pixels import rounded
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import Store

BATCH, SHOWN, COLUMNS, FEW, MANY = 64, 60, 12, 10, 100
COMMON = ["data.size=32", "data.held_out=0.2", "model.conditioner=none", "sample.guidance=1", "preview.every=0"]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a training: its speed, and its samples by the number of steps, ``""`` for its own way."""

    parameters: int
    images: float
    samples: dict[str, Tensor]
    rate: float


def split() -> tuple[Tensor, Tensor]:
    """The pictures to train on, and those held out: (N, 3, 32, 32) in [-1, 1]."""
    recipe = load("pixel", ["data.source=openmoji", "data.channels=3", *COMMON])
    parts = build.parts(recipe, build.dataset(recipe))
    first, second = (batch_of(part, build.transform(recipe), range(len(part))).x for part in parts)
    return first, second


def carrara(out: Path, minutes: float, count: int, changes: Sequence[str]) -> Trained:
    planned = plan("openmoji", "pixel", out, [*COMMON, f"train.minutes={minutes}", *changes])
    begun, images = perf_counter(), 0
    for stage in planned.stages:
        for event in Session(stage, default_device()):
            images = getattr(event, "images", images)
    speed = images / (perf_counter() - begun)
    opened = Store().open(out)
    samples, taken = dict[str, Tensor](), 0.0
    for steps in (None, FEW, MANY):
        begun = perf_counter()
        made = sample(opened, request(opened, Ask(count=count, steps=steps)))
        samples[str(steps or "")] = rounded(finish(made))
        taken = taken or perf_counter() - begun
    size = sum(p.numel() for p in opened.model.denoiser.parameters())
    return Trained(parameters=size, images=speed, samples=samples, rate=count / taken)


def diffusers(out: Path, minutes: float, count: int, changes: Sequence[str]) -> Trained:
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    del out, changes
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=32,
        layers_per_block=2,
        block_out_channels=(64, 128, 128, 256),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    noise, (pictures, _), begun, step = DDPMScheduler(num_train_timesteps=1000), split(), perf_counter(), 0
    while (progress := (perf_counter() - begun) / (60 * minutes)) < 1:
        x = pictures[torch.randint(len(pictures), (16,))]
        x = torch.where(torch.rand(16, 1, 1, 1) < 0.5, x.flip(3), x)
        eps, t = torch.randn_like(x), torch.randint(1000, (16,))
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 * min(1.0, (step + 1) / 500) * 0.5 * (1 + float(np.cos(np.pi * progress)))
        with torch.autocast("cpu", torch.bfloat16):
            loss = (network(noise.add_noise(x, eps, t), t).sample.float() - eps).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(network.parameters())
        step += 1
    speed = 16 * step / (perf_counter() - begun)
    average.copy_to(network.parameters())
    begun, scheduler, made = perf_counter(), DDIMScheduler(num_train_timesteps=1000), list[Tensor]()
    scheduler.set_timesteps(50)
    for _ in range(0, count, BATCH):
        x = torch.randn(BATCH, 3, 32, 32)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            for t in scheduler.timesteps:
                x = scheduler.step(network.eval()(x, t).sample.float(), t, x).prev_sample
        made.append(x.clone())
    size = sum(p.numel() for p in network.parameters())
    rate = BATCH * len(made) / (perf_counter() - begun)
    return Trained(parameters=size, images=speed, samples={"": rounded(torch.cat(made)[:count])}, rate=rate)


def lucidrains_(out: Path, minutes: float, count: int, changes: Sequence[str]) -> Trained:
    del out, changes
    torch.manual_seed(0)
    trainer, (pictures, _) = lucidrains(32, (1, 2, 2, 4), 50, torch.device("cpu")), split()
    begun, step = perf_counter(), 0
    while perf_counter() - begun < 60 * minutes:
        x = pictures[torch.randint(len(pictures), (16,))]
        x = torch.where(torch.rand(16, 1, 1, 1) < 0.5, x.flip(3), x)
        trainer.step(x / 2 + 0.5)
        step += 1
    speed, begun = 16 * step / (perf_counter() - begun), perf_counter()
    made = torch.cat([trainer.sample(BATCH) for _ in range(0, count, BATCH)])
    rate = len(made) / (perf_counter() - begun)
    size = sum(p.numel() for p in trainer.diffusion.parameters())
    return Trained(parameters=size, images=speed, samples={"": rounded(made[:count] * 2 - 1)}, rate=rate)


CONTENDERS: dict[str, Callable[[Path, float, int, Sequence[str]], Trained]] = {
    "carrara": carrara,
    "diffusers": diffusers,
    NAME: lucidrains_,
}


def apart(who: str, out: Path, minutes: float, count: int, changes: Sequence[str]) -> Trained:
    """A contender in a process of its own, unless that was done; its memory and threads are its own."""
    made = out / f"{who}-{minutes:g}.pt"
    if not made.is_file():
        python = environment(*ENVIRONMENT) if who == NAME else Path(sys.executable)
        if python is None:
            raise SystemExit(f"leave it out: --who {','.join(name for name in CONTENDERS if name != who)}")
        call = [str(python), __file__, str(out), "--one", who, "--minutes", f"{minutes:g}", "--samples", str(count)]
        subprocess.run([*call, *changes], check=True)
    return Trained(**torch.load(made, weights_only=True))


def main(out: Path, who: Sequence[str], minutes: Sequence[float], count: int, changes: Sequence[str]) -> None:
    """Trains, measures, and writes the table."""
    _, real = split()
    network = evaluate.extractor()
    features = torch.cat(list(evaluate.extract(network, real.split(BATCH))))
    lines = [
        "# Quality after minutes of training",
        "",
        f"`python benchmarks/quality.py OUT {' '.join(changes)}`".replace(" `", "`"),
        "",
        f"{described()}; OpenMoji, {len(real)} held-out pictures of 32x32, {count} samples; {network.name}",
        "",
        "| | minutes | steps of sampling | parameters | training, img/s | sampling, img/s | KID x 1000 |",
        "|---|---|---|---|---|---|---|",
    ]
    curves: dict[str, list[float]] = {}
    for budget in minutes:
        for name in who:
            trained = apart(name, out, budget, count, changes)
            for steps, x in trained.samples.items():
                found = evaluate.kernel_distance(torch.cat(list(evaluate.extract(network, x.split(BATCH)))), features)
                rate = f"{trained.rate:.1f}" if not steps else ""
                kid = f"{1000 * found.value:.0f} ± {1000 * found.error:.0f}"
                size, speed = f"{trained.parameters / 1e6:.1f} M", f"{trained.images:.0f}"
                lines.append(f"| {name} | {budget:g} | {steps or 'own'} | {size} | {speed} | {rate} | {kid} |")
                print(lines[-1], flush=True)
                if not steps:
                    curves.setdefault(name, []).append(1000 * found.value)
                    grid = pixels.grid(x[:SHOWN], COLUMNS)
                    grid.convert("RGB").save(RESULTS / f"quality-{name}-{budget:g}.png")
    RESULTS.joinpath("quality.md").write_text("\n".join(lines) + "\n")
    chart = plots.Chart(
        title="Kernel distance to held-out OpenMoji",
        lines=[plots.Line(name=name, x=minutes, y=values) for name, values in curves.items()],
        x_label="minutes of training",
        y_label="KID x 1000",
        log_y=True,
    )
    chart.picture().save(RESULTS / "quality.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--who", type=lambda text: text.split(","), default=list(CONTENDERS))
    parser.add_argument("--one", choices=CONTENDERS)
    parser.add_argument("--minutes", type=lambda text: [float(part) for part in text.split(",")], default=[5.0, 20.0])
    parser.add_argument("--samples", type=int, default=512)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.one:
        keep_freed()
        (budget,) = given.minutes
        trained = CONTENDERS[given.one](given.out / f"{given.one}-{budget:g}", budget, given.samples, given.changes)
        torch.save(vars(trained), given.out / f"{given.one}-{budget:g}.pt")
    else:
        main(given.out, given.who, given.minutes, given.samples, given.changes)
