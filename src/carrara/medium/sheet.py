"""Some examples of data as one picture, as samples of a model of them are shown."""

import numpy as np
import torch
from PIL import Image

from carrara.data.base import Dataset, Unreadable
from carrara.medium.catalogue import medium_of
from carrara.modality import AnyModality
from carrara.pixels import to_tensor

EXAMPLES = 12
POINTS = 2000
"""Of points, of which a sheet shows more."""


def sheet_of(dataset: Dataset, modality: AnyModality | None) -> Image.Image | None:
    """Examples from all over, those of other lengths cut or silent at their ends; None if none can be read."""
    most = POINTS if dataset.info.native is None else EXAMPLES
    count = min(len(dataset), most)
    found = list[np.ndarray]()
    for k in range(count):
        try:
            found.append(dataset.pixels(k * len(dataset) // count))
        except Unreadable:
            continue
    if not found:
        return None
    if dataset.info.native is None:
        samples = torch.from_numpy(np.stack(found))
    else:
        samples = torch.stack([_placed(one, dataset) for one in found])
    return medium_of(samples.shape[1:], modality).grid(samples)


def _placed(values: np.ndarray, dataset: Dataset) -> torch.Tensor:
    """An example (*N, C) as (C, *N) of the data's own size."""
    assert dataset.info.native is not None
    x = to_tensor(values, values.ndim - 1)
    x = x[: dataset.info.channels] if len(x) >= dataset.info.channels else x.expand(dataset.info.channels, *x.shape[1:])
    for axis, edge in enumerate(dataset.info.native, start=1):
        x = x.narrow(axis, 0, min(edge, x.shape[axis]))
        missing = edge - x.shape[axis]
        if missing:
            shape = list(x.shape)
            shape[axis] = missing
            x = torch.cat([x, x.new_zeros(shape)], axis)
    return x
