"""A variational autoencoder learns, which draws and knows a bound of the likelihood."""

from collections.abc import Iterator
from pathlib import Path

from carrara.autoencoder import LayeredVae
from carrara.errors import command
from carrara.objective import ElboObjective, ElboSettings, Objective
from carrara.recipe.kinds.base import Next
from carrara.recipe.kinds.stages import StageKind


class Elbo(StageKind[ElboSettings, LayeredVae]):
    """See ``objective.elbo``."""

    settings_class = ElboSettings
    stage_class = LayeredVae
    metrics = ("nll", "reconstruction")

    def stage_objective(self, stage: LayeredVae, shape: tuple[int, ...]) -> Objective:
        return ElboObjective(stage, warmup=self.settings.warmup, free_bits=self.settings.free_bits)

    def next(self, folder: Path) -> Iterator[Next]:
        yield Next(purpose="Sample it", command=command(f"sample {folder}"))
