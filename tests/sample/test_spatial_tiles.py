"""Windows over sounds and volumes."""

import pytest
import torch
from torch import Tensor

from analytic import mixture
from carrara.noise import RectifiedFlow
from carrara.sample import SAMPLERS, Uniform, generate, last, tiled

T = torch.tensor(0.5)


@pytest.mark.parametrize(
    ("shape", "tile", "stride"),
    [
        ((2, 19), (5,), None),
        ((2, 19), (4,), (3,)),
        ((1, 5, 7, 9), (3, 4, 5), None),
        ((1, 5, 7, 4), (2, 3, 8), (1, 2, 3)),
    ],
)
def test_places_that_are_independent_need_no_neighbours(
    shape: tuple[int, ...], tile: tuple[int, ...], stride: tuple[int, ...] | None
) -> None:
    schedule = RectifiedFlow()
    denoise = mixture(schedule, (-0.5, 0.5), (0.1, 0.2), (0.5, 0.5))
    whole, windowed = (
        last(generate(d, shape, [1, 2], sampler=SAMPLERS["heun"](), grid=Uniform(), steps=4, schedule=schedule)).x
        for d in (denoise, tiled(denoise, tile, stride))
    )
    torch.testing.assert_close(windowed, whole, rtol=1e-4, atol=1e-4)


def test_weights_of_a_sound_are_one_factor_and_of_a_volume_three() -> None:
    """Windows of 3 in 4 places: 1, 2, 1; what the second one says is 1."""
    row = torch.tensor([0, 1 / 3, 2 / 3, 1])
    answers = iter((0.0, 1.0))
    made = tiled(lambda x, t: torch.full_like(x, next(answers)), (3,), (1,))(torch.zeros(1, 1, 4), T)
    torch.testing.assert_close(made.flatten(), row)

    ones = iter((0.0,) * 7 + (1.0,))  # the last of eight windows is at the far end of every axis
    made = tiled(lambda x, t: torch.full_like(x, next(ones)), (3, 3, 3), (1, 1, 1))(torch.zeros(1, 1, 4, 4, 4), T)
    torch.testing.assert_close(made[0, 0], row[:, None, None] * row[:, None] * row)


def test_windows_of_what_lies_beside_a_sound() -> None:
    seen = list[Tensor]()
    x, y = torch.arange(9.0).expand(1, 2, 9), -torch.arange(9.0).expand(1, 1, 9)
    made = tiled(lambda window, t: seen.append(window) or window[:, :2], (4,), beside=y)(x, T)
    torch.testing.assert_close(made, x)
    assert all(torch.equal(window[:, 2], -window[:, 0]) and window.shape == (1, 3, 4) for window in seen)


def test_tiles_have_as_many_edges_as_samples_have_axes() -> None:
    with pytest.raises(ValueError, match="zip"):
        tiled(lambda x, t: x, (4, 4))(torch.zeros(1, 1, 9), T)
