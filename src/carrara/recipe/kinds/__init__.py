"""What a recipe means by its objective: one class for each kind, and one object for each recipe.

A new kind is a file beside its objective's, with the settings and the loss; a file here; and a name in ``KINDS``.
"""

from typing import Any

from carrara.model import Model
from carrara.recipe.kinds.absorbing import AbsorbingDiffusion
from carrara.recipe.kinds.autoencoding import Autoencoding
from carrara.recipe.kinds.base import Examples, Kind, Next, Shown
from carrara.recipe.kinds.classification import Classification
from carrara.recipe.kinds.decoder import Distillation
from carrara.recipe.kinds.diffusion import Diffusion
from carrara.recipe.kinds.elbo import Elbo
from carrara.recipe.kinds.few_step import FewStep
from carrara.recipe.kinds.finetuning import FineTuning
from carrara.recipe.kinds.mean_flow import MeanFlow
from carrara.recipe.sections import Sections

KINDS: tuple[type[Kind[Any, Any]], ...] = (
    Diffusion,
    AbsorbingDiffusion,
    Autoencoding,
    Elbo,
    Classification,
    Distillation,
    FewStep,
    FineTuning,
    MeanFlow,
)

__all__ = ["KINDS", "Examples", "Kind", "Next", "Shown", "kind_of"]


def kind_of(recipe: Sections, teacher: Model | None = None) -> Kind[Any, Any]:
    """What a recipe means by its objective.

    Args:
        teacher: what the model learns from, if it is open already.
    """
    kind = next(kind for kind in KINDS if kind.settings_class is type(recipe.objective))
    return kind(recipe, recipe.objective, teacher)
