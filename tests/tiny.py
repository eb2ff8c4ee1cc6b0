"""What makes a run small enough for a test."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from carrara.files import sealed

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


def awaken(run: Path) -> None:
    """Changes a run's weights so that its network, which trained for no time, answers to all that it is told."""
    for path in (run / "model").glob("*.safetensors"):
        weights, noise = load_file(path), torch.Generator().manual_seed(0)
        for value in weights.values():
            if value.is_floating_point():
                value += 0.05 * torch.randn(value.shape, generator=noise)
        save_file(weights, path)
    sealed.seal(run / "model")
