"""A run that is measured: its model, its data, its samples and their features, each made when it is first asked for."""

from functools import cached_property
from typing import final

from torch import Tensor

from carrara import evaluate
from carrara.errors import UserError, option
from carrara.evaluate import Features, Reference
from carrara.measure.measurement import MeasureSettings
from carrara.measure.run_data import RunData, Split
from carrara.measure.samples import SampleSet
from carrara.model import DiffusionModel
from carrara.shapes import spatial_of
from carrara.store import OpenModel


@final
class Subject:
    """A run that is measured.

    Args:
        opened: its model.
        settings: how to measure.

    Attributes:
        data: what it was trained on, and what was held out.
    """

    def __init__(self, opened: OpenModel, settings: MeasureSettings) -> None:
        self.opened, self.settings = opened, settings
        self.folder, self.model = opened.folder, opened.model
        self.data = RunData(self.folder, self.model, settings.watch)

    def diffusion(self, refusal: str) -> DiffusionModel:
        """The model, which diffuses.

        Args:
            refusal: what is said of the run if it does not.

        Raises:
            UserError: it does not.
        """
        return self.model.diffusion(f"'{self.folder}' {refusal}")

    @cached_property
    def samples(self) -> SampleSet:
        """What its model draws.

        Raises:
            UserError: it draws nothing.
        """
        return SampleSet(self.opened, self.data, self.settings)

    @cached_property
    def features(self) -> Features:
        """What metrics of samples look at.

        Raises:
            UserError: samples are no pictures, or there is no such network.
        """
        if spatial_of(self.model.shape) != 2:
            makes = f"metrics of samples look at pictures, and this run makes {self.model.medium.name}"
            raise UserError(f"{makes}: {option('metrics', 'nll')} measures it")
        return evaluate.extractor(self.settings.features).to(self.model.device)

    def reference(self, split: Split) -> Tensor:
        """The features of a part of the data, (N, D); kept in the run for the next time."""
        data, features = self.data, self.features
        assert data.transform is not None
        kept = data.run / "evaluation" / "reference"
        reference = Reference(features, data.splits[split], data.transform, kept, split=split, within=data.run)
        done = (done for done, _ in reference.complete())
        for _ in self.settings.watch(done, len(data.splits[split]), f"features of the {split} data"):
            pass
        return reference.vectors()
