"""Copies are found, fresh pictures are not accused, and few pictures are no evidence."""

import json
from math import comb

import numpy as np
import pytest
import torch
from known import normal
from torch import Tensor

from carrara.evaluate import Features, Memorisation, closest_pairs, memorisation
from carrara.evaluate.distances import nearest_neighbours
from carrara.evaluate.memorisation import _at_least
from carrara.seeds import Draws, permutation

WIDTH = 16


def sets(seed: int, samples: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """Training, held-out and fresh vectors of one law, in clusters of different sizes."""
    count = 300 + 150 + samples
    cluster = torch.arange(count) % 5
    x = normal(count, WIDTH, seed) * (0.2 + cluster[:, None]) + 4 * normal(5, WIDTH, 99)[cluster]
    x = x[torch.from_numpy(np.random.default_rng(seed).permutation(count))]
    return x[:300], x[300:450], x[450:]


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.15])
def test_copies_and_near_copies_are_called_memorised(noise: float) -> None:
    for seed in range(4):
        training, held_out, _ = sets(seed)
        chosen = torch.arange(100) * 3
        spread = training.std(0).mean()
        found = memorisation(training[chosen] + noise * spread * normal(100, WIDTH, 7), training, held_out)
        assert found.verdict == "memorised", found.sentence
        assert found.chance < 1e-6
        if noise < 0.1:
            assert torch.equal(found.neighbour, chosen)


def test_fresh_draws_are_sound_whatever_the_seed() -> None:
    found = [memorisation(fresh, training, held_out) for training, held_out, fresh in map(sets, range(60))]
    assert {one.verdict for one in found} == {"sound"}
    assert np.mean([one.chance < 0.05 for one in found]) <= 0.1


def test_a_few_copies_among_fresh_draws_are_found() -> None:
    training, held_out, fresh = sets(0)
    fresh[::5] = training[:20] + 0.01
    found = memorisation(fresh, training, held_out)
    assert found.verdict == "memorised"
    assert set(found.order[:20].tolist()) == set(range(0, 100, 5))
    assert torch.equal(found.neighbour[::5], torch.arange(20))


def test_sixteen_training_pictures_are_enough_to_tell() -> None:
    training, held_out, fresh = (part[:100] for part in sets(0))
    copies = training[:16].repeat(4, 1) + 0.02 * normal(64, WIDTH, 3)
    assert memorisation(copies, training[:16], held_out).verdict == "memorised"
    assert memorisation(fresh[:64], training[:16], held_out).verdict == "sound"


@pytest.mark.parametrize("scale", [0.5, 0.1])
def test_samples_that_are_too_much_alike_are_another_fault(scale: float) -> None:
    """Their distance to the data would accuse them: they are near the middle, where all is near."""
    for seed in range(6):
        training, held_out, fresh = (normal(count, WIDTH, 10 * seed + k) for k, count in enumerate((500, 200, 200)))
        found = memorisation(scale * fresh, training, held_out)
        assert found.verdict == "sound"
        closest = nearest_neighbours(held_out, training)[0].sort(0).values[9]
        assert (found.distance < closest).double().mean() > 0.2


def test_few_pictures_say_nothing() -> None:
    training, held_out, fresh = sets(0)
    found = memorisation(fresh[:4], training, held_out)
    assert found.verdict == "too few pictures to say"
    assert "4 samples" in found.sentence
    assert memorisation(fresh, training, held_out[:8]).verdict == "too few pictures to say"
    assert memorisation(training[:6], training, held_out).verdict == "memorised"  # six copies are evidence all the same
    with pytest.raises(ValueError, match="two training pictures or more"):
        memorisation(fresh, training[:1], held_out)


@pytest.mark.parametrize(("samples", "rank", "held_out"), [(6, 1, 9), (5, 3, 7), (12, 2, 20)])
def test_chances_are_counted(samples: int, rank: int, held_out: int) -> None:
    """All orders are equally likely: j samples and a - 1 held-out pictures come before the a-th."""
    total = comb(samples + held_out, samples)
    law = [comb(j + rank - 1, j) * comb(samples - j + held_out - rank, samples - j) / total for j in range(samples + 1)]
    assert sum(law) == pytest.approx(1)
    for count in range(samples + 1):
        assert _at_least(count, samples, rank, held_out) == pytest.approx(sum(law[count:]), rel=1e-9)


def test_numbers_by_hand() -> None:
    training = torch.tensor([[0.0], [4], [10]])
    found = memorisation(torch.tensor([[1.0], [10]]), training, torch.tensor([[2.0]]))
    assert found.neighbour.tolist() == [0, 2]
    assert found.distance.tolist() == pytest.approx([1, 0], abs=1e-12)
    assert found.nearness.tolist() == pytest.approx([1 / ((1 + 3 + 9) / 3), 0])
    assert found.order.tolist() == [1, 0]
    assert found.threshold == pytest.approx(0.5 * 2 / ((2 + 2 + 8) / 3))
    assert found.share == 1.0 and found.expected == 0.5


def test_data_where_all_are_copies() -> None:
    same = torch.ones(30, 4)
    assert memorisation(same, same, same).share == 0  # as near as held-out pictures: no nearer


def test_pictures_and_their_spoilt_copies(small: Features, pictures: Tensor, seen: Tensor) -> None:
    order = permutation(len(seen), "memorisation")
    training, held_out, fresh = order[:250], order[250:400], order[400:]
    assert memorisation(seen[fresh], seen[training], seen[held_out]).verdict == "sound"
    shown = pictures[training[:100]]
    spoilt = shown + 0.02 * Draws(0, torch.arange(100)).normal("grain", *shown.shape[1:])
    found = memorisation(small(spoilt), seen[training], seen[held_out])
    assert found.verdict == "memorised", found.sentence
    assert (found.neighbour == torch.arange(100)).double().mean() > 0.9


def sheet_of(found: Memorisation, x: Tensor, training: Tensor) -> np.ndarray:
    return np.asarray(closest_pairs(found, lambda numbers: x[numbers], lambda indices: training[indices], count=2))


def test_the_sheet_shows_the_most_suspicious_sample_over_its_neighbour() -> None:
    vectors, held_out, fresh = sets(0, samples=10)
    fresh[7] = vectors[5]
    found = memorisation(fresh, vectors, held_out)
    x, training = -torch.ones(10, 3, 8, 8), -torch.ones(300, 1, 8, 8)
    x[7, 0], training[5] = 1.0, 1.0
    drawn = sheet_of(found, x, training)
    red, white = np.all(drawn == (255, 0, 0), axis=-1), np.all(drawn == (255, 255, 255), axis=-1)
    rows, columns = np.nonzero(red)
    assert len(rows) == 96 * 96
    assert white[rows.min() + 96 + 8 : rows.max() + 96 + 8, columns.min() : columns.max()].all()


def test_lines_and_data() -> None:
    training, held_out, fresh = sets(1)
    for found in (memorisation(fresh, training, held_out), memorisation(training[:100], training, held_out)):
        data = json.loads(json.dumps(found.data(), allow_nan=False))
        assert data["verdict"] in found.lines()[0]
        assert data["closest"][0][0] == found.order[0]
        assert all(len(line) < 160 for line in found.lines())
