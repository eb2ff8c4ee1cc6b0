"""Autoguidance's weaker model: which one it was, and whether it fits.

Its estimates are compared with the better model's at the same x_t and t, so both must mean the same by them: the same
latents, the same schedule. Network, parameterization and training may differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carrara.errors import UserError
from carrara.model import AnyModel, DiffusionModel
from carrara.recipe.folder import first_stage_digest, open_model

EARLY: Mapping[str, Any] = {"guidance": 3.0, "interval": (0.2, 1.0)}
"""How a model without a condition is guided away from its earlier self, unless the user says; near the data it is not,
where both see all there is to see. See benchmarks/ablations.md."""


@dataclass(frozen=True, kw_only=True)
class Weaker:
    """Which weaker model samples are guided away from.

    Attributes:
        run: its folder: a run's, a checkpoint's, or a model's own.
        weights: its digest.
    """

    run: str
    weights: str


def weaker(folder: Path, model: AnyModel) -> Weaker:
    """Says which model is in ``folder``.

    Raises:
        UserError: there is none, or it does not fit ``model``.
    """
    return Weaker(run=str(folder), weights=_fitting(folder, model).digest())


def early_self(model: AnyModel, changes: Mapping[str, Any]) -> Path | None:
    """The folder of the weaker model that samples are guided away from when the user names none: what the model was
    after a part of its training (``checkpoint.early``), if it has no condition to be guided by, and guidance is not
    switched off."""
    alone = isinstance(model, DiffusionModel) and not model.guidable
    return model.early if alone and changes.get("guidance") != 1 else None


def open_weaker(which: Weaker, model: AnyModel) -> DiffusionModel:
    """Loads a weaker model to where ``model`` is.

    Raises:
        UserError: it is gone, has learned since, or does not fit ``model``.
    """
    weak = _fitting(Path(which.run), model)
    if weak.digest() != which.weights:
        raise UserError(f"the weaker model in '{which.run}' has changed since: name another one, as in --weak FOLDER")
    return weak.to(model.device)


def _fitting(folder: Path, model: AnyModel) -> DiffusionModel:
    weak = open_model(folder)
    if not isinstance(model, DiffusionModel) or not isinstance(weak, DiffusionModel):
        raise UserError(f"an autoencoder has no guidance: '{folder}' and the model are to be diffusion models both")
    for what, theirs, ours in (
        ("shape", weak.shape, model.shape),
        ("first stage", first_stage_digest(weak), first_stage_digest(model)),
        ("schedule", weak.config.schedule, model.config.schedule),
        ("kind of condition", weak.conditioner.column, model.conditioner.column),
        ("image condition", weak.image, model.image),
    ):
        if theirs != ours:
            raise UserError(
                f"the weaker model in '{folder}' does not fit, as its {what} is another one ({theirs}, not {ours}): "
                "take an early checkpoint of the same run, or a smaller network trained by the same recipe"
            )
    return weak
