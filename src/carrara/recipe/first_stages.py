"""The first stage that was trained before: in another run, or in this run's ``autoencoder/``."""

from pathlib import Path

from carrara.errors import UserError
from carrara.model import Model
from carrara.recipe.sections import Sections
from carrara.store.runs import attach_decoder, open_model


def adopt_first_stage(untrained: Model, recipe: Sections, folder: Path) -> None:
    """Copies its weights, if the recipe names one; and looks through its distilled decoder, if there is one.

    Args:
        folder: the run's.

    Raises:
        UserError: there is none, or it is another one than the recipe says.
    """
    source = recipe.first_stage_run if recipe.autoencoder is None else folder / "autoencoder"
    if source is None:
        return
    trained = open_model(source)
    if trained.config.first_stage != untrained.config.first_stage:
        raise UserError(f"the autoencoder in '{source}' is not the one that the recipe names: train in a new folder")
    if not trained.first_stage.measured:
        raise UserError(
            f"the latents of the autoencoder in '{source}' were never measured, because its training was cut off: "
            "run its command again, which finishes it"
        )
    untrained.first_stage.load_state_dict(trained.first_stage.state_dict())
    attach_decoder(untrained, source)
