"""Shapes and the nouns: one number per sample is never broadcast along the width."""

import pytest
import torch

from carrara.shapes import expand
from carrara.types import UNCONDITIONAL, Batch, Conditioning


def test_expand_multiplies_sample_by_sample_even_if_the_width_is_the_batch() -> None:
    numbers, x = torch.tensor([1.0, 10.0, 100.0]), torch.ones(3, 3, 3, 3)
    product = expand(numbers, x) * x
    assert product[:, 0, 0, 0].tolist() == [1, 10, 100]
    assert product[1].unique().tolist() == [10]
    assert (expand(torch.tensor(2.0), x) * x).unique().tolist() == [2]


@pytest.mark.parametrize("shape", [(4,), (1,), (3, 1), (3, 3), (0,)])
def test_expand_refuses_any_other_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(\) or \(3,\) numbers, got"):
        expand(torch.ones(shape), torch.ones(3, 3, 3))


def test_expand_keeps_the_type_of_the_numbers() -> None:
    assert expand(torch.ones(2, dtype=torch.float64), torch.ones(2, 5)).dtype == torch.float64
    assert expand(torch.ones(2), torch.ones(2)).shape == (2,)


def conditioning(value: float) -> Conditioning:
    """Batch, length and width are all 3: the trap for a coin that is broadcast along another axis."""
    return Conditioning(
        vector=torch.full((3, 3), value),
        tokens=torch.full((3, 3, 3), value),
        mask=torch.full((3, 3), value > 0),
        image=torch.full((3, 3, 3, 3), value),
    )


def test_where_tosses_one_coin_per_sample_in_every_field() -> None:
    mixed = conditioning(1.0).where(torch.tensor([True, False, True]), conditioning(0.0))
    for value in (mixed.vector, mixed.tokens, mixed.mask, mixed.image):
        assert value is not None
        assert value.flatten(1).double().mean(1).tolist() == [1, 0, 1]


def test_then_has_the_samples_of_both() -> None:
    longer = Conditioning(**{**vars(conditioning(0.0)), "tokens": torch.zeros(3, 4, 3), "mask": torch.ones(3, 4) > 0})
    both = conditioning(1.0).then(longer)
    assert both.mask is not None
    assert both.mask.tolist() == 3 * [[True, True, True, False]] + 3 * [[True] * 4]
    for value in (both.vector, both.tokens, both.image):
        assert value is not None
        assert value.flatten(1).amax(1).tolist() == [1, 1, 1, 0, 0, 0]
    assert UNCONDITIONAL.then(UNCONDITIONAL) == Conditioning()


def test_where_keeps_absent_fields_absent() -> None:
    assert UNCONDITIONAL.where(torch.tensor([True, False]), UNCONDITIONAL) == Conditioning()
    some = Conditioning(vector=torch.ones(2, 4)).where(torch.tensor([False, True]), Conditioning(vector=torch.zeros(4)))
    assert some.tokens is None
    assert some.image is None
    assert some.vector is not None
    assert some.vector[:, 0].tolist() == [0, 1]


def batch() -> Batch:
    column = torch.arange(10.0)[:, None]
    return Batch(x=torch.arange(20.0).reshape(5, 4), position=torch.arange(5), columns={"label": column[:5]})


def test_split_cuts_everything_alike_and_loses_nothing() -> None:
    parts = list(batch().split(2))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part.x for part in parts]), batch().x)
    assert torch.equal(torch.cat([part.position for part in parts]), batch().position)
    assert torch.equal(torch.cat([part.columns["label"] for part in parts]), batch().columns["label"])
    assert [len(part) for part in batch().split(99)] == [5]


def test_to_moves_everything() -> None:
    moved = batch().to("meta")
    assert {moved.x.device.type, moved.position.device.type, moved.columns["label"].device.type} == {"meta"}
    assert len(moved) == 5
