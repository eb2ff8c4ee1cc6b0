"""``--dry-run``: builds everything, makes a few steps in memory, and says what the whole would cost."""

from dataclasses import dataclass, replace

from carrara.device import default_device
from carrara.errors import UserError, command
from carrara.measure.timing import peak_memory
from carrara.model import AnySaved
from carrara.recipe import build
from carrara.recipe.kinds import kind_of
from carrara.run.plan import Plan
from carrara.run.space import described
from carrara.shapes import by
from carrara.store.latents import captioned
from carrara.train import TrainState, train
from carrara.train.settings import MOST

STEPS = 2
"""The first step is slower than all others, so the second one is timed."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a run would be.

    Attributes:
        parameters: by part of the model.
        learning: how many of them learn, of the network alone where an adapter does.
        shape: one sample's, in pixels.
        latent_shape: one sample's, where it diffuses.
        examples, held_out: how much data.
        batch: samples of a step.
        loss: of the untrained model.
        step_seconds: one step's.
        steps: of the whole run.
        memory: bytes at the peak; 0 if unknown.
        disk: what will be written, and what is free, in words.
    """

    parameters: dict[str, int]
    learning: int
    shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    examples: int
    held_out: int
    batch: int
    loss: float
    step_seconds: float
    steps: int
    memory: int
    disk: str

    def text(self) -> str:
        """The same in words."""
        parts = ", ".join(f"{name} {count:,}" for name, count in self.parameters.items())
        total = self.steps * self.step_seconds
        lines = [
            f"data        {self.examples:,} examples to train on, {self.held_out:,} held out",
            f"sample      {by(self.shape)}, diffused as {by(self.latent_shape)}",
            f"parameters  {sum(self.parameters.values()):,} ({parts})",
            *self._learning(),
            f"one step    {self.batch} samples in {self.step_seconds:.2f} s, loss {self.loss:.3f} before training",
            f"whole run   {self.steps:,} steps, about {_duration(total)}",
        ]
        if self.memory:
            lines.append(f"memory      {self.memory / 2**30:.2f} GiB at the peak")
        return "\n".join([*lines, f"disk        {self.disk}"])

    def _learning(self) -> list[str]:
        total = sum(self.parameters.values())
        return [] if self.learning == total else [f"learning    {self.learning:,} of these"]


def rehearse(plan: Plan) -> Rehearsal:
    """Makes two steps of a plan on this machine and writes nothing.

    Raises:
        UserError: whatever training would run into.
    """
    recipe, device = plan.recipe, default_device()
    kind = kind_of(recipe)
    if not kind.pictures:
        raise UserError(
            f"a few-step model learns from its teacher's samples, which come first: run '{command('distill')}'"
        )
    training, held_out = build.parts(recipe, build.dataset(recipe))
    model: AnySaved = kind.model().to(device)
    settings = replace(recipe.train, steps=STEPS, minutes=None)
    state = TrainState(kind.objective(model), settings)
    loader = build.loader(recipe, captioned(training, model.captions()))
    first, last = train(state, loader.batches, settings, seed=recipe.seed)
    seconds = last.seconds - first.seconds
    minutes = recipe.train.minutes
    return Rehearsal(
        parameters={
            name: count for name, part in model.named_children() if (count := sum(p.numel() for p in part.parameters()))
        },
        learning=sum(own.numel() for role in state.objective.roles().values() for own in role),
        shape=model.config.shape,
        latent_shape=model.latent_shape,
        examples=len(training),
        held_out=len(held_out),
        batch=recipe.train.batch,
        loss=first.loss,
        step_seconds=seconds,
        steps=min(recipe.train.most_steps or MOST, recipe.train.steps or max(1, round((minutes or 0) * 60 / seconds))),
        memory=peak_memory(device),
        disk=described(recipe, plan.folder, state.objective, kind.cache(plan.folder, model, training, None)),
    )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
