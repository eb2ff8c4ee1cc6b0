"""How fast is the network of DDPM for CIFAR-10 (35.7 M parameters) here, and in other libraries?

    python benchmarks/peers.py [--network ddpm-cifar] [--rounds 15] [--batch 16] [--only A B] [--name peers]

A training step is what each library's own loop does with a batch that is in memory: loss, backward, clipping, AdamW,
moving average. The forward pass is one evaluation of the network without gradients, ours in the form in which it is
sampled. Contenders are processes of their own, so that threads and memory are each one's own, and take turns, A B C
A B C ..., one of them at work at a time. A ratio is the median over the turns of the peer's time by ours in that turn.

diffusers is trained as its unconditional example does it, with the network's default of 8-wide heads; and with 64-wide
heads in float32 and in bfloat16. Neither has dropout, so all leave out DDPM's. Where a processor does not multiply in
bfloat16, ``--only "carrara, float32" ...`` compares those that do not either. azula has no loop of its own: its ADM
network learns DDPM's loss with torch's AdamW and averaging. denoising-diffusion-pytorch has another network, of as many
parameters by chance and far fewer operations: 64 to 512 channels in four levels. These two get environments in
benchmarks/.peers, which see this one's torch. On a GPU, our network and diffusers' are there once more, compiled by
torch.

``--network sd-v1`` is the forward pass alone of the U-Net of Stable Diffusion v1 (859.5 M), for 64x64 latents and 77
tokens.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

from contenders import COMPILED, ELSEWHERE, NETWORKS
from environment import environment

HERE = Path(__file__).parent
WARM = 2
WORKS = {"train": "training step", "forward": "forward"}


def serve(network: str, name: str, batch: int) -> None:
    """A contender's process: for each line that says what to do, one repetition; answers with seconds and memory."""
    from carrara.device import default_device
    from carrara.measure.timing import flops_of, peak_memory, seconds_of

    device, contender = default_device(), NETWORKS[network][name](batch)
    flops = 0 if name.endswith(COMPILED) else flops_of(contender.works["forward"]) / batch
    about = {"parameters": contender.parameters, "works": list(contender.works), "flops": flops}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        seconds = seconds_of(contender.works[line.strip()], device)
        print(json.dumps({"seconds": seconds, "memory": peak_memory(device)}), flush=True)


class Served:
    """A contender in a process of its own."""

    def __init__(self, network: str, name: str, batch: int, python: Path) -> None:
        command = [str(python), __file__, "--network", network, "--serve", name, "--batch", str(batch)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        about = self._answer()
        self.name, self.parameters, self.flops, self.memory = name, int(about["parameters"]), about["flops"], 0
        self.milliseconds: dict[str, list[float]] = {name: [] for name in about["works"]}

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

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"its process ended with {self._process.wait()}")
        return json.loads(line)


def usual(network: str) -> list[str]:
    """Everybody; without a GPU nobody who is compiled, which wins nothing there and takes minutes."""
    from carrara.device import default_device

    return [name for name in NETWORKS[network] if default_device().type != "cpu" or not name.endswith(COMPILED)]


def started(network: str, names: list[str], batch: int) -> Iterator[Served]:
    """Starts those contenders that can be."""
    for name in names:
        python = Path(sys.executable)
        if name in ELSEWHERE and (python := environment(*ELSEWHERE[name])) is None:
            continue
        try:
            yield Served(network, name, batch, python)
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)


def race(contenders: list[Served], rounds: int, batch: int) -> None:
    """Lets them take turns, after rounds that do not count."""
    for k in range(WARM + rounds):
        for what in contenders[0].milliseconds:
            for contender in contenders:
                seconds = contender.do(what)
                if k >= WARM:
                    contender.milliseconds[what].append(1e3 * seconds / batch)
        print(f"round {k + 1} of {WARM + rounds}", file=sys.stderr)


def table(contenders: list[Served]) -> Iterator[str]:
    """Rows of Markdown: medians with quartiles, and the median of the ratios turn by turn."""
    heads = [f"{WORKS[what]}, ms/image | by ours" for what in contenders[0].milliseconds]
    yield "| " + " | ".join(["", "parameters", "forward, GFLOP/image", *heads, "peak memory"]).lstrip() + " |"
    yield "|---|---|---|" + "---|---|" * len(heads) + "---|"
    for contender in contenders:
        work = f"{contender.flops / 1e9:.1f}" if contender.flops else "as before"
        cells = [contender.name, f"{contender.parameters:,}", work]
        for what, own in contenders[0].milliseconds.items():
            theirs = contender.milliseconds[what]
            ratios = [their / our for their, our in zip(theirs, own, strict=True)]
            cells += [middle(theirs, 1), "1" if contender is contenders[0] else middle(ratios, 2)]
        yield "| " + " | ".join([*cells, f"{contender.memory / 2**30:.2f} GiB"]) + " |"


def middle(values: list[float], digits: int) -> str:
    """The median and, in brackets, the quartiles."""
    low, median, high = (f"{value:.{digits}f}" for value in quantiles(values, n=4, method="inclusive"))
    return f"{median} ({low} to {high})"


def main(network: str, rounds: int, batch: int, names: list[str], out: Path, stem: str) -> None:
    """Writes the table and the chart."""
    from machine import described

    from carrara.plots import Chart, Line

    contenders = list(started(network, names, batch))
    try:
        race(contenders, rounds, batch)
    finally:
        for contender in contenders:
            with suppress(OSError):
                contender.end()
    only = "" if names == usual(network) else " --only " + " ".join(f'"{name}"' for name in names)
    command = f"`python benchmarks/peers.py --network {network} --rounds {rounds} --batch {batch}{only}`"
    text = [
        f"# {(__doc__ or '').splitlines()[0]}",
        "",
        command,
        "",
        f"{described()}; 1-minute load {os.getloadavg()[0]:.1f}",
    ]
    text += ["", *table(contenders), "", "Medians of turns, with quartiles; `by ours` is the peer's time over ours. "]
    text[-1] += "Operations are counted as they are done."
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{stem}.md").write_text("\n".join(text) + "\n")
    first = next(iter(contenders[0].milliseconds))
    lines = [Line(name=c.name, x=range(1, rounds + 1), y=c.milliseconds[first]) for c in contenders]
    chart = Chart(title=f"{network}: {WORKS[first]}", lines=lines, x_label="turn", y_label="ms per image")
    chart.picture().save(out / f"{stem}.png")
    print("\n".join(text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--network", choices=NETWORKS, default="ddpm-cifar")
    parser.add_argument("--only", nargs="+", help="these alone; ours first")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--name", help="of the table; peers, or peers-NETWORK")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.network, given.serve, given.batch)
    else:
        stem = given.name or ("peers" if given.network == "ddpm-cifar" else f"peers-{given.network}")
        main(given.network, given.rounds, given.batch, given.only or usual(given.network), given.out, stem)
