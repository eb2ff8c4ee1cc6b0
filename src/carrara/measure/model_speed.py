"""How fast a model trains and samples here, and how near that is to what the machine can do; see ``timing``.

A training step is the trainer's own: the batch moves to the device, loss, backward, clipping, the optimizer, the moving
average. The forward pass is one evaluation of the network without gradients, and a sampler's step what sampling does
once for each of its steps, guidance included.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain, count, repeat

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from carrara.draw import Drawing, Request, cycled
from carrara.draw.image_input import seen
from carrara.errors import UserError, option
from carrara.measure import threads
from carrara.measure.timing import Timing, Work, flops_of, peak_memory, roofline, time_in_turns
from carrara.measure.ways import Ways, measure_ways, turned_off
from carrara.model import AnySaved, DiffusionModel
from carrara.nn import choose, compile_for_sampling
from carrara.objective import Objective
from carrara.sample import SampleStep, draws_for, generate
from carrara.train import TrainSettings, TrainState, optim, train
from carrara.train.precision import matmul_dtype
from carrara.types import Batch

FOREVER = 10**9
"""Steps of a training that is cut off."""
STEP, UPDATE, FORWARD, SAMPLER_STEP, DECODING = "training step", "update", "forward pass", "sampler's step", "decoding"
"""An update is what a training step does after its gradient: clipping, the optimizer, the moving average."""


@dataclass(frozen=True, kw_only=True)
class ModelSpeed:
    """How fast a model is.

    Attributes:
        precision: what was multiplied in.
        parameters: that learn.
        works: what the model does; a diffusion model samples, any other one only trains.
        convolution, product: what the machine can do.
        memory: bytes at the peak of training; 0 if unknown.
        steps: of the sampler; 0 where nothing is sampled.
        ways: through the layers, that were measured.
    """

    precision: torch.dtype
    parameters: int
    works: tuple[Timing, ...]
    convolution: Timing
    product: Timing
    memory: int
    steps: int
    ways: Ways | None = None

    @property
    def sampling(self) -> float | None:
        """Samples a second, decoded: all steps of the sampler for a batch."""
        parts = {work.name: work for work in self.works}
        if SAMPLER_STEP not in parts:
            return None
        decoding = parts[DECODING].median if DECODING in parts else 0.0
        step = parts[SAMPLER_STEP]
        return step.images / (self.steps * step.median + decoding)


def measure_model_speed(
    model: AnySaved,
    objective: Objective,
    batch: Batch,
    settings: TrainSettings,
    *,
    rounds: int = 15,
    compiled: bool = False,
    wishes: Sequence[str | None] | None = None,
    tune: bool = False,
) -> ModelSpeed:
    """Trains and samples a model for a while, beside works that show what the machine can do. The model is changed.

    Args:
        model, objective: on their device; the objective trains the model.
        batch: what every step is made on.
        settings: of the training; its length is of no importance.
        rounds: repetitions of each work, 2 or more.
        compiled: the network of a diffusion model is compiled by ``torch.compile`` first.
        wishes: what the samples of a batch shall show; None is each class in turn, or nothing.
        tune: steps and forward passes are also made by the fastest way through each layer, which is measured first.

    Raises:
        UserError: ``torch.compile`` does not work here, or the model cannot make what it is told.
    """
    device, dtype = model.device, matmul_dtype(settings.precision, model.device)
    settings = replace(settings, steps=FOREVER, minutes=None, batch=len(batch))
    state = TrainState(objective, settings)
    reports = train(state, lambda _: repeat(batch), settings, seed=0)
    step = Work(name=STEP, do=lambda: next(reports), images=len(batch), flops=flops_of(lambda: next(reports)))
    memory = _peak_of(step.do, device)
    works, steps, ways = [step, _update(state, len(batch))], 0, None
    if tune and device.type == "cpu" and not (compiled or turned_off()):
        ways, _ = measure_ways(objective, batch, settings)
        ways = replace(ways, threads=threads.fewer(objective, batch, settings))
        works.insert(1, _tuned(step, objective, ways))
    if isinstance(model, DiffusionModel):
        sampled, steps = deepcopy(model).eval(), model.config.sample.steps
        drawing = _drawing(sampled, batch, wishes or cycled(sampled, len(batch)), dtype)
        forward, *others = _sampling(drawing)
        works += [forward, *([] if ways is None else [_tuned(forward, drawing.network(sampled), ways)]), *others]
        if compiled:
            model.denoiser.backbone.compile()
            compile_for_sampling(drawing.network(sampled).backbone)
    with _explained(compiled):
        *measured, convolution, product = time_in_turns([*works, *roofline(device, dtype)], rounds, device)
    return ModelSpeed(
        precision=dtype,
        parameters=sum(p.numel() for group in objective.roles().values() for p in group if p.requires_grad),
        works=tuple(measured),
        convolution=convolution,
        product=product,
        memory=memory,
        steps=steps,
        ways=ways,
    )


def _tuned(work: Work, network: nn.Module, ways: Ways) -> Work:
    """The same by the fastest ways; its operations are counted as those of the first ones."""

    def do() -> object:
        choose(network, ways.fastest)
        try:
            return work.do()
        finally:
            choose(network, {})

    return replace(work, name=f"{work.name}, tuned", do=do)


@contextmanager
def _explained(compiled: bool) -> Generator[None]:
    """A compiler that does not work gets a sentence."""
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # slow to import

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise UserError(f"torch.compile does not work here ({reason}): leave {option('compiled')} out") from error


def _peak_of(do: Callable[[], object], device: torch.device) -> int:
    """Bytes at the peak of this, or of all so far where the device is the CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    do()
    return peak_memory(device)


def _update(state: TrainState, images: int) -> Work:
    """What a step does after its gradient, for gradients of 0 and at a learning rate of 0."""
    optimizers = tuple(chain.from_iterable(state.optimizers.values()))
    learning = optim.parameters_of(optimizers)
    gradients = [torch.zeros_like(p) for p in learning]

    def do() -> None:
        for p, gradient in zip(learning, gradients, strict=True):
            p.grad = gradient
        clip_grad_norm_(learning, 1.0).item()
        optim.descend(optimizers, 0.0)
        state.ema.update(state.clock.images, images)
        state.objective.zero_grad(set_to_none=True)

    return Work(name=UPDATE, do=do, images=images, flops=flops_of(do))


def _drawing(model: DiffusionModel, batch: Batch, wishes: Sequence[str | None], dtype: torch.dtype) -> Drawing:
    """As many samples as the batch has, with the model's own settings."""
    request = Request(
        wishes=tuple(wishes),
        seeds=tuple(range(len(batch))),
        settings=model.settings(),
        precision="bfloat16" if dtype is torch.bfloat16 else "float32",
    )
    return Drawing(model=model, request=request, image=seen(model, batch))


def _sampling(drawing: Drawing) -> Iterator[Work]:
    """Evaluates the network, makes a step of the model's own sampler, and decodes where that is something to do."""
    model, images = drawing.model, len(drawing.seeds)
    shape = model.latent_shape
    draws = draws_for(drawing.seeds, model.device)
    x = drawing.settings.sampler.initial(draws, shape, model.config.schedule)
    plain = drawing.asked(settings=replace(drawing.settings, guidance=1.0)).denoise()
    steps = _endless(drawing, shape)

    @torch.no_grad()
    def forward() -> object:
        return plain(x, torch.tensor(0.5, device=x.device))

    @torch.no_grad()
    def decode() -> object:
        return model.pixels(x)

    yield Work(name=FORWARD, do=forward, images=images, flops=flops_of(forward))
    yield Work(name=SAMPLER_STEP, do=lambda: next(steps), images=images, flops=flops_of(lambda: next(steps)))
    if model.latent_shape != model.shape:
        yield Work(name=DECODING, do=decode, images=images, flops=flops_of(decode))


def _endless(drawing: Drawing, shape: tuple[int, ...]) -> Iterator[SampleStep]:
    """The sampler's steps, from noise to data, again and again."""
    own = drawing.settings
    for _ in count():
        yield from generate(
            drawing.denoise(),
            shape,
            drawing.seeds,
            sampler=own.sampler,
            grid=own.grid,
            steps=own.steps,
            schedule=drawing.model.config.schedule,
            device=drawing.model.device,
        )
