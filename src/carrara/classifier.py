"""A classifier of noised data, and how it guides: a model of its own, in a folder of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, final

import torch
from pydantic import ConfigDict
from torch import Tensor

from carrara.backbone import NoiseAwareClassifier, UNetConfig
from carrara.errors import command, unknown
from carrara.kinds import BY_KIND, SHAPE, SPELLED
from carrara.noise import AnySchedule, Schedule
from carrara.sample import LogProb
from carrara.saved import Saved
from carrara.shapes import spatial_of


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig:
    """Everything needed to build a classifier.

    Attributes:
        shape: of the pictures, (C, H, W).
        latent_shape: of what is noised and classified, (C', h, w).
        classes: their names.
        backbone: the U-Net whose way down it is.
        schedule: of its training; it is asked about any schedule's states.
        first_stage: the digest of the first stage in whose latents it works.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: Literal["classifier"] = "classifier"
    shape: Annotated[tuple[int, ...], SHAPE]
    latent_shape: Annotated[tuple[int, ...], SHAPE]
    classes: tuple[str, ...]
    backbone: UNetConfig
    schedule: Annotated[AnySchedule, SPELLED, BY_KIND]
    first_stage: str

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("a classifier tells classes apart, and has none")


@final
class Classifier(Saved):
    """Says which class noised data are of.

    Raises:
        ValueError: the parts do not fit together.
    """

    def __init__(self, config: ClassifierConfig, about: Mapping[str, Any] | None = None) -> None:
        super().__init__(about)
        self._config = config
        self.shape, self.latent_shape, self.classes = config.shape, config.latent_shape, config.classes
        self.network = NoiseAwareClassifier(
            config.backbone,
            channels=config.latent_shape[0],
            classes=len(config.classes),
            spatial=spatial_of(config.latent_shape),
        )

    @property
    def config(self) -> ClassifierConfig:
        return self._config

    def purpose(self, path: Path) -> str:
        use = command("sample RUN", classifier=path, label=self.classes[0])
        return f"a classifier, which guides other models: {use}"

    def log_prob(self, name: str, schedule: Schedule) -> LogProb:
        """log p(``name`` | x_t) for states of any ``schedule``.

        Raises:
            UserError: there is no such class.
        """
        if name not in self.classes:
            raise unknown("class", name, self.classes)
        k = self.classes.index(name)

        def of_states(x_t: Tensor, t: Tensor) -> Tensor:
            return torch.log_softmax(self.network(x_t, *schedule(t)), dim=1)[:, k]

        return of_states
