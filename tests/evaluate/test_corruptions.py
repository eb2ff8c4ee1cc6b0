"""Known corruptions move every metric the right way: a small version of ``benchmarks/corruptions.py``."""

from pathlib import Path
from types import ModuleType

import pytest
from torch import Tensor

from carrara.evaluate import Features
from carrara.seeds import permutation


@pytest.fixture
def corruptions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return __import__("corruptions")


@pytest.mark.parametrize(("name", "levels"), [("blur", (0.6, 2.0)), ("noise", (0.1, 0.4)), ("jpeg", (60, 92))])
def test_metrics_move_the_right_way(
    corruptions: ModuleType, small: Features, pictures: Tensor, seen: Tensor, name: str, levels: tuple[float, ...]
) -> None:
    order = permutation(len(pictures), "corruptions")
    samples, real = pictures[order[:150]], seen[order[150:300]]
    found = corruptions.curves(small, samples, real, getattr(corruptions, name), levels)
    for metric in ("fid", "kid"):
        clean, some, much = found[metric]
        assert clean < some < much, (metric, found[metric])
    for metric in ("precision", "recall", "density", "coverage"):  # neighbours hardly notice what is slight
        assert found[metric][2] < found[metric][0], (metric, found[metric])


def test_the_chart_and_the_table(corruptions: ModuleType) -> None:
    names = ("fid", "kid", "precision", "recall", "density", "coverage")
    found = {kind: {name: [0.1, 0.2, 0.3, 0.4, 0.5] for name in names} for kind in corruptions.CORRUPTIONS}
    assert corruptions.chart(found).width > 1000
    rows = list(corruptions.table(found))
    assert len(rows) == 2 + 3 * 5
    assert rows[2] == "| blur, px | 0 | 0.1 | 0.1 | 0.1 | 0.1 | 0.1 | 0.1 |"
