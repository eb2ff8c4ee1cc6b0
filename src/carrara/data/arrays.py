"""Examples that lie in memory."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from carrara.data.base import ClassMap, DataInfo, Dataset, Row, one_hot

ASSETS = Path(__file__).parent / "assets"


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
        layout: Callable[[NDArray[Any]], ClassMap] | None = None,
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

    def map(self, index: int) -> ClassMap | None:
        return None if self._layout is None else self._layout(self._pixels[index])

    def name(self, index: int) -> str:
        return self._names[index] if self._names else super().name(index)
