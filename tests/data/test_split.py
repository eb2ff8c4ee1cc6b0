import numpy as np
import pytest
from picture_files import write

from carrara.data import Arrays, DataInfo, DigitsSource, Folder, fingerprint, nested, split
from carrara.data.settings import DataSettings


def numbered(count: int) -> Arrays:
    return Arrays(DataInfo(name="numbers", dimension=1), np.arange(count, dtype=np.float32)[:, None])


def values(dataset) -> set[float]:
    return {float(example.pixels[0]) for example in dataset}


def test_the_parts_are_disjoint_and_complete() -> None:
    train, held = split(numbered(2000), 0.1)
    assert values(train) | values(held) == set(range(2000)) and not values(train) & values(held)
    assert abs(len(held) - 200) < 4 * np.sqrt(2000 * 0.1 * 0.9)


def test_nobody_changes_sides_when_examples_are_added() -> None:
    train, held = split(numbered(500), 0.1)
    larger_train, larger_held = split(numbered(800), 0.1)
    assert values(train) <= values(larger_train) and values(held) <= values(larger_held)


def test_copies_are_on_the_same_side() -> None:
    dataset = Arrays(DataInfo(name="pairs", dimension=1), (np.arange(200, dtype=np.float32) % 100)[:, None])
    train, held = split(dataset, 0.3)
    assert not values(train) & values(held) and len(held) == 2 * len(values(held))


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_neither_part_is_empty_if_there_are_two_examples(count: int, fraction: float) -> None:
    assert all(len(part) for part in split(numbered(count), fraction))


def test_nothing_is_held_out_of_one_example_or_when_not_asked() -> None:
    assert [len(part) for part in split(numbered(1), 0.5)] == [1, 0]
    assert [len(part) for part in split(numbered(9), 0.0)] == [9, 0]


def test_renaming_files_changes_no_side(tmp_path) -> None:
    names = [f"{k}.png" for k in range(12)]
    _, held = split(Folder(write(tmp_path / "a", *names)), 0.3)
    _, renamed = split(Folder(write(tmp_path / "b", *[f"new-{name}" for name in names])), 0.3)
    assert sorted(held.key(k) for k in range(len(held))) == sorted(renamed.key(k) for k in range(len(renamed)))


def test_the_fingerprint_knows_contents_names_and_labels(tmp_path) -> None:
    first = fingerprint(Folder(write(tmp_path / "1", "a/x.png", "b/y.png")))
    assert first == fingerprint(Folder(write(tmp_path / "2", "a/x.png", "b/y.png")))
    others = [("a/y.png", "b/x.png"), ("b/x.png", "a/y.png"), ("a/x.png", "b/y.png", "b/z.png")]
    assert len({first, *(fingerprint(Folder(write(tmp_path / f"o{k}", *o))) for k, o in enumerate(others))}) == 4


def test_parts_of_a_data_set_lie_in_each_other_whatever_is_added() -> None:
    eighth, quarter, whole = (nested(numbered(800), part) for part in (1 / 8, 1 / 4, 1.0))
    assert [len(part) for part in (eighth, quarter, whole)] == [100, 200, 800]
    assert values(eighth) < values(quarter) < values(whole)
    assert values(nested(quarter, 0.5)) == values(eighth)
    assert values(nested(numbered(1000), 1 / 8)) & values(numbered(800)) <= values(quarter)
    assert len(nested(numbered(5), 0.01)) == 1


def test_a_part_is_of_the_training_data_and_leaves_the_held_out_ones() -> None:
    some, every = DataSettings(source=DigitsSource(), part=0.1), DataSettings(source=DigitsSource())
    whole = every.open()
    (train, held), (all_train, all_held) = some.parts(whole), every.parts(whole)
    assert len(train) == round(0.1 * len(all_train))
    assert [held.key(k) for k in range(len(held))] == [all_held.key(k) for k in range(len(all_held))]
    assert {train.key(k) for k in range(len(train))} < {all_train.key(k) for k in range(len(all_train))}
    for part in (0.0, -0.1, 1.1):
        with pytest.raises(ValueError, match="part is what is trained on"):
            DataSettings(part=part)
    assert repr(some) == repr(every)  # as digests were
