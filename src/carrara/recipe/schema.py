"""A recipe: everything that a run is made from, as one frozen value.

The sections are the configuration objects of the packages they belong to, so a key is declared once, where it is used;
the objective is one of those that ``kinds`` know.
"""

from typing import TYPE_CHECKING, Annotated, Union

from carrara.kinds import BY_KIND, otherwise
from carrara.objective import DiffusionSettings, ObjectiveSettings
from carrara.recipe.kinds import KINDS
from carrara.recipe.sections import Sections

if TYPE_CHECKING:
    AnyObjective = ObjectiveSettings
else:
    AnyObjective = Union[tuple(kind.settings_class for kind in KINDS)]  # noqa: UP007
"""The tagged union that recipes hold."""


class Recipe(Sections):
    """Everything that a run is made from; ``Sections`` has its attributes."""

    objective: Annotated[AnyObjective, otherwise("diffusion"), BY_KIND] = DiffusionSettings()
