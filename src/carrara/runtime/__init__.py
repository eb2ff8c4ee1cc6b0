"""Samples from an exported model with numpy and onnxruntime alone: ``carrara export RUN --to onnx --out FOLDER`` makes
the folder, and torch is not needed to draw from it.

``python -m carrara.runtime FOLDER --class 7 -n 4 --out x.png`` is the command; in Python it is

    from carrara.runtime import OnnxModel, Settings
    pictures = OnnxModel("FOLDER").sample(["7"] * 4, seeds=range(4), settings=Settings(steps=20))  # (4, H, W, C) uint8

The same seed is the same picture as in Carrara itself, up to rounding. Nothing here imports another part of Carrara but
``errors``.
"""

from carrara.runtime.card import Card
from carrara.runtime.model import OnnxModel, Settings

__all__ = ["Card", "OnnxModel", "Settings"]
