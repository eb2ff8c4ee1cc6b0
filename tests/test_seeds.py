"""Random numbers: the right law, independent of everything but (seed, purpose, step, sample)."""

import math

import pytest
import torch
from torch import Tensor

from carrara.seeds import Draws, integer, mix, permutation, torch_generator

COUNT = 40_000


def draws(count: int = COUNT, seed: int = 0, step: int = 0) -> Draws:
    return Draws(seed, torch.arange(count), step)


def distance(sample: Tensor, cdf: Tensor) -> float:
    """Kolmogorov and Smirnov's: the largest distance of the sample's distribution function from ``cdf``."""
    n = len(sample)
    rank = torch.arange(n + 1, dtype=torch.float64) / n
    ordered = cdf.sort().values
    return max((rank[1:] - ordered).max().item(), (ordered - rank[:-1]).max().item())


def normals(**place: int) -> dict[str, Tensor]:
    """Normal numbers along each direction in which they could depend on each other."""
    wide = draws(4, **place).normal("x", COUNT).double()
    return {"samples": draws(**place).normal("x").double(), "elements": wide[0], "other sample": wide[3]}


@pytest.mark.parametrize("along", ["samples", "elements", "other sample"])
def test_normal_numbers_have_the_normal_s_moments_and_distribution(along: str) -> None:
    z = normals()[along]
    for power, (moment, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96), 6: (15, 10170)}.items():
        assert z.pow(power).mean().item() == pytest.approx(moment, abs=4 * math.sqrt(variance / COUNT))
    assert distance(z, torch.special.ndtr(z)) < 1.95 / math.sqrt(COUNT)
    assert 3.7 < z.abs().max() < 6.5


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_uniform_numbers_are_uniform_and_never_0_or_1(shape: tuple[int, ...]) -> None:
    u = draws(COUNT // math.prod(shape)).uniform("x", *shape).flatten().double()
    assert u.min() > 0
    assert u.max() < 1
    assert distance(u, u) < 1.95 / math.sqrt(len(u))
    assert u.mean().item() == pytest.approx(0.5, abs=4 / math.sqrt(12 * len(u)))


def test_the_ends_of_the_uniform_numbers_stay_inside_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = torch.tensor([[0, -1]])  # all bits 0 and all bits 1
    monkeypatch.setattr(Draws, "_bits", lambda *_: ends)
    low, high = draws(1).uniform("x", 2)[0].tolist()
    assert (low, high) == (2.0**-24, 1 - 2.0**-24)
    assert bool(draws(1).normal("x", 4).isfinite().all())


def test_integers_cover_their_range_evenly() -> None:
    counts = torch.bincount(draws().integer("x", 7), minlength=7).double()
    assert len(counts) == 7
    chi2 = ((counts - COUNT / 7) ** 2 / (COUNT / 7)).sum().item()
    assert chi2 < 22.5  # the 0.999 quantile at 6 degrees of freedom


def correlation(a: Tensor, b: Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).double())[0, 1].item()


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_other_purposes_steps_seeds_and_samples_are_independent(kind: str) -> None:
    def numbers(purpose: str = "x", seed: int = 0, step: int = 0, first: int = 0) -> Tensor:
        return getattr(Draws(seed, torch.arange(first, first + 200), step), kind)(purpose, 200)

    here = numbers()
    others = [numbers("y"), numbers(seed=1), numbers(step=1), numbers(first=200), numbers(first=2**40)]
    others += [here.roll(1, 0), here.roll(1, 1)]  # neighbouring samples, neighbouring elements
    for other in others:
        assert abs(correlation(here, other)) < 4 / 200
        assert abs(correlation((here - here.mean()) ** 2, (other - other.mean()) ** 2)) < 4 / 200
    pairs = here[:, ::2].unsqueeze(-1) - here[:, 1::2].unsqueeze(-1)
    assert pairs.abs().min() < 1e-3  # neighbours differ by any amount, small ones too


def test_seed_step_and_sample_are_not_added_up() -> None:
    """Seed 1 at step 0 is not seed 0 at step 1, sample 1 of the one not sample 0 of the other, and so on."""
    rows = [Draws(s, torch.arange(3), k).normal("x", 8) for s in range(3) for k in range(3)]
    first = torch.cat(rows)[:, 0]
    assert len(first.unique()) == 27


@pytest.mark.parametrize("shape", [(), (5,), (3, 4, 4)])
def test_a_sample_draws_the_same_alone_or_among_others_in_any_order(shape: tuple[int, ...]) -> None:
    samples = torch.tensor([7, 3, 12345678901, 0, 64])
    for kind in ("normal", "uniform"):
        together = getattr(Draws(1, samples, 9), kind)("x", *shape)
        assert together.dtype == torch.float32
        assert together.shape == (5, *shape)
        for k, sample in enumerate(samples):
            alone = getattr(Draws(1, sample[None], 9), kind)("x", *shape)
            assert torch.equal(together[k], alone[0])
        assert torch.equal(getattr(Draws(1, samples.flip(0), 9), kind)("x", *shape), together.flip(0))


def test_at_is_another_step_of_the_same_samples() -> None:
    assert torch.equal(draws(8).at(5).normal("x", 2), draws(8, step=5).normal("x", 2))
    assert not torch.equal(draws(8).at(5).normal("x", 2), draws(8).normal("x", 2))


def test_negative_and_huge_seeds_are_seeds_too() -> None:
    """A sample's number in a request is the user's seed: any whole number of 64 bits."""
    samples = torch.tensor([-1, 2**63 - 1, -(2**63), 0])
    z = Draws(0, samples).normal("x", 1000)
    assert bool(z.isfinite().all())
    assert torch.corrcoef(z).fill_diagonal_(0).abs().max() < 0.15


@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_permutation_has_every_number_once(count: int) -> None:
    assert permutation(count, "epoch", 3).sort().values.tolist() == list(range(count))


def test_permutations_are_uniform_over_places_and_orders() -> None:
    shuffles = torch.stack([permutation(4, 0, "epoch", k) for k in range(6000)])
    for place in range(4):
        counts = torch.bincount(shuffles[:, place], minlength=4)
        assert counts.min() > 1500 - 4 * 34
        assert counts.max() < 1500 + 4 * 34
    orders = torch.bincount((shuffles * torch.tensor([64, 16, 4, 1])).sum(1))
    assert (orders > 0).sum() == 24
    assert ((orders[orders > 0] - 250.0) ** 2 / 250).sum() < 49.8  # the 0.999 quantile at 23 degrees of freedom


def test_permutations_depend_on_every_part() -> None:
    assert torch.equal(permutation(50, 0, "epoch", 1), permutation(50, 0, "epoch", 1))
    others = [permutation(50, 1, "epoch", 1), permutation(50, 0, "epoch", 2), permutation(50, 0, "split", 1)]
    assert not any(torch.equal(permutation(50, 0, "epoch", 1), other) for other in others)


def test_integer_is_the_same_everywhere_and_always() -> None:
    """Pinned: saved runs resume with it."""
    assert integer("noise", 0, -3) == integer("noise", 0, -3)
    assert integer("a", "b") != integer("ab")
    assert integer("1") != integer(1)
    assert all(0 <= integer("x", k) < 2**63 for k in range(100))
    assert integer(0, "initial weights") == 7251058204851727424
    assert Draws(0, torch.tensor([0])).normal("noise", 2)[0].tolist() == pytest.approx([1.425766, 0.4452581], rel=1e-6)


def test_mix_is_splitmix64_s() -> None:
    """The first outputs of the published generator from seed 1234567 (Steele, Lea and Flood, 2014; Vigna's listing)."""
    gamma = -0x61C8864680B583EB
    states = torch.tensor([1234567]) + torch.arange(1, 4) * gamma
    found = [value % 2**64 for value in mix(states).tolist()]
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_mix_moves_half_of_the_output_s_bits() -> None:
    x = torch.arange(2000)
    for bit in (0, 31, 62):
        changed = mix(x) ^ mix(x ^ (1 << bit))
        ones = sum(((changed >> k) & 1).double() for k in range(64))
        assert ones.mean().item() == pytest.approx(32, abs=0.4)


def test_torch_generator_seeds_inside_and_restores_outside() -> None:
    before = torch.get_rng_state()
    with torch_generator(0, "weights"):
        first = torch.randn(4)
    assert torch.equal(torch.get_rng_state(), before)
    with torch_generator(0, "weights"):
        assert torch.equal(torch.randn(4), first)
    with torch_generator(1, "weights"):
        assert not torch.equal(torch.randn(4), first)
    with pytest.raises(RuntimeError), torch_generator(0):
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), before)
