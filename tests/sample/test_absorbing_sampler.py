"""The absorbing sampler against laws that are known: chi-squares of fixed seeds, at the quantile 0.999."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from carrara.errors import UserError
from carrara.noise import RectifiedFlow
from carrara.noise.absorbing import channels_of, grouped, masked_except, one_hot, seen_in
from carrara.sample import (
    Absorbing,
    Apg,
    Repaint,
    SampleSettings,
    Uniform,
    Unmasking,
    draws_for,
    generate,
    inpainting,
    last,
    noise_for,
    sampler,
)
from carrara.sample.absorbing import product, revealed
from carrara.types import DenoiseFn
from states import ALL, K, arranged, chi_square, conditionals, counts_of, exact, law, states_of

MANY = 6000
SCHEDULE = RectifiedFlow()
LAYOUTS = pytest.mark.parametrize("channels", [1, 3])
QUANTILE = {2: 13.8, 8: 26.1, 26: 54.1}
"""Of chi-squares by their degrees of freedom, below which 0.999 of them are."""


def shape(channels: int) -> tuple[int, int]:
    return (channels * K, 3 // channels)


def drawn(denoise: DenoiseFn, channels: int, steps: int, seeds: int = MANY, remask: float = 0.0) -> Tensor:
    how = Absorbing(remask=remask)
    dims, grid = shape(channels), Uniform()
    return last(generate(denoise, dims, range(seeds), sampler=how, grid=grid, steps=steps, schedule=SCHEDULE)).x


@LAYOUTS
def test_the_forward_process_masks_each_value_by_itself(channels: int) -> None:
    z = arranged(ALL[torch.arange(MANY) % len(ALL)], channels)
    x = Absorbing().noised(draws_for(range(MANY)), z, SCHEDULE, torch.tensor(0.3, dtype=torch.float64))
    seen = seen_in(x, channels)
    assert torch.equal(x, masked_except(z, seen))
    number = torch.bincount(seen.flatten(1).sum(1), minlength=4).double()
    alpha = 0.7
    binomial = torch.tensor([(1 - alpha) ** 3, 3 * alpha * (1 - alpha) ** 2, 3 * alpha**2 * (1 - alpha), alpha**3])
    assert chi_square(number, binomial.double()) < 16.3  # three degrees of freedom
    ends = (Absorbing().noised(draws_for(range(MANY)), z, SCHEDULE, torch.tensor(t)) for t in (0.0, 1.0))
    assert torch.equal(next(ends), z) and not next(ends).any()


@LAYOUTS
def test_a_step_of_the_truth_is_the_posterior(channels: int) -> None:
    """Masked at t and revealed to s, data are as if they had been masked at s: what was seen stays seen."""
    z, t, s = arranged(ALL[torch.arange(MANY) % len(ALL)], channels), 0.8, 0.3
    draws = draws_for(range(MANY))
    x_t = Absorbing().noised(draws, z, SCHEDULE, torch.tensor(t, dtype=torch.float64))
    x_s = revealed(x_t, z, ((1 - s) - (1 - t)) / t, noise_for(draws, z.shape[1:])(0))
    before, after = seen_in(x_t, channels), seen_in(x_s, channels)
    assert torch.equal(x_s, masked_except(z, after)) and not (before & ~after).any()
    for chance, which in ((1 - s, after), ((t - s) / t, after[~before])):
        error = (chance * (1 - chance) / which.numel()) ** 0.5
        assert abs(which.double().mean().item() - chance) < 4 * error


def test_what_is_revealed_says_nothing_of_when() -> None:
    p = torch.tensor([0.6, 0.3, 0.1, 0.0])
    x0, x = p.reshape(1, 4, 1).expand(4 * MANY, 4, 1), torch.zeros(4 * MANY, 4, 1)
    made = revealed(x, x0, 0.25, noise_for(draws_for(range(4 * MANY)), (4, 1))(3))[..., 0]
    counts = torch.cat([made.sum(0)[:3], (made.sum(1) == 0).sum()[None]]).double()
    assert made.sum(0)[3] == 0
    assert chi_square(counts, torch.cat([0.25 * p[:3], torch.tensor([0.75])]).double()) < 16.3


def test_the_last_step_reveals_all_and_what_is_seen_stays() -> None:
    x, eps = arranged(ALL, 1) * torch.tensor([1.0, 0.0, 1.0]), torch.full((27, 3, 3), 40.0)
    made = revealed(x, torch.full_like(x, 1 / 3), 1.0, eps)
    assert bool(seen_in(made, 1).all()) and torch.equal(made[..., [0, 2]], x[..., [0, 2]])
    assert torch.equal(revealed(x, torch.full_like(x, 1 / 3), 0.0, torch.randn(27, 3, 3)), x)


def test_estimates_that_are_no_probabilities_are_made_some() -> None:
    """Guidance may leave numbers below 0 and other sums; of nothing at all every state is as likely."""
    eps = noise_for(draws_for(range(MANY)), (3, 1))(0)
    made = revealed(
        torch.zeros(MANY, 3, 1), torch.tensor([-1.0, 1.5, 0.5]).reshape(1, 3, 1).expand(MANY, 3, 1), 1.0, eps
    )
    counts = made.sum((0, 2)).double()
    assert counts[0] == 0 and chi_square(counts[1:], torch.tensor([0.75, 0.25]).double()) < 10.9
    nothing = torch.tensor([0.0, 2.0, -1.0]).reshape(1, 3, 1) * torch.tensor([1.0, 0.0])
    other = revealed(
        torch.zeros(MANY, 3, 2), nothing.expand(MANY, 3, 2), 1.0, noise_for(draws_for(range(MANY)), (3, 2))(0)
    )
    assert bool(other[:, 1, 0].all())
    assert chi_square(other[..., 1].sum(0).double(), torch.full((3,), 1 / 3).double()) < QUANTILE[2]


@LAYOUTS
def test_many_steps_draw_the_law_and_one_does_not(channels: int) -> None:
    made = drawn(exact(law(), channels), channels, steps=64)
    assert bool(seen_in(made, channels).all()) and channels_of(made) == channels
    assert chi_square(counts_of(states_of(made, channels)), law()) < QUANTILE[26]
    at_once = counts_of(states_of(drawn(exact(law(), channels), channels, steps=1), channels))
    assert chi_square(at_once, law()) > 10 * QUANTILE[26], "values that are revealed together do not know each other"
    alone = conditionals(law(), torch.zeros(1, *shape(channels)), channels)
    marginals = grouped(alone, channels)[0].movedim(1, -1).reshape(3, K)
    apart = marginals[0][ALL[:, 0]] * marginals[1][ALL[:, 1]] * marginals[2][ALL[:, 2]]
    assert chi_square(at_once, apart) < QUANTILE[26]


@LAYOUTS
def test_remasking_keeps_the_share_of_what_is_seen(channels: int) -> None:
    times, dims, draws = Uniform()(8, SCHEDULE), shape(channels), draws_for(range(MANY))
    x = Absorbing().initial(draws, dims, SCHEDULE)
    how, lost = Absorbing(remask=0.4), 0
    for step in how.steps(exact(law(), channels), x, times, SCHEDULE, noise_for(draws, dims)):
        before, x = seen_in(x, channels), step.x
        after = seen_in(x, channels)
        lost += (before & ~after).sum().item()
        share = 1 - step.t
        assert abs(after.double().mean().item() - share) <= 4 * (share * (1 - share) / after.numel()) ** 0.5
    assert lost > MANY / 2 and bool(after.all())


@pytest.mark.parametrize("channels", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_remasking_draws_the_law_and_mends_what_was_wrong(channels: int) -> None:
    """A model that knows nothing until it sees two of three values: what was drawn so is drawn again."""

    def blind(x: Tensor, t: Tensor) -> Tensor:
        few = seen_in(x, channels).flatten(1).sum(1) < 2
        p = exact(law(), channels)(x, t)
        return torch.where(few.reshape(-1, *[1] * (x.ndim - 1)), torch.full_like(p, 1 / K), p)

    made = [
        states_of(drawn(denoise, channels, 128, remask=rho), channels)
        for denoise, rho in ((exact(law(), channels), 0.05), (blind, 0.0), (blind, 0.05))
    ]
    right, wrong, mended = (chi_square(counts_of(states), law()) for states in made)
    assert right < QUANTILE[26] and mended < wrong / 2


def test_a_remasking_is_a_probability() -> None:
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="from 0 to 1"):
            Absorbing(remask=wrong)


@pytest.mark.parametrize("remask", [0.0, 0.05])
@LAYOUTS
def test_inpainting_draws_the_conditional_law(channels: int, remask: float) -> None:
    given = torch.tensor([[0, 2, 0]])
    new = torch.tensor([True, False, True]).reshape(1, channels, -1).repeat_interleave(K, 1)
    draws, times, dims = draws_for(range(MANY)), Uniform()(64, SCHEDULE), shape(channels)
    known = arranged(given, channels).expand(MANY, *dims)
    x = Absorbing().initial(draws, dims, SCHEDULE)
    how, denoise, noise = Unmasking(remask=remask), exact(law(), channels), noise_for(draws, dims)
    made = states_of(last(how.steps(denoise, x, times, SCHEDULE, noise, known=known, new=new)).x, channels)
    assert bool((made[:, 1] == 2).all())
    fits = ALL[:, 1] == 2
    assert chi_square(counts_of(made)[fits], law()[fits] / law()[fits].sum()) < QUANTILE[8]


def test_a_sample_is_the_same_alone_and_among_others() -> None:
    denoise = exact(law(), 1)
    among = drawn(denoise, 1, steps=7, seeds=64)
    alone = generate(denoise, shape(1), [41], sampler=Absorbing(), grid=Uniform(), steps=7, schedule=SCHEDULE)
    assert torch.equal(last(alone).x[0], among[41])
    assert len(among.unique(dim=0)) > 9


def test_sampling_begins_masked_at_any_time() -> None:
    begun = Absorbing().initial(draws_for([1, 2]), (6, 4), SCHEDULE, 0.7)
    assert begun.shape == (2, 6, 4) and begun.dtype == torch.float32 and not begun.any()


def test_guidance_is_a_product() -> None:
    cond = torch.tensor([0.7, 0.2, 0.1]).reshape(1, 3, 1)
    null = torch.tensor([0.5, 0.1, 0.4]).reshape(1, 3, 1)
    t = torch.tensor(0.5)
    for w in (0.0, 1.0, 2.5):
        power = null * (cond / null) ** w
        torch.testing.assert_close(product(cond, t, cond, null, w), power / power.sum(1))
    settings = SampleSettings(sampler=Absorbing(), guidance=2.5)
    guided = settings.wrap(lambda x, t: cond, lambda x, t: null, SCHEDULE)
    torch.testing.assert_close(guided(cond, t), product(cond, t, cond, null, 2.5))


def test_guided_states_that_are_seen_stay_seen() -> None:
    z = one_hot(torch.tensor([[[1, 0]]]), 4)
    torch.testing.assert_close(product(z, torch.tensor(0.5), z, z, 30.0), z)


def test_names_and_what_goes_with_what() -> None:
    assert sampler("absorbing") == Absorbing() and sampler("Absorbing") == Absorbing()
    assert inpainting(Absorbing(remask=0.1)) == Unmasking(remask=0.1) and inpainting(sampler("ddim")) == Repaint()
    settings = SampleSettings(sampler=Absorbing())
    settings.check(levels=True)
    SampleSettings().check(levels=False)
    with pytest.raises(UserError, match="for models of levels"):
        settings.check(levels=False)
    with pytest.raises(UserError, match="goes from masks to levels, and dpmpp"):
        SampleSettings().check(levels=True)
    for other in (replace(settings, rescale=0.5), replace(settings, method=Apg()), replace(settings, threshold=0.9)):
        with pytest.raises(UserError, match="product of probabilities"):
            other.check(levels=True)
    with pytest.raises(UserError, match="'apg' is not"):
        Absorbing().rule(Apg(), SCHEDULE)
