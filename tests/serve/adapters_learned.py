"""Runs that have learned adapters, without a training: a base with factors of random numbers beside it."""

from dataclasses import replace
from pathlib import Path

import torch

from carrara.model import DiffusionModel
from carrara.nn.low_rank import adapted
from carrara.seeds import torch_generator
from carrara.store import open_model
from small_models import PIXELS, saved

LAYERS = ("conv1", "emb")
BASES = (("base", "pixels", 0), ("twin", "pixels", 7))
NAMES = ("watercolour", "pencil", "waves")


def learned(base: Path, folder: Path, seed: int = 1) -> Path:
    """The folder of a run with an adapter that is for the network of ``base``, and began with it."""
    model = open_model(base)
    assert isinstance(model, DiffusionModel)
    with torch_generator(seed):
        adapted(model.denoiser.backbone, LAYERS, 2, 3.0)
        with torch.no_grad():
            for name, own in model.denoiser.named_parameters():
                if name.endswith(".up"):
                    own.copy_(0.3 * torch.randn(own.shape))
    model.save(folder / "model", start=base.name, step=1)
    return folder


def family(folder: Path) -> tuple[Path, ...]:
    """A base, its twin of the same network and one of another; what was learned beside each, in this order."""
    bases = [saved(kind, folder / name, seed) for name, kind, seed in BASES]
    wide = DiffusionModel(replace(PIXELS, backbone=replace(PIXELS.backbone, channels=16)))
    wide.save(folder / "wide")
    bases.append(folder / "wide")
    return (*bases, *(learned(base, folder / name, k) for k, (base, name) in enumerate(zip(bases, NAMES, strict=True))))
