"""What networks see beside their input: equations (1) to (3) of ``conditioning.images``, and holes."""

import pytest
import torch
from torch import Tensor

from carrara.conditioning import LayoutMap, Lowres, Masked
from carrara.conditioning.images import MAP
from carrara.conditioning.masks import POINTS, RADII, SHARES, holes
from carrara.pixels import NOWHERE, rounded
from carrara.seeds import Draws
from carrara.types import Batch

MANY = Draws(0, torch.arange(2000))


def pictures(count: int = 4, size: int = 16) -> Tensor:
    return rounded(Draws(1, torch.arange(count)).uniform("pictures", 3, size, size) * 2 - 1)


def batch(x: Tensor, **columns: Tensor) -> Batch:
    return Batch(x=x, position=torch.arange(len(x)), columns=columns)


def identity(x: Tensor) -> Tensor:
    return x


def halved(x: Tensor) -> Tensor:
    """A first stage of factor 2 with one latent channel."""
    return torch.nn.functional.avg_pool2d(x, 2).mean(1, keepdim=True)


def test_a_masked_picture_is_kept_where_it_is_known() -> None:
    x, draws = pictures(), Draws(0, torch.arange(4))
    m = holes(draws, (16, 16))
    y = Masked().drawn(batch(x), (16, 16), draws, identity)
    assert y.shape == (4, Masked().channels((3, 16, 16), (3, 16, 16)), 16, 16)
    assert torch.equal(y[:, :3], torch.where(m == 1, 0.0, x))
    assert torch.equal(y[:, 3:], 1 - m)


def test_a_latent_is_known_if_all_of_its_pixels_are() -> None:
    m = torch.zeros(1, 1, 4, 4)
    m[..., 1, 2] = 1
    y = Masked().given(torch.ones(1, 3, 4, 4), m, (2, 2), halved)
    assert y.shape[1] == Masked().channels((3, 4, 4), (1, 2, 2))
    assert y[0, 0].tolist() == [[1, 0.75], [1, 1]]
    assert y[0, 1].tolist() == [[1, 0], [1, 1]]


def test_a_reduced_picture_is_noised_by_s_and_the_network_is_told() -> None:
    low, s = torch.full((2000, 1, 1, 1), 0.5), torch.full((2000,), 0.6)
    y = Lowres(factor=2).given(low, (1, 1), s, MANY)
    assert y[:, 0].mean().item() == pytest.approx(0.8 * 0.5, abs=3 * 0.6 / 2000**0.5)
    assert y[:, 0].std().item() == pytest.approx(0.6, rel=0.05)
    assert torch.allclose(y[:, 1], torch.tensor(0.4))


def test_the_noise_is_drawn_up_to_the_largest_and_can_be_left_out() -> None:
    lowres, x = Lowres(factor=2, augmentation=0.5), torch.zeros(2000, 1, 2, 2)
    known = lowres.drawn(batch(x), (2, 2), MANY, identity)[:, -1, 0, 0]
    assert 0.5 <= known.min() < 0.51 and 0.99 < known.max() <= 1
    assert known.mean().item() == pytest.approx(0.75, abs=0.01)
    clean = lowres.clean().drawn(batch(pictures()), (16, 16), Draws(0, torch.arange(4)), identity)
    assert bool((clean[:, -1] == 1).all())
    assert clean[:, :3].mean().item() == pytest.approx(pictures().mean().item(), abs=0.05)


def test_reducing_is_exact_for_one_colour_and_needs_a_multiple() -> None:
    x = rounded(torch.full((1, 3, 8, 12), 0.3))
    assert Lowres(factor=4).reduced(x).shape == (1, 3, 2, 3)
    assert torch.allclose(Lowres(factor=4).reduced(x), x[..., :1, :1], atol=1e-6)
    with pytest.raises(ValueError, match="8x12 cannot be reduced by 3"):
        Lowres(factor=3).reduced(x)


def test_a_map_says_which_colour_is_where() -> None:
    layout = LayoutMap(colours=((0, 0, 0), (255, 0, 0), (0, 0, 255)))
    numbers = torch.tensor([[[0, 1], [2, NOWHERE]]])
    y = layout.drawn(batch(torch.zeros(1, 3, 2, 2), **{MAP: numbers}), (2, 2), Draws(0, torch.arange(1)), identity)
    assert y.shape[1] == layout.channels((3, 2, 2), (3, 2, 2))
    assert y[0].tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [1, 0]]]
    assert layout.given(numbers, (1, 1)).flatten().tolist() == [0.25] * 3
    painted = layout.painted(numbers)[0]
    assert painted[:, 0, 1].tolist() == [1, -1, -1] and painted[:, 1, 1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("condition", [Masked(), Lowres(factor=2), LayoutMap(colours=((0, 0, 0), (9, 9, 9)))])
def test_a_sample_sees_the_same_alone_and_among_others(condition: Masked | Lowres | LayoutMap) -> None:
    x, numbers = pictures(5), torch.arange(5 * 256).reshape(5, 16, 16) % 2
    together = condition.drawn(batch(x, map=numbers), (16, 16), Draws(3, torch.arange(5)), identity)
    alone = condition.drawn(batch(x[3:4], map=numbers[3:4]), (16, 16), Draws(3, torch.tensor([3])), identity)
    assert torch.equal(together[3:4], alone)


def test_holes_are_of_the_kinds_and_shares_that_are_said() -> None:
    m = holes(MANY, (24, 32))[:, 0]
    assert set(m.unique().tolist()) == {0.0, 1.0}
    everything = m.flatten(1).all(1).float().mean().item()
    assert everything == pytest.approx(1 - sum(SHARES), abs=0.03)
    boxes = torch.stack([_is_box(one) for one in m]).float().mean().item()
    rest = torch.stack([_is_box(1 - one) for one in m if not one.all()]).float().mean().item()
    assert boxes - everything == pytest.approx(SHARES[0], abs=0.04)
    assert rest * (1 - everything) == pytest.approx(SHARES[2], abs=0.03)
    assert m.mean().item() == pytest.approx(0.4, abs=0.1)


def _is_box(m: Tensor) -> Tensor:
    rows, columns = m.any(1), m.any(0)
    return (m == rows[:, None] * columns[None]).all() & m.any()


def test_a_stroke_covers_what_is_near_to_its_line() -> None:
    size = (20, 30)
    which = (MANY.uniform("kind of hole") > SHARES[0]) & (MANY.uniform("kind of hole") < SHARES[0] + SHARES[1])
    k = int(torch.nonzero(which)[0])
    p = MANY.uniform("points of a stroke", POINTS, 2)[k] * torch.tensor(size)
    r = (RADII[0] + (RADII[1] - RADII[0]) * MANY.uniform("radius of a stroke")[k]) * 20
    line = torch.cat([torch.lerp(p[n], p[n + 1], torch.linspace(0, 1, 2000)[:, None]) for n in range(POINTS - 1)])
    q = torch.stack(torch.meshgrid(torch.arange(20) + 0.5, torch.arange(30) + 0.5, indexing="ij"), -1)
    apart = torch.cdist(q.reshape(-1, 2), line).amin(1).reshape(size)
    clear = (apart - r).abs() > 0.02
    assert torch.equal((apart <= r).float()[clear], holes(MANY, size)[k, 0][clear])


def test_what_cannot_be_is_refused() -> None:
    for wrong in ({"factor": 1}, {"augmentation": 1.0}, {"augmentation": -0.1}):
        with pytest.raises(ValueError):
            Lowres(**wrong)
    with pytest.raises(ValueError, match="at most 64"):
        LayoutMap(colours=tuple((k, 0, 0) for k in range(65)))
