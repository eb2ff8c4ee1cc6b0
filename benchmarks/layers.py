"""Where layers depart from torch's own way of computing the same: both ways side by side, forward and backward.

    python benchmarks/layers.py          writes benchmarks/results/layers.md; half a minute on two cores

Attention: ``carrara.nn.attention.attend`` against torch's scaled dot-product attention. Doubling:
``carrara.nn.Upsample`` against repeating pixels and convolving. The ways take turns, and medians are reported.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import machine
import torch
import torch.nn.functional as F
from torch import Tensor

from carrara.memory import keep_freed
from carrara.nn import Upsample
from carrara.nn.attention import attend

REPEATS = 9
ATTENTION = ((16, 4, 64, 64), (16, 4, 256, 64), (16, 1, 256, 256), (4, 4, 1024, 64), (1, 4, 4096, 64))
MAPS = ((16, 256, 16), (16, 256, 8), (16, 256, 4), (16, 64, 16), (1, 128, 64))


def paired(ours: Callable[[], Tensor], torchs: Callable[[], Tensor]) -> tuple[float, float]:
    """Medians of both in milliseconds, forward and backward."""
    times: dict[Callable[[], Tensor], list[float]] = {ours: [], torchs: []}
    for _ in range(REPEATS):
        for way, taken in times.items():
            started = perf_counter()
            way().sum().backward()
            taken.append(1e3 * (perf_counter() - started))
    return median(times[ours][2:]), median(times[torchs][2:])


def attention(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[float, float]:
    q, k, v = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3))
    return paired(lambda: attend(q, k, v), lambda: F.scaled_dot_product_attention(q, k, v))


def doubling(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[float, float]:
    count, channels, side = shape
    layer, size = Upsample(channels).to(dtype), (2 * side, 2 * side)
    x = torch.randn(count, channels, side, side, dtype=dtype, requires_grad=True)
    return paired(lambda: layer(x, size), lambda: layer.conv(F.interpolate(x, size=size, mode="nearest")))


def main() -> None:
    keep_freed()
    lines = [
        "# Layers that are computed another way than torch's",
        "",
        machine.described(),
        "",
        f"Forward and backward, medians of {REPEATS - 2} turns after two to warm up.",
        "",
        "| layer | shape | numbers | ours, ms | torch's way, ms | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for dtype in (torch.bfloat16, torch.float32):
        for name, way, shapes in (("attention", attention, ATTENTION), ("doubling", doubling, MAPS)):
            for shape in shapes:
                ours, others = way(shape, dtype)
                numbers = str(dtype).removeprefix("torch.")
                lines.append(f"| {name} | {shape} | {numbers} | {ours:.2f} | {others:.2f} | {others / ours:.2f} |")
                print(lines[-1], flush=True)
    (Path(__file__).parent / "results" / "layers.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
