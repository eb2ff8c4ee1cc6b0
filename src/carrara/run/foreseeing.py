"""``--plan``: a step of one of many processes, without the others and without numbers.

The trainer's own code runs, on torch's fake process group, with tensors that have a shape and no memory: it shards,
computes, sends and updates, and ``measure.recording`` looks on. Two things are not as in a training: batches of cached
latents are made of pictures here, and attention in bfloat16 is computed as on a GPU.
"""

import os
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import (  # pyright: ignore[reportPrivateUsage]
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

from carrara.data import CaptionTable
from carrara.errors import UserError, option
from carrara.measure.recording import Recorder, state_of
from carrara.measure.timing import flops_of
from carrara.model import ModelConfig
from carrara.nn import attending_as_gpus
from carrara.recipe import build
from carrara.recipe.kinds import Kind, kind_of
from carrara.recipe.schema import Recipe
from carrara.run.cluster import Cluster
from carrara.run.foreseen import Foreseen, Step, check_batch
from carrara.store.latents import captioned
from carrara.train import Clock, TrainSettings, TrainState, sharding, train
from carrara.types import Batch

STEP = 1 << 30
"""Which one: so far in the training that all has begun that begins late, such as a critic."""
_SIZES = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)


def foresee(recipe: Recipe, cluster: Cluster) -> Foreseen:
    """Makes the step.

    Args:
        recipe: of one stage.

    Raises:
        UserError: the processes cannot share the batch, or sizes of tensors hang on numbers.
    """
    kind = kind_of(recipe)
    check_batch(recipe.train, cluster)
    if not kind.pictures:
        raise UserError(f"{option('plan')} is for what learns from data, and this learns from its teacher's samples")
    with pretended(cluster.gpus, cluster.per_host), attending_as_gpus(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's, which a training gives, too
        try:
            step = _Training(recipe, kind, cluster.gpus).step()
        except _SIZES as error:
            raise UserError(
                f"this recipe cannot be planned, because its training computes with sizes that only data know ({error})"
            ) from error
    return Foreseen(cluster=cluster, settings=recipe.train, step=step)


@contextmanager
def pretended(world: int, per_host: int) -> Generator[None]:
    """This process is the first of ``world``, whose others do not exist, ``per_host`` on each host.

    Raises:
        UserError: it is one of several that do.
    """
    if dist.is_initialized() or "WORLD_SIZE" in os.environ:
        raise UserError(f"{option('plan')} needs no other processes: start one alone, without torchrun")
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=world, store=FakeStore())
    os.environ["LOCAL_WORLD_SIZE"] = str(per_host)
    try:
        yield
    finally:
        del os.environ["LOCAL_WORLD_SIZE"]
        dist.destroy_process_group()


@final
class _Training:
    """A training without numbers."""

    def __init__(self, recipe: Recipe, kind: Kind[Any, Any], world: int) -> None:
        self._fake, self._recorder = FakeTensorMode(allow_non_fake_inputs=True), Recorder()
        training, _ = build.parts(recipe, build.dataset(recipe))
        batch = build.loader(recipe, captioned(training, _captions(kind)), 0, world).at(0)
        self._settings = settings_on_gpus(recipe.train)
        with self._recorder:  # sharding and moments are made of the network's own tensors: nothing is asked of the mode
            with self._fake:
                model = kind.model()
                cache = kind.cache(Path(), model, training, None)
                objective = kind.objective(model, encoded=cache is not None)
                batch = _map(batch, self._fake.from_tensor)
                batch = batch if cache is None else next(cache.encoded([batch]))
            self._state = TrainState(objective, self._settings)
        self._seed, self._batch = recipe.seed, batch

    def step(self) -> Step:
        """Makes it."""
        with self._fake:
            flops = flops_of(self._train)
            peak = dict(self._recorder.parts)
            messages = tuple(self._recorder.messages)
            self._recorder.peak = 0
            with self._recorder, self._state.ema.swapped_in():
                pass
        return Step(
            parameters=sum(p.numel() for p in self._state.objective.parameters() if p.requires_grad),
            state={part: sum(map(_bytes, tensors)) for part, tensors in state_of(self._state).items()},
            peak=peak,
            preview=self._recorder.peak,
            messages=messages,
            flops=flops,
        )

    def _train(self) -> None:
        with self._recorder:
            self._recorder.watch(self._state)
            self._state.clock = Clock(step=STEP)
            for _ in train(self._state, lambda _: iter([self._batch]), self._settings, seed=self._seed):
                pass


def settings_on_gpus(settings: TrainSettings) -> TrainSettings:
    """The same for a training that ends with that step, as GPUs would take it."""
    precision = "bfloat16" if settings.precision == "auto" else settings.precision
    alone = {"minutes": None, "until": None, "compile": False, "tune": False}
    return replace(settings, steps=STEP + 1, precision=precision, **alone)


def _captions(kind: Kind[Any, Any]) -> CaptionTable | None:
    """What reads captions, with numbers: a batch's lengths hang on them."""
    config = kind.config()
    if not isinstance(config, ModelConfig):
        return None
    return config.conditioner.build(config.backbone.vector_width).caption_table(None)


def _map(batch: Batch, change: Callable[[Tensor], Any]) -> Batch:
    columns = {name: change(column) for name, column in batch.columns.items()}
    return Batch(x=change(batch.x), position=change(batch.position), columns=columns)


def _bytes(tensor: Tensor) -> int:
    return sharding.own(tensor).untyped_storage().nbytes()
