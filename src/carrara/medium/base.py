"""What samples are to those who look at them: a grid, a strip on their way from noise, and files.

The rest of the package knows shapes alone. A picture alone holds what it shows; all else is written as numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from torch import Tensor

from carrara import pixels, plots
from carrara.errors import UserError
from carrara.files import replacing
from carrara.medium.picture import Picture
from carrara.medium.size import Size

STRIP_SAMPLES = 6
"""Samples whose way from noise a strip shows."""


class Medium(ABC):
    """What samples of a shape are. Abstract in how they are shown.

    Attributes:
        name: what several of them are called.
        of_levels: whether their numbers are levels of 8 bits, so that a likelihood is a probability.
        timed: whether their first axis is time, so that they go on at its end.
    """

    name: ClassVar[str]
    of_levels: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    @abstractmethod
    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        """All samples (N, *S) as one picture, ``columns`` side by side; ``labels`` are of its rows."""

    @abstractmethod
    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        """A few samples on their way, from noise to data: (n, *S) each."""

    def few(self, x: Tensor) -> Tensor:
        """Those of a batch (B, *S) that a strip shows."""
        return x[:: max(1, len(x) // STRIP_SAMPLES)][:STRIP_SAMPLES]

    def single(self, sample: Tensor) -> Image.Image | None:
        """A sample (*S) as a picture that holds all that it is; None where a picture cannot."""
        return None

    def tensor(self, given: Picture, shape: Sequence[int], size: Size | None = None) -> Tensor:
        """What a user gives as a sample (1, C, *N) of a model of ``shape`` (C, *N).

        Args:
            size: it is brought to this; None leaves it as it is.

        Raises:
            UserError: it is no such thing.
        """
        return given.tensor(shape[0], size)

    def unit(self, given: Picture) -> tuple[float, str]:
        """How many places along the first axis are one unit that a user counts in, and what these are called."""
        return 1.0, "places"

    def channels(self, said: str, shape: Sequence[int]) -> list[int]:
        """The channels that a user names, as in ``1,3``.

        Raises:
            UserError: there are no such.
        """
        try:
            numbers = [int(part) - 1 for part in said.split(",")]
        except ValueError:
            numbers = [-1]
        if not all(0 <= number < shape[0] for number in numbers):
            raise UserError(f"'{said}' are no channels: these {self.name} have 1 to {shape[0]}")
        return numbers

    def write(self, sample: Tensor, stem: Path, about: Mapping[str, Any]) -> list[Path]:
        """Writes a sample (*S) in the formats that such samples have, of free names that begin as ``stem``; none where
        they are written all in one file.

        Args:
            about: what the files say of themselves, if their format can.
        """
        image = self.single(sample)
        return [] if image is None else [pixels.save_png(image, stem.with_name(f"{stem.name}.png"), about)]

    def write_all(self, samples: Tensor, folder: Path, about: Callable[[int], Mapping[str, Any]]) -> list[Path]:
        """Writes samples (N, *S): each as files of its own, or all as numbers.

        Args:
            about: what the files of a sample say of themselves, by its number.
        """
        paths: list[Path] = []
        for k, sample in enumerate(samples):
            own = self.write(sample, folder / f"{k:04d}", about(k))
            if not own:
                return [save_numbers(samples, folder / "samples.npy")]
            paths += own
        return paths


class PointMedium(Medium):
    """(D,): shown in a plane."""

    name = "points"

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        return plots.scatter(samples, size=480)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        planes = [plots.Plane(200).points(state).picture() for state in states]
        return plots.sheet([planes], [""] * len(planes), [""])

    def few(self, x: Tensor) -> Tensor:
        return x


class CurveMedium(Medium):
    """(C, L) of which nothing more is known: the curves of the first channel."""

    name = "curves"

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        return _curves(self.few(samples))

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        return plots.sheet([[_curves(state)] for state in states], [""], [""] * len(states))


class PictureMedium(Medium):
    """(C, H, W) in [-1, 1]."""

    name = "pictures"
    of_levels = True

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        return pixels.grid(samples, columns, row_labels=labels)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        return pixels.strip(states)

    def single(self, sample: Tensor) -> Image.Image | None:
        return pixels.to_image(pixels.to_pixels(sample)) if len(sample) in (1, 3, 4) else None


class VolumeMedium(Medium):
    """(C, D, H, W) in [-1, 1]: the slices in their middle."""

    name = "volumes"

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        return pixels.grid(_middle(samples), columns, row_labels=labels)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        return pixels.strip([_middle(state) for state in states])


MEDIA = (PointMedium(), CurveMedium(), PictureMedium(), VolumeMedium())
"""By the number of axes of places."""


def _curves(sounds: Tensor) -> Image.Image:
    """Sounds (N, C, L) over their places, by their numbers."""
    places = range(sounds.shape[2])
    lines = [plots.Line(name=str(k), x=places, y=sound[0].tolist()) for k, sound in enumerate(sounds)]
    return plots.Chart(title="", lines=lines, x_label="place", y_label="value").picture()


def _middle(volumes: Tensor) -> Tensor:
    """(N, C, D, H, W) to (N, C, H, W)."""
    return volumes[:, :, volumes.shape[2] // 2]


def save_numbers(values: Tensor, path: Path) -> Path:
    """Writes what no picture holds as ``.npy``; a free name is taken."""
    path = pixels.fresh(path.with_suffix(".npy"))
    with replacing(path) as file:
        np.save(file, values.numpy())
    return path
