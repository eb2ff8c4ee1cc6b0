"""Conditions: labels, several, mixed, vectors; dropped by one coin per sample; typed by people."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from carrara.conditioning import (
    Conditioner,
    Labels,
    LabelsConfig,
    Unconditional,
    UnconditionalConfig,
    Vectors,
    VectorsConfig,
)
from carrara.errors import UserError
from carrara.seeds import Draws, torch_generator
from carrara.types import UNCONDITIONAL, Conditioning

ANIMALS = ("cat", "dog", "red panda", "a+b", "3:2")


def labels() -> Labels:
    conditioner = LabelsConfig(classes=ANIMALS).build(8)
    assert isinstance(conditioner, Labels)
    torch.nn.init.normal_(conditioner.nothing)
    return conditioner


def vectors() -> Vectors:
    conditioner = VectorsConfig(size=3).build(8)
    assert isinstance(conditioner, Vectors)
    return conditioner


def vector(cond: Conditioning) -> Tensor:
    assert cond.vector is not None
    assert (cond.tokens, cond.mask, cond.image) == (None, None, None)
    return cond.vector


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch_generator(0):
        yield


def test_a_label_is_its_row_several_are_their_sum_and_halves_their_mean() -> None:
    told = labels()
    rows = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 0]])
    embedded = vector(told({"label": rows}))
    cat, dog = told.table[0], told.table[1]
    torch.testing.assert_close(embedded, torch.stack([cat, cat + dog, (cat + dog) / 2, torch.zeros(8)]))


def test_vectors_are_embedded_linearly() -> None:
    told = vectors()
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    both = vector(told({"vector": 2 * x - y}))
    torch.testing.assert_close(both, 2 * vector(told({"vector": x})) - vector(told({"vector": y})))


@pytest.mark.parametrize("make", [labels, vectors])
def test_null_is_one_learned_vector_that_no_column_makes(make: Callable[[], Labels | Vectors]) -> None:
    told = make()
    torch.nn.init.normal_(told.nothing)
    null = vector(told.null(3))
    assert null.shape == (3, 8)
    assert torch.equal(null, told.nothing.expand(3, -1))
    zero = vector(told.embed({str(told.column): torch.zeros(1, told.table.shape[0])}))
    assert not torch.allclose(zero, null[:1])


def test_each_sample_has_its_own_coin() -> None:
    """Batch, classes and width are equal here: a coin along the wrong axis would show."""
    told = LabelsConfig(classes=("a", "b", "c", "d")).build(4)
    assert isinstance(told, Labels)
    torch.nn.init.normal_(told.nothing)
    keep = torch.tensor([True, False, False, True])
    mixed = vector(told({"label": torch.eye(4)}, keep))
    assert torch.equal(mixed, torch.stack([told.table[0], told.nothing, told.nothing, told.table[3]]))


def test_dropping_teaches_the_null_and_not_the_dropped_label() -> None:
    told = labels()
    keep = torch.tensor([True, False])
    vector(told({"label": torch.eye(5)[:2]}, keep)).sum().backward()
    assert told.table.grad is not None
    assert told.nothing.grad is not None
    assert told.table.grad.abs().amax(1).tolist() == [1, 0, 0, 0, 0]
    assert told.nothing.grad.tolist() == [1] * 8


def test_dropping_is_independent_from_sample_to_sample_and_of_the_batch() -> None:
    draws = Draws(0, torch.arange(8000))
    keep = draws.uniform("condition dropout") >= 0.1
    assert keep.double().mean().item() == pytest.approx(0.9, abs=4 * (0.09 / 8000) ** 0.5)
    dropped = ~keep
    both = (dropped[1:] & dropped[:-1]).double().mean().item()
    assert both == pytest.approx(0.01, abs=4 * (0.01 / 8000) ** 0.5)


@pytest.mark.parametrize("make", [labels, vectors])
def test_every_parameter_learns(make: Callable[[], Conditioner]) -> None:
    told = make()
    rows = torch.randn(4, 5 if isinstance(told, Labels) else 3)
    vector(told({str(told.column): rows}, torch.tensor([True, True, True, False]))).square().sum().backward()
    assert all(p.grad is not None for p in told.parameters())


def test_unconditional_says_nothing() -> None:
    told = UnconditionalConfig().build(8)
    assert isinstance(told, Unconditional)
    assert told.column is None
    assert told({}) == told.null(3) == told({}, torch.tensor([True, False])) == UNCONDITIONAL
    assert list(told.parameters()) == []
    with pytest.raises(UserError, match="this model is unconditional, so it cannot be asked for 'cat'"):
        told.parse("cat")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("cat", [1, 0, 0, 0, 0]),
        (" dog ", [0, 1, 0, 0, 0]),
        ("cat+dog", [1, 1, 0, 0, 0]),
        ("cat + red panda", [1, 0, 1, 0, 0]),
        ("cat:0.5+dog:0.5", [0.5, 0.5, 0, 0, 0]),
        ("cat:0.25 + dog: 0.75", [0.25, 0.75, 0, 0, 0]),
        ("red panda:-1", [0, 0, -1, 0, 0]),
        ("cat+cat", [2, 0, 0, 0, 0]),
        ("a+b", [0, 0, 0, 1, 0]),
        ("3:2", [0, 0, 0, 0, 1]),
        ("3:2:0.5", [0, 0, 0, 0, 0.5]),
    ],
)
def test_what_people_type_for_labels(text: str, row: list[float]) -> None:
    assert labels().parse(text).tolist() == row


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cta", r"unknown label 'cta': it is one of cat, dog, red panda, a\+b, 3:2\. Did you mean 'cat'\?"),
        ("cat+dgo", "unknown label 'dgo'.* Did you mean 'dog'"),
        ("redpanda:0.5", "unknown label 'redpanda.*Did you mean 'red panda'"),
        ("Cat", "unknown label 'Cat'.* Did you mean 'cat'"),
        ("", "unknown label ''"),
        ("cat+", "unknown label ''"),
        ("cat:much", "'much' in 'cat:much' is not a number"),
        ("cat:", "'' in 'cat:' is not a number"),
        ("cat:nan", "'nan' in 'cat:nan' is not a number"),
        ("cat:inf", "'inf' in 'cat:inf' is not a number"),
    ],
)
def test_what_people_mistype_for_labels(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        labels().parse(text)
    assert "\n" not in str(error.value)


def test_what_people_type_for_vectors() -> None:
    assert vectors().parse("0.5,-1, 3e1").tolist() == [0.5, -1, 30]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2", "told 3 numbers per picture, but '1,2' has 2"),
        ("1,2,3,4", "has 4"),
        ("1,x,3", "'x' in '1,x,3' is not a number"),
        ("1,,3", "'' in '1,,3' is not a number"),
        ("", "is not a number"),
        ("1,nan,3", "'nan' in '1,nan,3' is not a number"),
    ],
)
def test_what_people_mistype_for_vectors(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        vectors().parse(text)


def test_conditions_without_content_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="needs class names: make one sub-folder per class"):
        LabelsConfig().build(8)
    with pytest.raises(ValueError, match=r"needs a \"vector\" of numbers per picture in metadata\.jsonl"):
        VectorsConfig().build(8)
