"""Windows over a canvas: all of it is covered, and what needs no neighbours comes out as without windows."""

from itertools import pairwise, product

import pytest
import torch
from torch import Tensor

from analytic import mixture
from carrara.noise import RectifiedFlow
from carrara.sample import SAMPLERS, Uniform, generate, last, tiled
from carrara.sample.tiles import starts

T = torch.tensor(0.5)


@pytest.mark.parametrize(("size", "tile", "stride"), list(product((3, 8, 9, 31), (1, 3, 8), (1, 2, 3, 8))))
def test_windows_lie_evenly_from_end_to_end(size: int, tile: int, stride: int) -> None:
    tile, stride = min(tile, size), min(tile, stride)
    places = starts(size, tile, stride)
    assert places[0] == 0
    assert places[-1] == size - tile
    gaps = [after - before for before, after in pairwise(places)]
    assert all(0 < gap <= stride for gap in gaps)
    assert len(gaps) <= -(-(size - tile) // stride)


@pytest.mark.parametrize("name", SAMPLERS)
def test_pixels_that_are_independent_need_no_neighbours(name: str) -> None:
    """A mixture's exact denoiser, pixel by pixel, through every sampler: windows change nothing but rounding."""
    schedule = RectifiedFlow()
    denoise = mixture(schedule, (-0.5, 0.5), (0.1, 0.2), (0.5, 0.5))
    made = [
        last(generate(d, (2, 7, 12), [1, 2], sampler=SAMPLERS[name](), grid=Uniform(), steps=6, schedule=schedule)).x
        for d in (denoise, tiled(denoise, (4, 5)), tiled(denoise, (3, 4), (1, 3)))
    ]
    for windowed in made[1:]:
        torch.testing.assert_close(windowed, made[0], rtol=1e-4, atol=1e-4)


def test_the_average_is_weighted_towards_the_middle_of_windows() -> None:
    """Windows of 3 in a row of 4: equation (2) is 1, 2, 1."""
    answers = iter((0.0, 1.0))
    made = tiled(lambda x, t: torch.full_like(x, next(answers)), (1, 3), (1, 1))(torch.zeros(1, 1, 1, 4), T)
    torch.testing.assert_close(made.flatten(), torch.tensor([0, 1 / 3, 2 / 3, 1]))


def test_the_network_sees_windows_of_the_batch_and_its_times() -> None:
    seen = list[tuple[Tensor, Tensor]]()

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen.append((x, t))
        return x

    x, times = torch.arange(2.0 * 3 * 10 * 6).reshape(2, 3, 10, 6), torch.tensor([0.2, 0.7])
    torch.testing.assert_close(tiled(denoise, (4, 4))(x, times), x)
    assert {tuple(window.shape) for window, _ in seen} == {(2, 3, 4, 4)}
    assert len(seen) == 4 * 2
    assert all(torch.equal(t, times) for _, t in seen)
    assert torch.equal(seen[1][0], x[:, :, :4, 2:])


def test_a_canvas_that_fits_a_window_is_one() -> None:
    calls = list[Tensor]()
    x = torch.ones(1, 1, 3, 5)
    tiled(lambda x, t: calls.append(x) or x, (8, 5))(x, T)
    assert len(calls) == 1
    assert torch.equal(calls[0], x)


@pytest.mark.parametrize(("tile", "stride"), [((0, 4), None), ((4, 4), (5, 4)), ((4, 4), (4, 0))])
def test_windows_that_leave_gaps(tile: tuple[int, int], stride: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match="1 <= stride <= tile"):
        tiled(lambda x, t: x, tile, stride)
