"""3x3 convolutions in float32: Winograd's, in kernels of our own, against torch's; time and error, with gradients.

    python benchmarks/convolutions.py [--rounds 9] [--threads N] [--name convolutions]

Writes benchmarks/results/convolutions.md; a minute on two cores. Ways take turns, and medians are reported. Errors are
against float64, as a part of the result's norm. A fast machine can be held to an older one's instructions:

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 CXXFLAGS=-march=haswell python benchmarks/convolutions.py
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import machine
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.measure.timing import Work, time_in_turns
from carrara.memory import keep_freed
from carrara.nn import native, winograd

SIZES = (
    (16, 128, 32, 128),
    (16, 384, 32, 128),
    (16, 256, 16, 256),
    (16, 512, 16, 256),
    (16, 256, 8, 256),
    (16, 512, 4, 256),
    (4, 256, 8, 256),
    (16, 64, 32, 64),
    (32, 32, 32, 32),
    (32, 128, 8, 128),
    (32, 32, 16, 32),
    (1, 320, 64, 320),
)
"""B, C, H = W, O; the first six are DDPM's network for CIFAR-10."""
Gradients = tuple[Tensor, Tensor, Tensor]
Convolve = Callable[[Tensor, Tensor], Tensor]


def computed(way: Convolve, x: Tensor, kernel: Tensor, gradient: Tensor) -> Gradients:
    """The result, and the gradients of maps and kernel."""
    out = way(x, kernel)
    of_x, of_kernel = torch.autograd.grad(out, (x, kernel), gradient)
    return out.detach(), of_x, of_kernel


def by_torch(x: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x, kernel, padding=1)


def by_winograd(x: Tensor, kernel: Tensor) -> Tensor:
    return winograd.convolved(x, kernel, None)


def row(size: tuple[int, int, int, int], rounds: int) -> str:
    """A line of the table."""
    count, inp, edge, out = size
    draw = torch.Generator().manual_seed(0)
    shapes = (count, inp, edge, edge), (out, inp, 3, 3), (count, out, edge, edge)
    x, kernel, gradient = (torch.randn(shape, generator=draw) for shape in shapes)
    exact = computed(by_torch, x.double().requires_grad_(), kernel.double().requires_grad_(), gradient.double())
    x, kernel = x.requires_grad_(), kernel.requires_grad_()
    ways = {"torch": by_torch, "ours": by_winograd}
    works, errors = list[Work](), dict[str, float]()
    for name, way in ways.items():
        got = computed(way, x, kernel, gradient)
        errors[name] = max(((a - b).norm() / b.norm()).item() for a, b in zip(got, exact, strict=True))
        works.append(Work(name=name, do=lambda way=way: way(x.detach(), kernel.detach())))
        works.append(Work(name=name, do=lambda way=way: computed(way, x, kernel, gradient)))
    took = [1e3 * timing.median for timing in time_in_turns(works, rounds, torch.device("cpu"))]
    rate = 2e-6 * 9 * count * inp * out * edge**2 / took[0]
    forward, both = f"{took[0]:.1f} | {took[2]:.1f} | {took[0] / took[2]:.2f}", f"{took[1]:.1f} | {took[3]:.1f}"
    return (
        f"| {size} | {rate:.0f} | {forward} | {both} | {took[1] / took[3]:.2f} "
        f"| {errors['torch']:.1e} | {errors['ours']:.1e} |"
    )


def main(rounds: int, threads: int | None, name: str) -> None:
    """Writes the table."""
    if threads:
        torch.set_num_threads(threads)
    if why := native.missing():
        raise SystemExit(f"the kernels are not here: {why}")
    keep_freed()
    lines = [
        f"# {(__doc__ or '').splitlines()[0]}",
        "",
        f"`python benchmarks/convolutions.py --rounds {rounds}{f' --threads {threads}' if threads else ''}`",
        "",
        f"{machine.described()}; 1-minute load {os.getloadavg()[0]:.1f}",
        "",
        "| B, C, edge, O | torch, GFLOP/s | forward: torch, ms | ours | ratio "
        "| with gradients: torch, ms | ours | ratio | error: torch | ours |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size in SIZES:
        lines.append(row(size, rounds))
        print(lines[-1], flush=True)
    (Path(__file__).parent / "results" / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--name", default="convolutions")
    given = parser.parse_args()
    main(given.rounds, given.threads, given.name)
