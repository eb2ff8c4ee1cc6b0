r"""Arrays of numbers: curves, pictures and volumes, shown in their range and written in their units.

Inside, x in [-1, 1] is the range [l, h] of the data. Written is

.. math:: v = l + (x + 1) (h - l) / 2,                                                                            (1)

rounded, and within what their type holds, if it is one of whole numbers; nothing else is clipped.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from carrara import pixels, plots
from carrara.errors import UserError
from carrara.files import replacing
from carrara.files.arrays import stored_array
from carrara.medium.animation import save_turning
from carrara.medium.base import Medium
from carrara.medium.picture import Picture
from carrara.medium.size import Size
from carrara.modality import Numbers
from carrara.shapes import by

ANGLES = 24
"""From which a volume is looked at while it turns once."""
_log = logging.getLogger(__name__)


@final
class NumbersMedium(Medium):
    """(C, *N) in [-1, 1] of a range, or beyond it.

    Args:
        modality: what the numbers are.
        spatial: axes of places: 1 curves, 2 pictures, 3 volumes.
    """

    def __init__(self, modality: Numbers, spatial: int) -> None:
        assert 1 <= spatial <= 3
        self.modality, self.spatial = modality, spatial

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return ("curves", "pictures", "volumes")[self.spatial - 1]

    def grid(self, samples: Tensor, columns: int | None = None, labels: Sequence[str] = ()) -> Image.Image:
        if self.spatial == 1:
            return self._curves(self.few(samples))
        return pixels.grid(self._shown(samples), columns, row_labels=labels)

    def strip(self, states: Sequence[Tensor]) -> Image.Image:
        if self.spatial == 1:
            return plots.sheet([[self._curves(state)] for state in states], [""], [""] * len(states))
        return pixels.strip([self._shown(state) for state in states])

    def tensor(self, given: Picture, shape: Sequence[int], size: Size | None = None) -> Tensor:
        """An array of the data's type and units, (*N) or (*N, C), as ``.npy``; it has the size that is asked for.

        Raises:
            UserError: it is none, or has other axes, channels or edges.
        """
        if given.path.suffix.lower() != ".npy":
            raise UserError(f"'{given.path}' is no array, and one is needed here: name a .npy file")
        values = stored_array(given.path).whole()
        values = values[..., None] if values.ndim == self.spatial else values
        if values.ndim != self.spatial + 1 or values.shape[-1] != shape[0] or values.dtype.kind not in "iuf":
            raise UserError(f"'{given.path}' is {by(values.shape)} of {values.dtype}, and this model makes {by(shape)}")
        if size is not None and values.shape[:-1] != tuple(size):
            raise UserError(f"'{given.path}' is {by(values.shape[:-1])}, and {by(size)} is needed: cut it first")
        low, high = self.modality.low, self.modality.high
        x = 2 * (values.astype(np.float64) - low) / (high - low) - 1
        return torch.from_numpy(np.moveaxis(x, -1, 0)[None].astype(np.float32, order="C"))

    def write(self, sample: Tensor, stem: Path, about: Mapping[str, Any]) -> list[Path]:
        """As ``.npy`` in the type and the units of the data, (*N) or (*N, C); a volume also turns in a ``.gif``."""
        path = pixels.fresh(stem.with_name(f"{stem.name}.npy"))
        with replacing(path) as file:
            np.save(file, self.values(sample))
        if self.spatial < 3:
            return [path]
        return [path, save_turning(turning(_visible(sample[None])[0]), stem.with_name(f"{stem.name}.gif"))]

    def write_all(self, samples: Tensor, folder: Path, about: Callable[[int], Mapping[str, Any]]) -> list[Path]:
        if beyond := self.beyond(samples):
            _log.warning(
                "%s of %s values lie beyond what %s holds, and were brought to its ends",
                beyond,
                samples.numel(),
                self.modality.dtype,
            )
        return super().write_all(samples, folder, about)

    def values(self, sample: Tensor) -> NDArray[Any]:
        """Equation (1) of a sample (C, *N): (*N, C), or (*N) of a single channel."""
        values, dtype = self._in_units(sample), np.dtype(self.modality.dtype)
        if dtype.kind != "f":
            ends = np.iinfo(dtype)
            values = np.clip(np.round(values), ends.min, ends.max)
        values = np.moveaxis(values.astype(dtype), 0, -1)
        return values[..., 0] if values.shape[-1] == 1 else np.ascontiguousarray(values)

    def beyond(self, samples: Tensor) -> int:
        """How many values of whole numbers their type does not hold."""
        dtype = np.dtype(self.modality.dtype)
        if dtype.kind == "f":
            return 0
        values, ends = np.round(self._in_units(samples)), np.iinfo(dtype)
        return int(((values < ends.min) | (values > ends.max)).sum())

    def _in_units(self, x: Tensor) -> NDArray[np.float64]:
        low, high = self.modality.low, self.modality.high
        return low + (x.detach().cpu().double().numpy() + 1) / 2 * (high - low)

    def _shown(self, x: Tensor) -> Tensor:
        """Pictures or volumes as pictures, (N, 1 or 3, H, W)."""
        return _visible(x) if self.spatial == 2 else slices(_visible(x))

    def _curves(self, x: Tensor) -> Image.Image:
        """The first channel over its places."""
        values = self._in_units(x.nan_to_num(0))[:, 0]
        places = range(values.shape[-1])
        lines = [plots.Line(name=str(k), x=places, y=curve) for k, curve in enumerate(values.tolist())]
        return plots.Chart(title="", lines=lines, x_label="place", y_label="value").picture()


def slices(volumes: Float[Tensor, "B C D H W"]) -> Tensor:
    """The slices in the middle of each axis, side by side: from the front, from above, from the side; (B, C, h, w)."""
    _, _, d, h, w = volumes.shape
    views = volumes[:, :, d // 2], volumes[:, :, :, h // 2], volumes[..., w // 2]
    highest = max(view.shape[2] for view in views)
    return torch.cat([F.pad(view, (0, 1, 0, highest - view.shape[2]), value=1.0) for view in views], 3)[..., :-1]


def turning(volume: Float[Tensor, "C D H W"], angles: int = ANGLES) -> Tensor:
    """The greatest values along lines of sight while a volume turns once about its first axis: (angles, C, D, w)."""
    c, d, h, w = volume.shape
    edge = math.ceil(math.hypot(h, w))  # so that no corner is lost
    left, top = (edge - w) // 2, (edge - h) // 2
    flat = volume.reshape(1, c * d, h, w) + 1  # outside there is the lowest value
    flat = F.pad(flat, (left, edge - w - left, top, edge - h - top))
    views = list[Tensor]()
    for k in range(angles):
        cos, sin = math.cos(2 * math.pi * k / angles), math.sin(2 * math.pi * k / angles)
        turn = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]], dtype=flat.dtype)
        grid = F.affine_grid(turn, [1, c * d, edge, edge], align_corners=False)
        seen = F.grid_sample(flat, grid, align_corners=False)
        views.append(seen.amax(2).reshape(c, d, edge) - 1)
    return torch.stack(views)


def _visible(x: Tensor) -> Tensor:
    """The first channel, or the first three of more than two; what is not known is the lowest value."""
    return x[:, : 1 if x.shape[1] < 3 else 3].detach().cpu().float().nan_to_num(-1, 1, -1)
