"""Models that come with the package, by name: ``carrara sample NAME`` finds those in the package's ``models/``.

A model's folder here is as any other's, but its matrices and kernels are bfloat16 in the files. Or it holds an adapter
alone, of another model that ships.
"""

from dataclasses import replace
from pathlib import Path

import torch

from carrara.distilled import DistilledDecoder
from carrara.errors import UserError
from carrara.files import make_folder, sealed, write_bytes
from carrara.files.writing import explained
from carrara.lora import read_adapter, write_adapter
from carrara.model import Model, read_config
from carrara.nn.low_rank import Factors
from carrara.saved import CONFIG, config_json
from carrara.store.runs import TINY, first_stage_digest, newest, open_model, read_saved, run_of, shipped


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
    _check_new(folder)
    open_model(run).save(folder, matrices=torch.bfloat16)
    small = open_model(folder)
    if (run / TINY / "model").is_dir():
        decoder = read_saved(run / TINY / "model", DistilledDecoder)
        own = DistilledDecoder(replace(decoder.config, teacher=first_stage_digest(small)), decoder.about)
        own.load_state_dict(decoder.state_dict())
        own.save(folder / TINY / "model", matrices=torch.bfloat16)
    return open_model(folder)


def ship_beside(run: Path, base: str, folder: Path) -> Model:
    """Writes the adapter that a run has learned beside a model that ships, as small files, which are a model of their
    own by the other's weights. Returns it as it was written.

    Args:
        base: the name of the model that ships.

    Raises:
        UserError: there is no such run, or it has no adapter, or ``folder`` has something in it.
    """
    _check_new(folder)
    source = newest(run)
    config, about = read_config(source)
    halves = {
        name: Factors(down=one.down.half(), up=one.up.half(), scale=one.scale)
        for name, one in read_adapter(source).items()
    }
    with explained(folder):
        make_folder(folder)
        files = write_adapter(folder, halves, base)
        write_bytes(folder / CONFIG, config_json(config, {**about, "beside": base}))
        sealed.seal(folder, [*files, CONFIG])
    return open_model(folder)


def _check_new(folder: Path) -> None:
    """Refuses a folder that has something in it."""
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty: name a new folder")
