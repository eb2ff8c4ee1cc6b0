r"""How long things take on this machine, and what this machine can do.

The time of a piece of work is the median over repetitions that take turns with the others': A B C A B C ..., so that
whatever slows the machine for a while slows all of them. Work that multiplies matrices is compared with two that do
nothing else, measured in the same turns and precision: the rate of a work of F operations in t seconds is

.. math:: \rho = F / t, \quad \text{and it reaches the part } \rho / \rho_{roof}                                   (1)

of what the machine reaches in a 3x3 convolution, or in a matrix product. Those have, with a multiplication and an
addition as two operations,

.. math:: F_{conv} = 2 \cdot 9 \, C^2 B H W, \quad F_{product} = 2 n^3.                                            (2)
"""

import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import carrara
from carrara.files import is_regular, read_text
from carrara.train.precision import HELD

WARM = 2
"""Repetitions before those that count: the first ones allocate, choose algorithms, compile."""
TRIALS = 3
"""Repetitions by which the best of several shapes is found."""


@dataclass(frozen=True, kw_only=True)
class Roofs:
    """The shapes of which the fastest is what a device can do: large enough to fill it, small enough to be quick.

    Attributes:
        pictures: B of equation (2).
        convolutions: C and H = W.
        products: n.
    """

    pictures: int
    convolutions: tuple[tuple[int, int], ...]
    products: tuple[int, ...]


ROOFS = {
    "cpu": Roofs(pictures=16, convolutions=((128, 32), (256, 16), (256, 32)), products=(1024, 2048)),
    "cuda": Roofs(pictures=64, convolutions=((256, 64), (512, 64), (1024, 32)), products=(4096, 8192)),
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something that can be timed.

    Attributes:
        name: what it is called in a table.
        do: one repetition.
        images: that a repetition deals with; 0 where it deals with none.
        flops: floating-point operations of a repetition; 0 where nothing is multiplied.
        about: more about it.
    """

    name: str
    do: Callable[[], object]
    images: int = 0
    flops: int = 0
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a work took.

    Attributes:
        name, images, flops, about: the work's.
        low, median, high: seconds of a repetition; a quarter were below ``low``, and one above ``high``.
    """

    name: str
    images: int
    flops: int
    about: str
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, work: Work, seconds: Sequence[float]) -> "Timing":
        """From all repetitions, two or more."""
        low, median, high = quantiles(seconds, n=4, method="inclusive")
        return cls(
            name=work.name,
            images=work.images,
            flops=work.flops,
            about=work.about,
            low=low,
            median=median,
            high=high,
        )

    @property
    def rate(self) -> float:
        """rho of equation (1), operations a second."""
        return self.flops / self.median

    @property
    def spread(self) -> float:
        """How far the middle half of the repetitions lie apart, as a part of the median."""
        return (self.high - self.low) / self.median

    @property
    def speed(self) -> float:
        """Images a second."""
        return self.images / self.median


def time_in_turns(works: Sequence[Work], rounds: int, device: torch.device) -> list[Timing]:
    """Times works in turns, after ``WARM`` rounds that do not count.

    Args:
        rounds: how often each is repeated, 2 or more.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for k in range(WARM + rounds):
        for times, work in zip(seconds, works, strict=True):
            taken = seconds_of(work.do, device)
            if k >= WARM:
                times.append(taken)
    return [Timing.of(work, times) for work, times in zip(works, seconds, strict=True)]


def seconds_until_clear(works: Sequence[Work], rounds: int, clear: float, device: torch.device) -> dict[str, float]:
    """The median seconds of works that take turns, by their names, after a round that does not count.

    A work that takes ``clear`` times as long as the fastest one, twice in a row, drops out; and where one is left, no
    other round is begun.
    """
    seconds: dict[str, list[float]] = {work.name: [] for work in works}
    left, behind = list(works), set[str]()
    for _ in range(1 + rounds):
        for work in left:
            seconds[work.name].append(seconds_of(work.do, device))
        last = {work.name: seconds[work.name][-1] for work in left}
        before, behind = behind, {name for name, took in last.items() if took > clear * min(last.values())}
        left = [work for work in left if work.name not in before & behind]
        if len(left) == 1:
            break
    return {name: median(times[1:]) for name, times in seconds.items()}


def seconds_of(do: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done what ``do`` asked it to."""
    _wait(device)
    begun = perf_counter()
    do()
    _wait(device)
    return perf_counter() - begun


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def roofline(device: torch.device, dtype: torch.dtype) -> tuple[Work, Work]:
    """The fastest 3x3 convolution and the fastest matrix product of ``ROOFS``, to be timed beside other works."""
    roofs = ROOFS[device.type]
    convolutions = [
        _convolution((roofs.pictures, channels, edge, edge), layout, device, dtype)
        for (channels, edge), layout in product(roofs.convolutions, (torch.contiguous_format, torch.channels_last))
    ]
    products = [_product(n, device, dtype) for n in roofs.products]
    return _fastest(convolutions, device), _fastest(products, device)


def _convolution(
    shape: tuple[int, int, int, int], layout: torch.memory_format, device: torch.device, dtype: torch.dtype
) -> Work:
    pictures, channels, height, width = shape
    x = _numbers(shape, device, dtype).contiguous(memory_format=layout)
    kernel = _numbers((channels, channels, 3, 3), device, dtype).contiguous(memory_format=layout)

    def do() -> object:
        with torch.no_grad():
            return F.conv2d(x, kernel, padding=1)

    named = "channels last" if layout is torch.channels_last else "channels first"
    flops = 2 * 9 * channels**2 * pictures * height * width
    return Work(name="3x3 convolution", do=do, flops=flops, about=f"{channels} wide at {height}x{width}, {named}")


def _product(n: int, device: torch.device, dtype: torch.dtype) -> Work:
    a = _numbers((n, n), device, dtype)
    return Work(name="matrix product", do=lambda: a @ a, flops=2 * n**3, about=f"{n}x{n}")


def _numbers(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Different ones: a processor that multiplies equal ones is cooler, and faster, than at work."""
    return torch.linspace(-1, 1, math.prod(shape), device=device).to(dtype).reshape(shape)


def _fastest(works: Sequence[Work], device: torch.device) -> Work:
    rates = [timing.rate for timing in time_in_turns(works, TRIALS, device)]
    return works[rates.index(max(rates))]


def flops_of(do: Callable[[], object]) -> int:
    """Floating-point operations of a piece of work, which is done once: convolutions, matrix products and attention.

    What a backward pass multiplies counts as it is done.
    """
    with FlopCounterMode(display=False, custom_mapping=_ON_CPU | _of_kernels()) as counter:
        do()
    return counter.get_total_flops()


def _attention(query: torch.Size, key: torch.Size, *_: Any, **__: Any) -> int:
    """Two products, of queries with keys and of weights with values; all (B, heads, L or S, D)."""
    return 4 * query.numel() * key[2]


def _attention_backward(_: torch.Size, query: torch.Size, key: torch.Size, *__: Any, **___: Any) -> int:
    """Five, of which the first is done again."""
    return 10 * query.numel() * key[2]


def _of_kernels() -> dict[Any, Any]:
    """Winograd's products of our kernels, where these are loaded: 36 for a tile of 4x4 (``nn.winograd``)."""
    known = {"winograd": _winograd, "winograd_kernel_gradient": _winograd_gradient}
    return {getattr(torch.ops.carrara, name): of for name, of in known.items() if hasattr(torch.ops.carrara, name)}


def _winograd(x: torch.Size, kernel: torch.Size, *_: Any, **__: Any) -> int:
    """Of (B, C, H, W) with kernels (O, C, 3, 3), or turned, of (B, O, H, W)."""
    return 72 * x[0] * -(-x[2] // 4) * -(-x[3] // 4) * kernel[0] * kernel[1]


def _winograd_gradient(x: torch.Size, gradient: torch.Size, *_: Any, **__: Any) -> int:
    """Of (B, C, H, W) with (B, O, H, W)."""
    return 72 * x[0] * -(-x[2] // 4) * -(-x[3] // 4) * x[1] * gradient[1]


_ON_CPU: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,  # pyright: ignore[reportPrivateUsage]
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,  # pyright: ignore[reportPrivateUsage]
}
"""Attention, which torch's counter knows on GPUs alone."""


def peak_memory(device: torch.device) -> int:
    """The most bytes so far: of the device's memory, or of this process where the device is the CPU; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine(device: torch.device) -> str:
    """Processor and what it can do, threads and versions, in a line."""
    threads = f"{torch.get_num_threads()} of {os.cpu_count()} threads"
    versions = f"torch {torch.__version__}, Carrara {carrara.__version__}"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {threads}, {versions}"
    info = Path("/proc/cpuinfo")
    held = [f"held to {name}={os.environ[name]}" for name in (*HELD, "ATEN_CPU_CAPABILITY") if os.environ.get(name)]
    return ", ".join([processor(read_text(info) if is_regular(info) else ""), *held, threads, versions])


_FEATURES = {"avx2": "AVX2", "avx512f": "AVX512", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}
"""What the speed of a processor depends on, by Linux' names of it."""


def processor(info: str) -> str:
    """A processor's name and features, of what Linux says of it; the name alone elsewhere."""
    said = dict[str, str]()
    for line in info.splitlines():
        key, _, value = line.partition(":")
        said.setdefault(key.strip(), value.strip())
    name = said.get("model name") or platform.processor() or platform.machine()
    flags = set(said.get("flags", "").split())
    features = [feature for flag, feature in _FEATURES.items() if flag in flags]
    return f"{name} ({', '.join(features)})" if features else name
