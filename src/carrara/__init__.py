"""Carrara: from a folder of your own files to a diffusion model that you own."""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from carrara.toolkit import Toolkit


def load(run: "Path | str") -> "Toolkit":
    """Opens a trained model: ``carrara.load("runs/digits").generate("7", steps=20)``.

    Args:
        run: a run's folder, one of its checkpoints, or a model's own folder.

    Raises:
        UserError: there is no model, or it is damaged.
    """
    from pathlib import Path

    from carrara.store import Store
    from carrara.toolkit import Toolkit

    return Toolkit(Store().open(Path(run)))
