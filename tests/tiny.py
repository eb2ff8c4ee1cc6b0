"""What makes a run small enough for a test."""

from collections.abc import Callable

Command = Callable[..., tuple[int, str]]

TINY = (
    "data.size=8",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [1], head_width: 8}",
    "train.batch=4",
    "train.precision=float32",
    "preview.every=2",
    "preview.count=4",
    "preview.held_out=4",
    "sample.steps=2",
)
"""A network that trains in no time, for presets with a U-Net."""
