"""Features by name: the network that the package brings along, and those whose files a user has."""

from collections.abc import Callable
from pathlib import Path

from carrara.autoencoder.efficientnet import RESOLUTION
from carrara.errors import UserError, meant, unknown
from carrara.evaluate.features import EfficientNetFeatures, Features
from carrara.evaluate.inception import InceptionFeatures
from carrara.evaluate.vision import DINOV2_SIZE, ClipFeatures, DinoFeatures

_LOCAL: dict[str, tuple[str, Callable[[Path, int | None], Features]]] = {
    "inception": ("FILE", lambda path, _: InceptionFeatures(path)),
    "inception-legacy": ("FILE", lambda path, _: InceptionFeatures(path, legacy=True)),
    "clip": ("FOLDER", lambda path, _: ClipFeatures(path)),
    "dinov2": ("FOLDER", lambda path, size: DinoFeatures(path, size or DINOV2_SIZE)),
}
_RESIZABLE = ("efficientnet-lite0", "dinov2")
FEATURE_NAMES = ("efficientnet-lite0", *(f"{kind}:{where}" for kind, (where, _) in _LOCAL.items()))
"""How features are called; ``inception-legacy`` is Inception with the resizing of the first FIDs."""


def extractor(name: str = "efficientnet-lite0", size: int | None = None) -> Features:
    """Makes the features of this name.

    Args:
        name: one of ``FEATURE_NAMES``, with a path in the place of FILE or FOLDER.
        size: in pixels, that pictures are brought to; None is the network's own. Only EfficientNet and DINOv2 have a
            choice.

    Raises:
        UserError: no such network, its weights are not there, or it has no choice of size.
    """
    word, separator, path = name.partition(":")
    kind = meant(word, _LOCAL) or meant(name, FEATURE_NAMES[:1])
    if kind is None:
        raise unknown("features", name, FEATURE_NAMES)
    if size is not None and kind not in _RESIZABLE:
        raise UserError(f"features '{kind}' look at pictures of one size only: leave the size of {size} px out")
    if not separator:
        if kind in _LOCAL:
            where = _LOCAL[kind][0]
            raise UserError(f"features '{kind}' need weights from your disk: write {kind}:{where}, where they are")
        return EfficientNetFeatures(size or RESOLUTION)
    return _LOCAL[kind][1](Path(path), size)
