r"""An exported model, opened in onnxruntime, and pictures from it.

Guidance leads the estimate away from the one to which nothing, or the negative wish, is said (Ho and Salimans, 2022):

.. math:: \hat x_0 = \hat x_0^{null} + w (\hat x_0^{cond} - \hat x_0^{null}).                                    (1)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError, command, known
from carrara.runtime import draws
from carrara.runtime.card import Card
from carrara.runtime.door import array_of, read_whole
from carrara.runtime.noise import PARAMETERIZATIONS, grid, level_of
from carrara.runtime.samplers import SAMPLERS, Denoise, State, Way, level_at, steps
from carrara.runtime.told import Words, plain, told_texts, told_vectors

Told = Mapping[str, NDArray[Any]]
TOGETHER = 16
"""Samples whose two sides of guidance are asked in one call."""
PRECISIONS = {"float32": "denoiser.onnx", "int8": "denoiser.int8.onnx"}
SEEDS = 1 << 63


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a drawing goes from noise to data; what is None is as the model has it."""

    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    grid: str | None = None


class OnnxModel:
    """See the module's head.

    Args:
        folder: what ``carrara export RUN --to onnx`` wrote.
        precision: ``float32``, or ``int8`` where the folder has it.
        threads: of onnxruntime; 0 is as many as there are cores.

    Raises:
        UserError: onnxruntime is not installed, or a file is missing, damaged or of another version.
    """

    def __init__(self, folder: Path | str, *, precision: str = "float32", threads: int = 0) -> None:
        self._folder, self._threads = Path(folder), threads
        self.card = Card.read(self._folder)
        name = PRECISIONS[known("precision", precision, PRECISIONS)]
        if name not in self.card.files:
            if precision == "int8":
                again = command("export RUN", to="onnx", int8=True)
                raise UserError(f"'{folder}' has no int8 model: export it again with '{again}'")
            raise UserError(f"'{folder}' is damaged (its card names no {name}): export the model again")
        self._denoiser = self._session(name)
        self._decoder = self._session("decoder.onnx") if "decoder.onnx" in self.card.files else None
        self._table, self._text, self._words = self._condition()

    def sample(
        self,
        wishes: Sequence[str | None] | None = None,
        *,
        seeds: Sequence[int] = (0,),
        negative: str | None = None,
        size: tuple[int, int] | None = None,
        settings: Settings | None = None,
        batch: int = 16,
    ) -> NDArray[np.uint8]:
        """Pictures (B, H, W, C), one for each seed.

        Args:
            wishes: a label, a text or numbers for each seed; None says nothing.
            negative: what guidance leads away from, in the place of nothing.
            size: (height, width) of the pictures; None is the model's own.
            batch: pictures made at a time, without influence on them beyond rounding.

        Raises:
            UserError: a wish, a size or a setting that this model does not have.
        """
        wishes = [None] * len(seeds) if wishes is None else list(wishes)
        if len(wishes) != len(seeds) or not wishes:
            raise UserError(f"there are {len(wishes)} wishes for {len(seeds)} seeds: give one for each")
        if strange := [seed for seed in seeds if not -SEEDS <= seed < SEEDS]:
            raise UserError(f"the seed {strange[0]} has more than 64 bits")
        parts: list[NDArray[np.uint8]] = []
        for first in range(0, len(seeds), batch):
            part = slice(first, first + batch)
            *_, last = self.states(wishes[part], seeds[part], negative, size, settings)
            parts.append(displayed(self.pixels(last, size)))
        return np.concatenate(parts)

    def states(
        self,
        wishes: Sequence[str | None],
        seeds: Sequence[int],
        negative: str | None = None,
        size: tuple[int, int] | None = None,
        settings: Settings | None = None,
    ) -> Iterator[State]:
        """The state after each step, (B, c, h, w) float32; errors as of ``sample``."""
        card, shape = self.card, self.card.latent_of(size)
        asked = self._asked(settings or Settings(), negative)
        count, own = asked.steps or card.sampling.steps, card.sampling
        times = grid(
            asked.grid or own.grid,
            count,
            card.schedule,
            own.grid_keys if asked.grid in (None, own.grid) else None,
        )
        sigma = level_at(float(times[0]), card.schedule).sigma
        x = sigma * draws.normal(seeds, "initial noise", shape)
        name = asked.sampler or own.sampler
        way = Way(
            denoise=self.denoise(wishes, negative, own.guidance if asked.guidance is None else asked.guidance),
            times=times,
            schedule=card.schedule,
            noise=lambda index: draws.normal(seeds, "sampler noise", shape, index),
            keys=own.sampler_keys if name == own.sampler else {},
        )
        return steps(name, x, way)

    def denoise(self, wishes: Sequence[str | None], negative: str | None, guidance: float) -> Denoise:
        """The guided estimate, kept in range as the model does it.

        Raises:
            UserError: a wish that the model does not understand.
        """
        own, cond = self.card.sampling, self.told(wishes)
        if guidance == 1 or self.card.condition.kind == "none":
            return lambda x, t: self._kept(self._estimate(x, t, cond))
        null = self.told([negative] * len(wishes))
        low, high = own.interval

        def guided(x: State, t: float) -> State:
            if not low <= np.float32(t) <= high:
                return self._kept(self._estimate(x, t, cond))
            ours, theirs = self._both(x, t, cond, null)
            x0 = theirs + guidance * (ours - theirs)
            if own.rescale:
                ratio = _over(ours.std(axis=(1, 2, 3), keepdims=True), x0.std(axis=(1, 2, 3), keepdims=True))
                x0 = x0 + own.rescale * (x0 * ratio - x0)
            return self._kept(x0)

        return guided

    def told(self, wishes: Sequence[str | None]) -> Told:
        """What the network is told for each wish, by the names of its inputs.

        Raises:
            UserError: a wish that the model does not understand.
        """
        condition = self.card.condition
        if condition.kind == "none":
            if spoken := [wish for wish in wishes if wish is not None]:
                raise UserError(f"this model is unconditional, so it cannot be asked for '{spoken[0]}'")
            return {}
        assert self._table is not None
        if condition.kind != "text":
            return told_vectors(condition, self._table, wishes)
        texts = [None if wish is None else plain(wish) for wish in wishes]
        features = {text: self._features(text) for text in set(texts) if text and text.strip()}
        return told_texts(self._table, features, texts, condition.size)

    def pixels(self, z: State, size: tuple[int, int] | None = None) -> State:
        """Latents (B, c, h, w) to pictures (B, C, H, W) in about [-1, 1]."""
        height, width = size or self.card.shape[1:]
        x = z if self._decoder is None else self._decoder.run(None, {"z": z})[0]
        return x[:, :, :height, :width]

    def _asked(self, settings: Settings, negative: str | None) -> Settings:
        """Checks what is asked."""
        if self.card.few_steps is not None and settings != Settings():
            raise UserError(
                f"this model draws in {self.card.few_steps} steps, and only as it was made to: leave steps, guidance, "
                "sampler and grid out"
            )
        if settings.steps is not None and not 1 <= settings.steps <= 10_000:
            raise UserError(f"sampling takes 1 to 10000 steps, got {settings.steps}")
        if settings.guidance is not None and not np.isfinite(settings.guidance):
            raise UserError(f"guidance is a number, got {settings.guidance}")
        if self.card.condition.kind == "none" and (negative is not None or settings.guidance not in (None, 1)):
            raise UserError("guidance needs a model with a condition, and this one is unconditional: leave it out")
        if settings.sampler is not None:
            settings = replace(settings, sampler=known("sampler", settings.sampler, SAMPLERS))
        return settings

    def _estimate(self, x: State, t: float, told: Told) -> State:
        """The network's estimate of the data."""
        alpha, sigma = (float(np.float32(v[0])) for v in self.card.schedule(np.array([np.float32(t)], np.float64)))
        skip, out, inp = PARAMETERIZATIONS[self.card.parameterization](alpha, sigma, self.card.sigma_data)
        level = np.full(len(x), level_of(alpha, sigma, self.card.told), np.float32)
        answer = self._denoiser.run(None, {"x": inp * x, "level": level, **told})[0]
        return skip * x + out * answer

    def _both(self, x: State, t: float, cond: Told, null: Told) -> tuple[State, State]:
        if len(x) > TOGETHER:
            return self._estimate(x, t, cond), self._estimate(x, t, null)
        both = {name: _stacked(cond[name], null[name]) for name in cond}
        ours, theirs = np.split(self._estimate(np.concatenate([x, x]), t, both), 2)
        return ours, theirs

    def _kept(self, x0: State) -> State:
        """Clipped, or by dynamic thresholds (Saharia et al., 2022)."""
        percentile = self.card.sampling.threshold
        if percentile is not None:
            size = np.abs(x0).reshape(len(x0), -1)
            rank = ceil(percentile * size.shape[1]) - 1
            limit = np.maximum(np.partition(size, rank, axis=1)[:, rank], 1)[:, None, None, None]
            return np.clip(x0, -limit, limit) / limit
        return np.clip(x0, -1, 1) if self.card.sampling.clip else x0

    def _condition(self) -> tuple[NDArray[np.float32] | None, Any, Words | None]:
        """The table, the session of the text encoder, and its tokenizer; where there are such."""
        condition = self.card.condition
        if condition.kind == "none":
            return None, None, None
        rows = condition.size + (2 if condition.kind == "text" else 1)
        table = array_of(self._file("condition.npy"), (rows, condition.width), "condition.npy")
        if condition.kind != "text":
            return table, None, None
        return table, self._session("text.onnx"), Words(self._file("tokenizer.json"))

    def _features(self, text: str) -> NDArray[np.float32]:
        """(L, D) of a text's tokens."""
        assert self._words is not None
        windows = self._words(text)
        windows = windows if self.card.condition.apart else [[number for window in windows for number in window]]
        found = [self._text.run(None, {"ids": np.array([ids], np.int64)})[0][0] for ids in windows]
        return np.concatenate(found)

    def _file(self, name: str) -> bytes:
        if name not in self.card.files:
            raise UserError(f"'{self._folder}' is damaged (its card names no {name}): export the model again")
        return read_whole(self._folder / name, *self.card.files[name])

    def _session(self, name: str) -> Any:
        try:
            onnxruntime: Any = import_module("onnxruntime")
        except ImportError:
            raise UserError("drawing from ONNX needs the package onnxruntime: pip install 'carrara[runtime]'") from None
        content = self._file(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes have no common base
            why = " ".join(str(error).split())[:150]
            raise UserError(f"'{self._folder / name}' is no network that onnxruntime reads ({why})") from None


def displayed(x: State) -> NDArray[np.uint8]:
    """Pictures (B, C, H, W) in [-1, 1] as (B, H, W, C) uint8."""
    value = np.clip((x.astype(np.float64) + 1) / 2, 0, 1) * 255
    return np.moveaxis(value.round(), 1, -1).astype(np.uint8)


def _stacked(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """The rows of both; the shorter one's tokens are filled up with such as do not count."""
    if ours.ndim == 1 or ours.shape[1] == theirs.shape[1]:
        return np.concatenate([ours, theirs])
    longest = max(ours.shape[1], theirs.shape[1])
    gaps = [[(0, 0), (0, longest - one.shape[1]), *[(0, 0)] * (one.ndim - 2)] for one in (ours, theirs)]
    return np.concatenate([np.pad(one, gap) for one, gap in zip((ours, theirs), gaps, strict=True)])


def _over(above: State, below: State) -> State:
    return np.divide(above, below, out=np.ones_like(above), where=below > 0)
