"""Measurements: what they do to pictures, and that what is solved for is solved."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from carrara.pixels import to_tensor, with_channels
from carrara.sample import Masking, Measurement, blurred, downscaled, greyed

SHAPE = (3, 8, 12)
SEEN = torch.arange(96).reshape(1, 8, 12) % 3 > 0
ALL: dict[str, Measurement] = {
    "downscaled": downscaled(SHAPE, 4),
    "blurred": blurred(SHAPE, 1.5),
    "greyed": greyed(SHAPE),
    "masked": Masking(SEEN),
}
X = torch.sin(torch.arange(3 * 96 * 2, dtype=torch.float64) ** 2).reshape(2, *SHAPE)


def dense(measure: Measurement) -> Tensor:
    """A as a matrix, column by column."""
    units = torch.eye(X[0].numel(), dtype=torch.float64).reshape(-1, *SHAPE)
    return measure(units).flatten(1).T


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("r2", "s2"), [(0.3, 0.02), (0.0, 0.5), (1.0, 1e-6)])
def test_solve_is_the_inverse_of_the_gram_matrix(name: str, r2: float, s2: float) -> None:
    a = dense(ALL[name])
    y = ALL[name](X)
    gram = r2 * a @ a.T + s2 * torch.eye(len(a), dtype=torch.float64)
    wanted = torch.linalg.solve(gram, y.flatten(1).T).T.reshape(y.shape)
    torch.testing.assert_close(ALL[name].solve(y, r2, s2), wanted, rtol=1e-6, atol=1e-8)


def test_downscaled_averages_squares() -> None:
    torch.testing.assert_close(ALL["downscaled"](X), torch.nn.functional.avg_pool2d(X, 4))


def test_greyed_is_the_grey_of_pictures() -> None:
    colour = np.random.default_rng(0).random((8, 12, 3))
    torch.testing.assert_close(
        ALL["greyed"](to_tensor(colour)[None])[0], to_tensor(with_channels(colour, 1)), rtol=0, atol=1e-6
    )


def test_blur_keeps_flat_pictures_and_the_mean_and_spreads_a_point_as_its_variance_says() -> None:
    blur = blurred((1, 41, 41), 2.0)
    torch.testing.assert_close(blur(torch.ones(1, 1, 41, 41).double()), torch.ones(1, 1, 41, 41).double())
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    spread = blur(point)[0, 0]
    assert spread.sum().item() == pytest.approx(1)
    assert (spread.sum(0) @ (torch.arange(41).double() - 20) ** 2).item() == pytest.approx(4, rel=2e-3)
    corner = torch.roll(point, (-20, -20), dims=(2, 3))
    assert blur(corner).sum().item() == pytest.approx(1)


def test_a_picture_smaller_than_the_blur_is_mirrored_again_and_again() -> None:
    """Without end, two pixels are a mean and a cosine of period 4, of which exp(-(pi / 2)^2 sigma^2 / 2) is left."""
    point, share = torch.zeros(1, 1, 2, 2), math.exp(-((math.pi / 2) ** 2) * 2.0**2 / 2)
    point[..., 0, 0] = 1
    line = torch.tensor([1 + share, 1 - share]) / 2
    torch.testing.assert_close(blurred((1, 2, 2), 2.0)(point)[0, 0], torch.outer(line, line), rtol=2e-4, atol=0)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="factor of 5 does not divide"):
        downscaled(SHAPE, 5)
    with pytest.raises(ValueError, match="positive width"):
        blurred(SHAPE, 0.0)
    with pytest.raises(ValueError, match="at most that of the pictures"):
        blurred((1, 2, 2), 2.1)
    with pytest.raises(ValueError, match="3 channels"):
        greyed((1, 8, 8))


def test_a_grey_file_is_greyed_alike() -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 12, 3), dtype=np.uint8))
    grey = to_tensor(np.asarray(picture.convert("L")))
    ours = ALL["greyed"](to_tensor(np.asarray(picture))[None])[0]
    assert (grey - ours).abs().max() <= 1.5 / 127.5
