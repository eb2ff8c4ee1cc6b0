"""All that is behind the page's training, in one value: data, what is in them, plans, dry runs and trainings."""

from dataclasses import dataclass
from typing import Annotated, Any, final

from fastapi import Depends, Request

from carrara.serve.curves import Curves
from carrara.serve.datasets import Datasets
from carrara.serve.inspections import Inspections
from carrara.serve.planned import Planner
from carrara.serve.rehearsals import Rehearsals
from carrara.serve.settings import ServeSettings, without_places
from carrara.serve.shelf import Shelf
from carrara.serve.trainings import Trainings


@final
@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where models are trained."""

    settings: ServeSettings
    datasets: Datasets
    inspections: Inspections
    planner: Planner
    rehearsals: Rehearsals
    trainings: Trainings
    curves: Curves

    def told(self, value: dict[str, Any]) -> dict[str, Any]:
        """An answer in which nothing says where things lie on this machine."""
        return without_places(self.settings, value)

    def close(self) -> None:
        """Ends what is looked at and rehearsed; trainings go on."""
        self.inspections.close()
        self.rehearsals.close()


def opened(settings: ServeSettings, shelf: Shelf) -> Workshop:
    """The workshop of a studio."""
    datasets = Datasets(settings)
    planner = Planner(settings, datasets, shelf)
    return Workshop(
        settings=settings,
        datasets=datasets,
        inspections=Inspections(datasets),
        planner=planner,
        rehearsals=Rehearsals(settings, planner),
        trainings=Trainings(settings, shelf, planner),
        curves=Curves(),
    )


def workshop_of(request: Request) -> Workshop:
    """The workshop of the studio that is asked."""
    return request.app.state.workshop


Bench = Annotated[Workshop, Depends(workshop_of)]
