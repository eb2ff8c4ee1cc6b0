"""What the numbers were measured on."""

import torch

from carrara.task import machine


def described() -> str:
    """Processor, threads and versions, in a line."""
    return machine(torch.device("cpu"))
