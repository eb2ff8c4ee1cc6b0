"""Models that come with the package, by name: ``carrara sample NAME`` finds those in the package's ``models/``.

A model's folder here is as any other's, but its matrices and kernels are bfloat16 in the files.
"""

from dataclasses import replace
from pathlib import Path

import torch

from carrara.distilled import DistilledDecoder
from carrara.errors import UserError
from carrara.model import Model
from carrara.store.runs import TINY, first_stage_digest, open_model, read_saved, run_of, shipped


def working_folder(path: Path) -> Path:
    """Where to write what is made with a model: its run's own folder, or for a shipped model one in ``runs``.

    Never into ``best/`` or a checkpoint, which training replaces.
    """
    if path.is_dir():
        return path if (path / "recipe.yaml").is_file() else run_of(path) or path
    return path if shipped(path) is None else Path("runs") / f"{path}-shipped"


def ship(run: Path, folder: Path) -> Model:
    """Writes a run's model, and its distilled decoder if there is one, as small files. Returns it as it was written.

    Raises:
        UserError: there is no such run, or ``folder`` has something in it.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty: name a new folder")
    open_model(run).save(folder, matrices=torch.bfloat16)
    small = open_model(folder)
    if (run / TINY / "model").is_dir():
        decoder = read_saved(run / TINY / "model", DistilledDecoder)
        own = DistilledDecoder(replace(decoder.config, teacher=first_stage_digest(small)), decoder.about)
        own.load_state_dict(decoder.state_dict())
        own.save(folder / TINY / "model", matrices=torch.bfloat16)
    return open_model(folder)
