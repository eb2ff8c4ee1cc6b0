"""What the numbers were measured on."""

import os
import platform
from pathlib import Path

import torch

import carrara


def described() -> str:
    """Processor, threads and versions, in a line."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{processor}, {torch.get_num_threads()} threads of {os.cpu_count()}, torch {torch.__version__}, "
        f"Carrara {carrara.__version__}"
    )
