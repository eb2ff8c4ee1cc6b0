"""What the matrix products are computed in.

Weights, optimizer and averages are float32 always; ``bfloat16`` is torch's autocast around the loss. It has float32's
range, so no loss scaling exists here. ``auto`` takes it where the hardware multiplies in it: a CPU with AVX512-BF16 or
AMX, a GPU that says so. Elsewhere bfloat16 is emulated, and slower than float32.
"""

import os
from time import perf_counter

import torch
import torch.nn.functional as F

from carrara.train.settings import Precision

HELD = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Variables of the environment that hold convolutions to an older processor's instructions."""
_WITHOUT = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}


def matmul_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """``torch.bfloat16`` or ``torch.float32``: what ``precision`` means on ``device``."""
    fast = precision == "bfloat16" or (precision == "auto" and _multiplies_bfloat16(device))
    return torch.bfloat16 if fast else torch.float32


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context for a loss, a validation or a preview on ``device``."""
    enabled = matmul_dtype(precision, device) is torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def emulation(precision: Precision, device: torch.device) -> str:
    """What it costs that bfloat16 was asked for where a CPU does not multiply in it, as a sentence; or ""."""
    if precision != "bfloat16" or device.type != "cpu" or _multiplies_bfloat16(device):
        return ""
    ratio = _seconds(torch.bfloat16) / _seconds(torch.float32)
    return (
        f"this processor does not multiply in bfloat16, it is emulated: a convolution takes {ratio:.0f} times as long "
        "as in float32, which train.precision=auto takes"
    )


def _seconds(dtype: torch.dtype) -> float:
    """Of a convolution, the second time."""
    x, kernel = torch.ones(4, 64, 16, 16, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
    F.conv2d(x, kernel, padding=1)
    begun = perf_counter()
    F.conv2d(x, kernel, padding=1)
    return perf_counter() - begun


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or any(os.environ.get(name, "").upper() in _WITHOUT for name in HELD):
        return False
    queries = (
        "_is_avx512_bf16_supported",
        "_is_amx_tile_supported",
    )  # torch >= 2.6; absent means unknown: float32
    return any(getattr(torch.cpu, query, bool)() for query in queries)
