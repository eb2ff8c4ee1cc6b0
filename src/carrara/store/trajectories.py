"""A teacher's solutions: from noise and a condition to a sample, cut where a student of few steps will stop.

They are made before training begins, kept in the run's ``trajectories/``, and are then the training data. Solution k is
a function of the run's seed and k: its noise, which example of the data says the condition, which of its captions, and
whether anything is said at all. No picture is looked at.

trajectories/<key>/00000.safetensors    the states of the first solutions, (n, N + 1, *S); 00001 has the next, and so on

The folder is named by its key, a hash of all that the numbers depend on. A file is written whole or not at all, so an
interruption costs no more than one. What is read stays on the disk: memory does not grow with the solutions.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from carrara.data import Captioned, CaptionTable, Dataset, batch_of, fingerprint
from carrara.data.base import Cell, Preparation
from carrara.errors import UserError, command
from carrara.files import BadFile, open_tensors, replacing, shapes
from carrara.model import DiffusionModel
from carrara.objective.fewstep import GRID, TOLD, FewStepSettings
from carrara.sample import DpmPp, SampleSettings, initial, noise_for
from carrara.seeds import Draws, integer
from carrara.store.latents import Cache, Encoding, bytes_missing
from carrara.train import distributed
from carrara.types import Batch

SOLUTIONS_A_FILE = 64
"""Solutions of a file, and of a batch of the teacher's."""
OPEN = 64
"""Files that are kept open."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Who makes solutions, and how.

    Attributes:
        model: on its device, in evaluation mode.
        distilled: into what.
    """

    model: DiffusionModel
    distilled: FewStepSettings

    @property
    def settings(self) -> SampleSettings:
        """How it samples: as ever, but by DPM-Solver++, which adds no noise, and stops where the student does."""
        wanted, own = self.distilled, self.model.config.sample
        steps = wanted.steps * -(-wanted.solver // wanted.steps)
        guidance = own.guidance if wanted.guidance is None else wanted.guidance
        return replace(own, sampler=DpmPp(), grid=GRID, steps=steps, guidance=guidance)

    @torch.no_grad()
    def solve(self, batch: Batch) -> Tensor:
        """Noise (B, *S) as ``batch.x``, and conditions, to states (B, N + 1, *S) on the CPU."""
        settings, schedule, model = self.settings, self.model.config.schedule, self.model
        batch = batch.to(model.device)
        told = batch.columns[TOLD][:, 0] > 0
        cond, null = model.conditioner(batch.columns, told), model.conditioner.null(len(batch))
        denoise = settings.wrap(model.denoiser.bind(cond), model.denoiser.bind(null), schedule)
        times, every = settings.grid(settings.steps, schedule), settings.steps // self.distilled.steps
        none = noise_for(Draws(0, batch.position), batch.x.shape[1:])
        with torch.autocast(model.device.type, enabled=False):
            states = [step.x for step in settings.sampler.steps(denoise, batch.x, times, schedule, none)]
        return torch.stack([batch.x, *states[every - 1 :: every]], dim=1).cpu()


@final
class Beginnings(Dataset):
    """Noise in the place of pictures, and for each the condition of an example of ``data``, drawn by the seed."""

    def __init__(self, teacher: Teacher, data: Dataset, seed: int) -> None:
        self._model, self._data, self.info = teacher.model, data, data.info
        count = teacher.distilled.trajectories
        self._draws = Draws(integer("trajectories", seed), torch.arange(count))
        self._examples = self._draws.integer("example", len(data)).tolist()
        self._captions = self._draws.uniform("caption").tolist()
        self._told = (self._draws.uniform("condition dropout") >= teacher.distilled.drop).tolist()

    def __len__(self) -> int:
        return len(self._told)

    def pixels(self, index: int) -> NDArray[Any]:
        draws = replace(self._draws, samples=self._draws.samples[index : index + 1])
        return initial(draws, self._model.latent_shape, self._model.config.schedule)[0].numpy()

    def key(self, index: int) -> str:
        return str(index)

    def columns(self, index: int) -> Mapping[str, Cell]:
        own = self._data.columns(self._examples[index])
        return {**own, TOLD: np.array([self._told[index]], np.float32)}

    def captions(self, index: int) -> tuple[str, ...]:
        """The one that was drawn."""
        several = self._data.captions(self._examples[index])
        return (several[int(self._captions[index] * len(several))],) if several else ()


@final
class Trajectories(Dataset):
    """Solutions in the place of pictures: ``pixels`` are states (N + 1, *S). Threads may share it."""

    def __init__(self, beginnings: Dataset, files: Sequence[Path]) -> None:
        self._beginnings, self.info, self._files = beginnings, beginnings.info, files
        self._states = lru_cache(OPEN)(self._opened)

    def __len__(self) -> int:
        return len(self._beginnings)

    def pixels(self, index: int) -> NDArray[Any]:
        return self._states(index // SOLUTIONS_A_FILE)[index % SOLUTIONS_A_FILE]

    def key(self, index: int) -> str:
        return self._beginnings.key(index)

    def columns(self, index: int) -> Mapping[str, Cell]:
        return self._beginnings.columns(index)

    def captions(self, index: int) -> tuple[str, ...]:
        return self._beginnings.captions(index)

    def preparation(self, pictures: Preparation | None) -> None:
        return None

    def _opened(self, number: int) -> Any:
        """The states of a file, of which only those are read that are asked for."""
        return _states(self._files[number])


@final
class TrajectoryCache(Cache):
    """The solutions that a student learns from.

    Args:
        folder: the run's.
        teacher: who makes them.
        data: where the conditions come from.
        table: how the model reads captions, if it does.
        seed: the run's.
    """

    def __init__(self, folder: Path, teacher: Teacher, data: Dataset, table: CaptionTable | None, seed: int) -> None:
        self._teacher, self._table, self._data, self._seed = teacher, table, data, seed
        self._beginnings, self._folder = Beginnings(teacher, data, seed), folder / "trajectories"
        self._held_out: list[Batch] | None = None

    def complete(self) -> Iterator[Encoding]:
        rank, world, total = distributed.rank(), distributed.world(), len(self._beginnings)
        for number, path in list(enumerate(self._files))[rank::world]:
            solutions = range(number * SOLUTIONS_A_FILE, min((number + 1) * SOLUTIONS_A_FILE, total))
            if not _is_whole(path, len(solutions)):
                _save(path, self._teacher.solve(self._begun(solutions)))
            yield Encoding(done=solutions.stop, total=total, what="solutions")
        distributed.wait()

    @property
    def missing(self) -> int:
        states, sample = self._teacher.distilled.steps + 1, prod(self._teacher.model.latent_shape)
        return bytes_missing(self._folder, 4 * states * sample * len(self._beginnings))

    def opened(self) -> Trajectories:
        return Trajectories(self._beginnings, self._files)

    def encoded(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Solutions for the conditions of held-out examples; made at the first call, because they are always the same
        examples."""
        if self._held_out is None:
            self._held_out = [self._solved(batch) for batch in batches]
        yield from self._held_out

    def _solved(self, batch: Batch) -> Batch:
        model, draws = self._teacher.model, Draws(integer("held-out trajectories", self._seed), batch.position)
        noise = initial(draws, model.latent_shape, model.config.schedule)
        told = {**batch.columns, TOLD: torch.ones(len(batch), 1)}
        return replace(batch, x=self._teacher.solve(replace(batch, x=noise, columns=told)))

    def _begun(self, solutions: range) -> Batch:
        beginnings = self._beginnings if self._table is None else Captioned(self._beginnings, self._table)
        return batch_of(beginnings, None, solutions)

    @cached_property
    def _files(self) -> list[Path]:
        t, count = self._teacher, len(self._beginnings)
        parts = t.model.digest(), t.settings, t.distilled, fingerprint(self._data), self._seed, SOLUTIONS_A_FILE
        key = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
        return [self._folder / key / f"{number:05d}.safetensors" for number in range(-(-count // SOLUTIONS_A_FILE))]


def _states(path: Path) -> Any:
    return open_tensors(path, "numpy").get_slice("states")


def _is_whole(path: Path, count: int) -> bool:
    try:
        return shapes(path).get("states", (0,))[:1] == (count,)
    except BadFile:
        return False


def _save(path: Path, states: Tensor) -> None:
    if not bool(states.isfinite().all()):
        raise UserError(f"the teacher's samples are not finite numbers: look at them with '{command('sample')}'")
    with replacing(path, lasting=True, within=path.parents[2], advice="what was made before is kept") as file:
        file.write(save({"states": states.contiguous()}))
