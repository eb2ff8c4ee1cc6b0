"""What the matrix products are computed in.

Weights, optimizer and averages are float32 always; ``bfloat16`` is torch's autocast around the loss. It has float32's
range, so no loss scaling exists here. ``auto`` takes it where the hardware multiplies in it: a CPU with AVX512-BF16 or
AMX, a GPU that says so. Elsewhere bfloat16 is emulated, and slower than float32.
"""

import torch

from carrara.train.settings import Precision


def matmul_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """``torch.bfloat16`` or ``torch.float32``: what ``precision`` means on ``device``."""
    fast = precision == "bfloat16" or (precision == "auto" and _multiplies_bfloat16(device))
    return torch.bfloat16 if fast else torch.float32


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context for a loss, a validation or a preview on ``device``."""
    enabled = matmul_dtype(precision, device) is torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    queries = (
        "_is_avx512_bf16_supported",
        "_is_amx_tile_supported",
    )  # torch >= 2.6; absent means unknown: float32
    return device.type == "cpu" and any(getattr(torch.cpu, query, bool)() for query in queries)
