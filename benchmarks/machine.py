"""What the numbers were measured on."""

import torch

from carrara.measure.timing import machine


def described() -> str:
    """Processor, threads and versions, in a line."""
    return machine(torch.device("cpu"))
