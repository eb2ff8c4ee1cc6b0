"""How good are samples after so many minutes? Pictures of 32 px, without a condition, one contender after the other.

    python benchmarks/quality.py OUT [--data openmoji] [--who carrara,diffusers] [--minutes 5,20] [--samples 512]
                                     [--steps 10,100] [--together] [--name quality] [key=value ...]

Writes benchmarks/results/quality.md, a plot and grids of samples. All train on the same 80 % of the pictures for the
same wall-clock time on a machine with nothing else to do; the kernel distance is to the other 20 %. ``--together`` has
all contenders train at the same time, each on its share of the threads, so that a machine's moods are everybody's.

* carrara: ``carrara train DATA data.size=32`` as it comes, told to know no classes; ``key=value`` changes it.
* diffusers: what its unconditional example does (AdamW, a cosine rate with a warm-up of 500, batches of 16, mirror
  images, averaged weights), with UNet2DModel at widths that suit 32 px: 17.2 million parameters.
* denoising-diffusion-pytorch: what its Trainer does by default (Adam, batches of 16, mirror images, averaged weights,
  v predicted), with its Unet at widths that suit 32 px: 12.1 million parameters.

Everybody multiplies in bfloat16 where the processor does, else in float32.

Samples are drawn as each does by itself: by our recipe's sampler, by 50 steps of DDIM. Ours are also drawn in other
numbers of steps.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import Store
from carrara.train.precision import matmul_dtype

BATCH, SHOWN, COLUMNS = 64, 60, 12
COMMON = ["data.size=32", "data.held_out=0.2", "model.conditioner=none", "sample.guidance=1", "preview.every=0"]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a training: its speed, and its samples by the number of steps, ``""`` for its own way."""

    parameters: int
    images: float
    samples: dict[str, Tensor]
    rate: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a contender is asked for.

    Attributes:
        out: where it may write.
        data: as of ``carrara train``.
        count: of samples.
        steps: in which ours are drawn, beside their own.
        changes: of our recipe.
    """

    out: Path
    data: str
    minutes: float
    count: int
    steps: Sequence[int] = ()
    changes: Sequence[str] = ()


def split(task: Task) -> tuple[Tensor, Tensor]:
    """The pictures to train on, and those held out: (N, 3, 32, 32) in [-1, 1]."""
    recipe = plan(task.data, "pixel", task.out / "split", COMMON).recipe
    parts = build.parts(recipe, build.dataset(recipe))
    first, second = (batch_of(part, build.transform(recipe), range(len(part))).x for part in parts)
    return first, second


def carrara(task: Task) -> Trained:
    planned = plan(task.data, "pixel", task.out, [*COMMON, f"train.minutes={task.minutes}", *task.changes])
    begun, images = perf_counter(), 0
    for stage in planned.stages:
        for event in Session(stage, default_device()):
            images = getattr(event, "images", images)
    speed = images / (perf_counter() - begun)
    opened = Store().open(task.out)
    samples, taken = dict[str, Tensor](), 0.0
    for steps in (None, *task.steps):
        begun = perf_counter()
        made = sample(opened, request(opened, Ask(count=task.count, steps=steps)))
        samples[str(steps or "")] = rounded(finish(made))
        taken = taken or perf_counter() - begun
    size = sum(p.numel() for p in opened.model.denoiser.parameters())
    return Trained(parameters=size, images=speed, samples=samples, rate=task.count / taken)


def diffusers(task: Task) -> Trained:
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

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
    noise, (pictures, _), begun, step = DDPMScheduler(num_train_timesteps=1000), split(task), perf_counter(), 0
    while (progress := (perf_counter() - begun) / (60 * task.minutes)) < 1:
        x = pictures[torch.randint(len(pictures), (16,))]
        x = torch.where(torch.rand(16, 1, 1, 1) < 0.5, x.flip(3), x)
        eps, t = torch.randn_like(x), torch.randint(1000, (16,))
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 * min(1.0, (step + 1) / 500) * 0.5 * (1 + float(np.cos(np.pi * progress)))
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16()):
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
    for _ in range(0, task.count, BATCH):
        x = torch.randn(BATCH, 3, 32, 32)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16()):
            for t in scheduler.timesteps:
                x = scheduler.step(network.eval()(x, t).sample.float(), t, x).prev_sample
        made.append(x.clone())
    size = sum(p.numel() for p in network.parameters())
    rate = BATCH * len(made) / (perf_counter() - begun)
    return Trained(parameters=size, images=speed, samples={"": rounded(torch.cat(made)[: task.count])}, rate=rate)


def lucidrains_(task: Task) -> Trained:
    torch.manual_seed(0)
    trainer, (pictures, _) = lucidrains(32, (1, 2, 2, 4), 50, torch.device("cpu"), bfloat16()), split(task)
    begun, step = perf_counter(), 0
    while perf_counter() - begun < 60 * task.minutes:
        x = pictures[torch.randint(len(pictures), (16,))]
        x = torch.where(torch.rand(16, 1, 1, 1) < 0.5, x.flip(3), x)
        trainer.step(x / 2 + 0.5)
        step += 1
    speed, begun = 16 * step / (perf_counter() - begun), perf_counter()
    made = torch.cat([trainer.sample(BATCH) for _ in range(0, task.count, BATCH)])
    rate = len(made) / (perf_counter() - begun)
    size = sum(p.numel() for p in trainer.diffusion.parameters())
    return Trained(parameters=size, images=speed, samples={"": rounded(made[: task.count] * 2 - 1)}, rate=rate)


CONTENDERS: dict[str, Callable[[Task], Trained]] = {
    "carrara": carrara,
    "diffusers": diffusers,
    NAME: lucidrains_,
}


def numbers(text: str) -> list[int]:
    """Whole ones between commas."""
    return [int(part) for part in text.split(",") if part]


def bfloat16() -> bool:
    """Whether the processor multiplies in it."""
    return matmul_dtype("auto", torch.device("cpu")) is torch.bfloat16


def file_of(out: Path, who: str, minutes: float) -> Path:
    """What a contender leaves."""
    return out / f"{who}-{minutes:g}.pt"


def train_all(names: Sequence[str], task: Task, together: bool) -> list[Trained]:
    """Contenders in processes of their own, unless that was done; their memory and threads are their own."""
    working = list[subprocess.Popen[bytes]]()
    environ = {**os.environ, "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // len(names)))}
    for who in names:
        if file_of(task.out, who, task.minutes).is_file():
            continue
        python = environment(*ENVIRONMENT) if who == NAME else Path(sys.executable)
        if python is None:
            raise SystemExit(f"leave it out: --who {','.join(name for name in CONTENDERS if name != who)}")
        call = [str(python), __file__, str(task.out), "--data", task.data, "--one", who, *task.changes]
        call += ["--minutes", f"{task.minutes:g}", "--samples", str(task.count)]
        call += ["--steps", ",".join(map(str, task.steps))]
        working.append(subprocess.Popen(call, env=environ if together else None))
        if not together:
            working[-1].wait()
    if any(process.wait() for process in working):
        raise SystemExit("a contender failed: see above")
    return [Trained(**torch.load(file_of(task.out, who, task.minutes), weights_only=True)) for who in names]


def main(asked: Sequence[Task], who: Sequence[str], together: bool, stem: str) -> None:
    """Trains, measures, and writes the table."""
    first = asked[0]
    _, real = split(first)
    network = evaluate.extractor()
    features = torch.cat(list(evaluate.extract(network, real.split(BATCH))))
    name, count = Path(first.data).name, first.count
    shared = f"; at the same time, {torch.get_num_threads() // len(who)} thread each" if together else ""
    lines = [
        "# Quality after minutes of training",
        "",
        f"`python benchmarks/quality.py OUT --data {name}{' --together' if together else ''}"
        f" {' '.join(first.changes)}`".replace(" `", "`"),
        "",
        f"{described()}{shared}; {name}, {len(real)} held-out pictures of 32x32, {count} samples; {network.name}",
        "",
        "| | minutes | steps of sampling | parameters | training, img/s | sampling, img/s | KID x 1000 |",
        "|---|---|---|---|---|---|---|",
    ]
    curves: dict[str, list[float]] = {}
    for task in asked:
        for who_, trained in zip(who, train_all(who, task, together), strict=True):
            for steps, x in trained.samples.items():
                found = evaluate.kernel_distance(torch.cat(list(evaluate.extract(network, x.split(BATCH)))), features)
                rate = f"{trained.rate:.1f}" if not steps else ""
                kid = f"{1000 * found.value:.0f} ± {1000 * found.error:.0f}"
                size, speed = f"{trained.parameters / 1e6:.1f} M", f"{trained.images:.0f}"
                lines.append(f"| {who_} | {task.minutes:g} | {steps or 'own'} | {size} | {speed} | {rate} | {kid} |")
                print(lines[-1], flush=True)
                if not steps:
                    curves.setdefault(who_, []).append(1000 * found.value)
                    grid = pixels.grid(x[:SHOWN], COLUMNS)
                    grid.convert("RGB").save(RESULTS / f"{stem}-{who_}-{task.minutes:g}.png")
    RESULTS.joinpath(f"{stem}.md").write_text("\n".join(lines) + "\n")
    chart = plots.Chart(
        title=f"Kernel distance to held-out {name}",
        lines=[plots.Line(name=who_, x=[task.minutes for task in asked], y=y) for who_, y in curves.items()],
        x_label="minutes of training",
        y_label="KID x 1000",
        log_y=True,
    )
    chart.picture().save(RESULTS / f"{stem}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--data", default="openmoji", help="as of carrara train")
    parser.add_argument("--who", type=lambda text: text.split(","), default=list(CONTENDERS))
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=lambda text: [float(part) for part in text.split(",")], default=[5.0, 20.0])
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--steps", type=numbers, default=[10, 100], help="of sampling, for ours")
    parser.add_argument("--together", action="store_true", help="at the same time, each on its share of the threads")
    parser.add_argument("--name", default="quality", help="of the table and the pictures")
    given = parser.parse_intermixed_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tasks = [
        Task(
            out=given.out,
            data=given.data,
            minutes=minutes,
            count=given.samples,
            steps=given.steps,
            changes=given.changes,
        )
        for minutes in given.minutes
    ]
    if given.one:
        keep_freed()
        (task,) = tasks
        trained = CONTENDERS[given.one](replace(task, out=given.out / f"{given.one}-{task.minutes:g}"))
        torch.save(vars(trained), file_of(given.out, given.one, task.minutes))
    else:
        main(tasks, given.who, given.together, given.name)
