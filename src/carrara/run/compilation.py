"""``train.compile=auto``: has torch compile the network where that makes a training step faster, which is measured.

It is measured once for a network, a batch and a machine, and remembered in the user's cache folder; where the memory is
missing or damaged, or torch could not compile, it is tried again. The training itself is not touched: steps are made
with a copy of it.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import torch

from carrara.errors import UserError
from carrara.files import BadFile, cache_folder, read_as, replacing
from carrara.measure.model_speed import FOREVER, STEP
from carrara.measure.timing import Work, machine, time_in_turns
from carrara.nn import compile_for_training
from carrara.objective import Objective
from carrara.recipe.schema import Recipe
from carrara.train import TrainSettings, TrainState, distributed, train
from carrara.types import Batch

ROUNDS = 7
"""Steps whose median is taken, of either kind."""
WORTH = 1.05
"""Steps must be so many times as fast: compiling takes minutes, and a median of few steps is not exact."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What is remembered: how many times as fast steps become; 0 if torch cannot compile them."""

    gain: float


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something was decided, or takes its time: a sentence."""

    text: str


def compiled_if_faster(objective: Objective, batch: Batch, recipe: Recipe) -> Iterator[Note]:
    """Has an objective's network compiled for training if that is faster here; on all ranks or none.

    Args:
        objective: on its device.
        batch: of this rank.
    """
    if recipe.train.shard is not None:
        yield Note(text="train.compile=auto is measured with whole weights: nothing is compiled where they are sharded")
        return
    device = next(objective.parameters()).device
    memory = _memory(recipe, batch, device)
    gain = _recalled(memory)
    if distributed.anywhere(gain is None, device):
        yield Note(text="measuring whether torch.compile makes steps faster: this takes minutes, and is remembered")
        gain, why = _gain(objective, batch.to(device), recipe.train)
        if why:
            yield Note(text=f"torch.compile does not work here ({why}): training without it")
        else:
            _remember(memory, gain)
    assert gain is not None
    if distributed.anywhere(distributed.is_main() and gain >= WORTH, device):
        compile_for_training(objective)
        yield Note(text=f"compiled by torch: such steps were {gain:.2f} times as fast in a trial on this machine")
    elif gain:
        yield Note(text=f"not compiled by torch: such steps were {gain:.2f} times as fast in a trial on this machine")


def _gain(objective: Objective, batch: Batch, settings: TrainSettings) -> tuple[float, str]:
    """How many times as fast a compiled step is, and ""; or 0 and why there is none."""
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    settings = replace(settings, steps=FOREVER, minutes=None, compile=False)
    state = TrainState(deepcopy(objective), settings)
    steps = train(state, lambda _: repeat(batch), settings, seed=0)
    step = Work(name=STEP, do=lambda: next(steps))
    try:
        (plain,) = time_in_turns([step], ROUNDS, state.device)
        if not compile_for_training(state.objective):
            return 0.0, "no part of this model can be compiled"
        (compiled,) = time_in_turns([step], ROUNDS, state.device)
    except (TorchDynamoException, UserError, torch.OutOfMemoryError) as error:
        return 0.0, str(error).strip().partition("\n")[0][:200]
    finally:
        steps.close()
    return plain.median / compiled.median, ""


def _memory(recipe: Recipe, batch: Batch, device: torch.device) -> Path:
    """The file that remembers the gain of such a training on such a machine."""
    train = recipe.train
    how = train.optimizer, train.accumulate, train.recompute, train.precision, distributed.world()
    about = repr((machine(device), recipe.model, recipe.objective, how, batch.x.shape, sorted(batch.columns)))
    return cache_folder() / f"compile-{hashlib.blake2b(about.encode(), digest_size=8).hexdigest()}.json"


def _recalled(memory: Path) -> float | None:
    with suppress(BadFile):
        return read_as(memory, Gain).gain
    return None


def _remember(memory: Path, gain: float) -> None:
    with suppress(OSError), replacing(memory) as file:  # a memory that cannot be written is only slow
        file.write(json.dumps({"gain": gain}).encode())
