"""Reading the model of a run's folder."""

from pathlib import Path

from safetensors.torch import load_file

from carrara.errors import UserError
from carrara.model import DiffusionModel, read_config
from carrara.train import checkpoint


def open_model(path: Path) -> DiffusionModel:
    """Loads the model of a run's folder, of one of its checkpoints, or of a model's own folder.

    A run that went on after its model was finished gives the newest checkpoint's, which is newer.

    Raises:
        UserError: there is none, or it is damaged.
    """
    if not path.is_dir():
        raise UserError(f"there is no run '{path}': 'carrara train' makes one, and says where")
    if (path / "ema.safetensors").is_file():
        return _from_checkpoint(path)
    if (path / "config.json").is_file():
        return DiffusionModel.load(path)
    newest, _ = checkpoint.latest(path / "checkpoints")
    finished = path / "model"
    if (finished / "config.json").is_file() and (newest is None or _step(finished) >= _checkpoint_step(newest)):
        return DiffusionModel.load(finished)
    if newest is None:
        raise UserError(f"'{path}' holds no run: there is neither model/ nor a checkpoint in it")
    return _from_checkpoint(newest)


def _step(folder: Path) -> int:
    """The step at which a finished model was written."""
    return int(read_config(folder)[1].get("step", 0))


def _checkpoint_step(folder: Path) -> int:
    """N of ``step-N``."""
    return int(folder.name.rpartition("-")[2])


def _from_checkpoint(path: Path) -> DiffusionModel:
    config, about = read_config(path)
    model = DiffusionModel(config, {**about, "step": _checkpoint_step(path)})
    model.load_state_dict(load_file(path / "ema.safetensors"))
    return model.eval()
