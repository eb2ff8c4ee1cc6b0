"""What a network is told: labels, vectors, text, nothing; and what it sees beside its input."""

from carrara.conditioning.base import Conditioner, ConditionerConfig, Unconditional
from carrara.conditioning.clip import ClipEncoder, ClipEncoderConfig, ClipText, ClipTextConfig
from carrara.conditioning.images import AnyImageCondition, ImageCondition, LayoutMap, Lowres, Masked
from carrara.conditioning.joined import Part, joined
from carrara.conditioning.text import (
    EncodedText,
    EncodedTextConfig,
    LearnedText,
    LearnedTextConfig,
    PooledText,
    TextConditioner,
)
from carrara.conditioning.vectors import (
    Labels,
    LabelsConfig,
    UnconditionalConfig,
    Vectors,
    VectorsConfig,
)

AnyConditioner = (
    UnconditionalConfig | LabelsConfig | VectorsConfig | EncodedTextConfig | LearnedTextConfig | ClipTextConfig
)
"""The tagged union that recipes and saved models hold."""

__all__ = [
    "AnyConditioner",
    "AnyImageCondition",
    "ClipEncoder",
    "ClipEncoderConfig",
    "ClipText",
    "ClipTextConfig",
    "Conditioner",
    "ConditionerConfig",
    "EncodedText",
    "EncodedTextConfig",
    "ImageCondition",
    "Labels",
    "LabelsConfig",
    "LayoutMap",
    "LearnedText",
    "LearnedTextConfig",
    "Lowres",
    "Masked",
    "Part",
    "PooledText",
    "TextConditioner",
    "Unconditional",
    "UnconditionalConfig",
    "Vectors",
    "VectorsConfig",
    "joined",
]
