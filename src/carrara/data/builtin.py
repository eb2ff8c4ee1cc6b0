r"""Data that need no files: handwritten digits, and points on a Swiss roll.

``assets/digits.png`` is a sheet of 60 by 30 pictures of 8x8 pixels, row by row, the last three empty. It was exported
once from scikit-learn's copy of the test set of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
UCI, 1998; CC BY 4.0), its values 0..16 scaled to 0..255; the labels stand in the PNG's text chunk ``labels``.

The Swiss roll of Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics" (2015), is a
spiral whose radius grows with the angle, thickened by Gaussian noise of standard deviation s:

.. math:: x = r (\cos\varphi, \sin\varphi) + s \epsilon, \quad \varphi = \tfrac{3\pi}{2} (1 + 2u), \quad
          r = \varphi / (\pi \sqrt{39/8}), \quad u \sim U(0, 1)                                                  (1)

where the constant makes E|r|^2 = 2, one for each coordinate.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from carrara.data.base import DataInfo, Dataset, Map, Row, one_hot
from carrara.seeds import Draws

ASSETS = files("carrara.data") / "assets"


@final
class Arrays(Dataset):
    """Examples that lie in memory.

    Args:
        pixels: (N, H, W, C) or (N, D).
        labels: indices into ``info.classes``.
        captions: of each example, the best one first.
        names: of the examples, for messages.
        keys: what identifies their contents; a hash of the pixels if not given.
        layout: makes their maps; None makes none.
    """

    def __init__(
        self,
        info: DataInfo,
        pixels: NDArray[Any],
        labels: Sequence[int] = (),
        captions: Sequence[tuple[str, ...]] = (),
        names: Sequence[str] = (),
        keys: Sequence[str] = (),
        layout: Callable[[NDArray[Any]], Map] | None = None,
    ) -> None:
        self.info, self._pixels, self._labels, self._layout = info, pixels, labels, layout
        self._captions, self._names, self._keys = captions, names, keys

    def __len__(self) -> int:
        return len(self._pixels)

    def pixels(self, index: int) -> NDArray[Any]:
        return self._pixels[index]

    def key(self, index: int) -> str:
        if self._keys:
            return self._keys[index]
        return hashlib.blake2b(self._pixels[index].tobytes(), digest_size=16).hexdigest()

    def columns(self, index: int) -> Mapping[str, Row]:
        return {"label": one_hot(len(self.info.classes), self._labels[index])} if self._labels else {}

    def captions(self, index: int) -> tuple[str, ...]:
        return self._captions[index] if self._captions else ()

    def map(self, index: int) -> Map | None:
        return None if self._layout is None else self._layout(self._pixels[index])

    def name(self, index: int) -> str:
        return self._names[index] if self._names else super().name(index)


def digits() -> Dataset:
    """1797 handwritten digits of 8x8 grey pixels, in ten classes."""
    with (ASSETS / "digits.png").open("rb") as file, Image.open(file) as image:
        labels = [int(label) for label in image.info["labels"]]
        sheet = np.asarray(image).reshape(30, 8, 60, 8).swapaxes(1, 2).reshape(-1, 8, 8, 1)
    info = DataInfo(
        name="digits",
        channels=1,
        native=(8, 8),
        classes=tuple("0123456789"),
        attribution="Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI 1998, CC BY 4.0",
    )
    return Arrays(info, sheet[: len(labels)], labels)


def swissroll(count: int = 20_000, thickness: float = 0.02) -> Dataset:
    """Points (2,) by equation (1); point k is the same whatever the count.

    Args:
        thickness: s, where the points have a standard deviation of about one, and the roll's outer radius is 2.04.
    """
    if count < 1 or thickness < 0:
        raise ValueError(f"a Swiss roll has a point or more, and thickness 0 or more, not {count} and {thickness}")
    draws = Draws(0, torch.arange(count))
    phi = 1.5 * math.pi * (1 + 2 * draws.uniform("swiss roll angle"))
    roll = phi[:, None] / (math.pi * math.sqrt(39 / 8)) * torch.stack([phi.cos(), phi.sin()], dim=1)
    points = roll + thickness * draws.normal("swiss roll thickness", 2)
    return Arrays(DataInfo(name="swissroll", dimension=2), points.numpy(), keys=[str(k) for k in range(count)])
