"""How fast is the network of DDPM for CIFAR-10 (35.7 M parameters) here, and in other libraries?

    python benchmarks/peers.py [--rounds 15] [--batch 16] [--out benchmarks/results]

A training step is what each library's own loop does with a batch that is in memory: loss, backward, clipping, AdamW,
moving average. The forward pass is one evaluation of the network without gradients, ours in the form in which it is
sampled. Contenders are processes of their own, so that threads and memory are each one's own, and take turns, A B C
A B C ..., one of them at work at a time. A ratio is the median over the turns of the peer's time by ours in that turn.

diffusers is trained as its unconditional example does it, with the network's default of 8-wide heads; and once more in
bfloat16 with 64-wide heads. Neither has dropout, so all leave out DDPM's. azula has no loop of its own: its ADM
network learns DDPM's loss with torch's AdamW and averaging. denoising-diffusion-pytorch has another network, as large
by chance: 64 to 512 channels in four levels. These two get environments in benchmarks/.peers, which see this one's
torch.
"""

import argparse
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from environment import environment
from lucidrains import ENVIRONMENT, NAME, lucidrains

HERE = Path(__file__).parent
EDGE, WARM = 32, 2
OURS, AZULA = "carrara", "azula, ADM network, bfloat16, 64-wide heads"
LUCIDRAINS = f"{NAME}, a network of its own, bfloat16"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who takes part: what is trained, and what is evaluated; each call is one repetition."""

    parameters: int
    train: Callable[[], object]
    forward: Callable[[], object]


def carrara_(batch: int, precision: str) -> Contender:
    """The preset ``ddpm-cifar`` in the trainer of ``carrara train``."""
    from copy import deepcopy
    from itertools import repeat

    import torch

    from carrara.memory import keep_freed
    from carrara.nn import lowered
    from carrara.recipe import build, load
    from carrara.train import TrainState, autocast, train
    from carrara.train.precision import matmul_dtype
    from carrara.types import UNCONDITIONAL, Batch

    keep_freed()
    changes = ["model.backbone.dropout=0", f"train.batch={batch}", f"train.precision={precision}"]
    recipe = load("ddpm-cifar", changes)
    model, device = build.model(recipe), torch.device("cpu")
    state = TrainState(build.objective(recipe, model), recipe.train)
    x = torch.rand(batch, 3, EDGE, EDGE) * 2 - 1
    same = Batch(x=x, position=torch.arange(batch))
    reports = train(state, lambda _: repeat(same), recipe.train, seed=0)
    averaged, t = deepcopy(model).eval(), torch.rand(batch)
    dtype = matmul_dtype(recipe.train.precision, device)
    network = averaged.denoiser if dtype is torch.float32 else lowered(averaged.denoiser, dtype)

    def forward() -> None:
        with torch.no_grad(), autocast(recipe.train.precision, device):
            network(x, t, UNCONDITIONAL)

    return Contender(parameters=_count(model), train=lambda: next(reports), forward=forward)


def diffusers_(batch: int, heads: int, bfloat16: bool) -> Contender:
    """``UNet2DModel`` in the loop of diffusers' unconditional example."""
    import torch
    import torch.nn.functional as F

    warnings.simplefilter("ignore")
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    plain, attending = ("DownBlock2D", "UpBlock2D"), ("AttnDownBlock2D", "AttnUpBlock2D")
    levels = (plain, attending, plain, plain)
    network = UNet2DModel(
        sample_size=EDGE,
        block_out_channels=(128, 256, 256, 256),
        layers_per_block=2,
        down_block_types=tuple(level[0] for level in levels),
        up_block_types=tuple(level[1] for level in reversed(levels)),
        attention_head_dim=heads,
    )
    noising = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    rate = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=500, num_training_steps=100_000)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    x, t = torch.rand(batch, 3, EDGE, EDGE) * 2 - 1, torch.randint(0, 1000, (batch,))

    def answer(noisy: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return network(noisy, at).sample.float()

    def loss() -> torch.Tensor:
        noise, at = torch.randn(x.shape), torch.randint(0, 1000, (batch,))
        return F.mse_loss(answer(noising.add_noise(x, noise, at), at), noise)

    def follow() -> None:
        rate.step()
        average.step(network.parameters())

    return by_hand(network, optimizer, loss, follow, lambda: answer(x, t))


def azula_(batch: int) -> Contender:
    """azula's ADM network in the shape of DDPM's, in bfloat16."""
    import torch
    import torch.nn.functional as F
    from azula.plugins.adm import make_model
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    denoiser = make_model(
        learn_var=False,
        image_size=EDGE,
        num_channels=128,
        channel_mult=(1, 2, 2, 2),
        num_res_blocks=2,
        attention_resolutions=(16,),
        num_head_channels=64,
        dropout=0.0,
    )
    network = denoiser.backbone
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9999))
    x, t = torch.rand(batch, 3, EDGE, EDGE) * 2 - 1, torch.randint(0, 1000, (batch,))

    def answer(noisy: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return network(noisy, at).float()

    def loss() -> torch.Tensor:
        noise, at = torch.randn(x.shape), torch.randint(0, 1000, (batch,))
        alpha, sigma = (part[:, None, None, None] for part in denoiser.schedule(at / 1000))
        return F.mse_loss(answer(alpha * x + sigma * noise, at), noise)

    return by_hand(network, optimizer, loss, lambda: average.update_parameters(network), lambda: answer(x, t))


def lucidrains_(batch: int) -> Contender:
    """denoising-diffusion-pytorch's own network of 35.7 million parameters, in its trainer's loop."""
    import torch

    trainer = lucidrains(EDGE, (1, 2, 4, 8), 50)
    x, t = torch.rand(batch, 3, EDGE, EDGE), torch.randint(0, 1000, (batch,))
    return Contender(
        parameters=_count(trainer.diffusion.model), train=lambda: trainer.step(x), forward=lambda: trainer.answer(x, t)
    )


def by_hand(
    network: Any, optimizer: Any, loss: Callable[[], Any], follow: Callable[[], object], answer: Callable[[], object]
) -> Contender:
    """A contender whose loop is written here: a step of its optimizer, and what follows it."""
    import torch

    def train() -> None:
        network.train()
        value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        follow()
        value.item()

    def forward() -> None:
        network.eval()
        with torch.no_grad():
            answer()

    return Contender(parameters=_count(network), train=train, forward=forward)


CONTENDERS: dict[str, Callable[[int], Contender]] = {
    OURS: lambda batch: carrara_(batch, "auto"),
    "carrara, float32": lambda batch: carrara_(batch, "float32"),
    "diffusers as shipped (float32, 8-wide heads)": lambda batch: diffusers_(batch, 8, False),
    "diffusers, bfloat16, 64-wide heads": lambda batch: diffusers_(batch, 64, True),
    AZULA: azula_,
    LUCIDRAINS: lucidrains_,
}
ELSEWHERE = {AZULA: ("azula", "azula==0.11.1", ("einops", "gdown")), LUCIDRAINS: ENVIRONMENT}


def _count(network: Any) -> int:
    return sum(p.numel() for p in network.parameters())


def serve(name: str, batch: int) -> None:
    """A contender's process: for each line that says what to do, one repetition; answers with seconds and memory."""
    import torch

    from carrara.task import peak_memory, timed

    cpu = torch.device("cpu")
    contender = CONTENDERS[name](batch)
    works = {"train": contender.train, "forward": contender.forward}
    print(json.dumps({"parameters": contender.parameters}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"seconds": timed(works[line.strip()], cpu), "memory": peak_memory(cpu)}), flush=True)


class Served:
    """A contender in a process of its own."""

    def __init__(self, name: str, batch: int, python: Path) -> None:
        command = [str(python), __file__, "--serve", name, "--batch", str(batch)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.name, self.parameters, self.memory = name, int(self._answer()["parameters"]), 0
        self.milliseconds: dict[str, list[float]] = {"train": [], "forward": []}

    def do(self, what: str) -> float:
        """One repetition; its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.memory = int(answer["memory"])
        return answer["seconds"]

    def end(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"its process ended with {self._process.wait()}")
        return json.loads(line)


def started(names: list[str], batch: int) -> Iterator[Served]:
    """Starts those contenders that can be."""
    for name in names:
        python = Path(sys.executable)
        if name in ELSEWHERE and (python := environment(*ELSEWHERE[name])) is None:
            continue
        try:
            yield Served(name, batch, python)
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)


def race(contenders: list[Served], rounds: int, batch: int) -> None:
    """Lets them take turns, after rounds that do not count."""
    for k in range(WARM + rounds):
        for what in ("train", "forward"):
            for contender in contenders:
                seconds = contender.do(what)
                if k >= WARM:
                    contender.milliseconds[what].append(1e3 * seconds / batch)
        print(f"round {k + 1} of {WARM + rounds}", file=sys.stderr)


def table(contenders: list[Served]) -> Iterator[str]:
    """Rows of Markdown: medians with quartiles, and the median of the ratios turn by turn."""
    yield "| | parameters | training step, ms/image | by ours | forward, ms/image | by ours | peak memory |"
    yield "|---|---|---|---|---|---|---|"
    for contender in contenders:
        cells = [contender.name, f"{contender.parameters:,}"]
        for what, own in contenders[0].milliseconds.items():
            theirs = contender.milliseconds[what]
            ratios = [their / our for their, our in zip(theirs, own, strict=True)]
            cells += [middle(theirs, 1), "1" if contender is contenders[0] else middle(ratios, 2)]
        yield "| " + " | ".join([*cells, f"{contender.memory / 2**30:.2f} GiB"]) + " |"


def middle(values: list[float], digits: int) -> str:
    """The median and, in brackets, the quartiles."""
    low, median, high = (f"{value:.{digits}f}" for value in quantiles(values, n=4, method="inclusive"))
    return f"{median} ({low} to {high})"


def main(rounds: int, batch: int, names: list[str], out: Path) -> None:
    """Writes the table and the chart."""
    from machine import described

    from carrara.plots import Chart, Line

    contenders = list(started(names, batch))
    try:
        race(contenders, rounds, batch)
    finally:
        for contender in contenders:
            with suppress(OSError):
                contender.end()
    command = f"`python benchmarks/peers.py --rounds {rounds} --batch {batch}`"
    text = [
        f"# {(__doc__ or '').splitlines()[0]}",
        "",
        command,
        "",
        f"{described()}; 1-minute load {os.getloadavg()[0]:.1f}",
    ]
    text += ["", *table(contenders), "", "Medians of turns, with quartiles; `by ours` is the peer's time over ours."]
    out.mkdir(parents=True, exist_ok=True)
    (out / "peers.md").write_text("\n".join(text) + "\n")
    lines = [Line(name=c.name, x=range(1, rounds + 1), y=c.milliseconds["train"]) for c in contenders]
    chart = Chart(
        title="Training the network of DDPM for CIFAR-10", lines=lines, x_label="turn", y_label="ms per image"
    )
    chart.picture().save(out / "peers.png")
    print("\n".join(text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="these alone; ours first"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--serve", choices=CONTENDERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.batch)
    else:
        main(given.rounds, given.batch, given.only, given.out)
