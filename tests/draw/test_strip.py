"""A few samples on their way from noise are decoded where they were asked for, and nowhere else."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from carrara.draw import Ask, collect, request
from carrara.store import OpenModel, Store

STEPS = 3


@pytest.fixture(scope="module")
def emoji() -> OpenModel:
    return Store(torch.device("cpu")).open(Path("openmoji"))


@pytest.mark.parametrize(("strip", "decoded"), [(False, 1), (True, 1 + STEPS)])
def test_states_are_decoded_for_a_strip_alone(
    emoji: OpenModel, monkeypatch: pytest.MonkeyPatch, strip: bool, decoded: int
) -> None:
    calls, pixels = list[int](), type(emoji.model).pixels

    def counted(self: object, z: Tensor, **said: object) -> Tensor:
        calls.append(len(z))
        return pixels(self, z, **said)  # type: ignore[arg-type]

    monkeypatch.setattr(type(emoji.model), "pixels", counted)
    made = collect(emoji, request(emoji, Ask(prompts=("a red heart",), count=1, steps=STEPS)), strip=strip)
    assert len(calls) == decoded
    assert len(made.states) == decoded - 1


def test_who_kept_no_states_is_told_how_to(emoji: OpenModel) -> None:
    made = collect(emoji, request(emoji, Ask(prompts=("a red heart",), count=1, steps=STEPS)))
    with pytest.raises(ValueError, match=r"strip=True"):
        made.picture("strip")
