"""What a network is told: labels, vectors, nothing."""

from carrara.conditioning.base import Conditioner, Unconditional
from carrara.conditioning.vectors import (
    AnyConditioner,
    Labels,
    LabelsConfig,
    UnconditionalConfig,
    Vectors,
    VectorsConfig,
)

__all__ = [
    "AnyConditioner",
    "Conditioner",
    "Labels",
    "LabelsConfig",
    "Unconditional",
    "UnconditionalConfig",
    "Vectors",
    "VectorsConfig",
]
