"""Reading the model of a run's folder."""

from pathlib import Path

from safetensors.torch import load_file

from carrara.errors import UserError
from carrara.model import DiffusionModel, read_config
from carrara.train import checkpoint


def open_model(path: Path) -> DiffusionModel:
    """Loads the model of a run's folder, of one of its checkpoints, or of a model's own folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    if not path.is_dir():
        raise UserError(f"there is no run '{path}': 'carrara train' makes one, and says where")
    if (path / "model" / "config.json").is_file():
        return DiffusionModel.load(path / "model")
    if (path / "ema.safetensors").is_file():
        return _from_checkpoint(path)
    if (path / "config.json").is_file():
        return DiffusionModel.load(path)
    newest, _ = checkpoint.latest(path / "checkpoints")
    if newest is None:
        raise UserError(f"'{path}' holds no run: there is neither model/ nor a checkpoint in it")
    return _from_checkpoint(newest)


def _from_checkpoint(path: Path) -> DiffusionModel:
    config, about = read_config(path)
    model = DiffusionModel(config, {**about, "step": int(path.name.rpartition("-")[2])})
    model.load_state_dict(load_file(path / "ema.safetensors"))
    return model.eval()
