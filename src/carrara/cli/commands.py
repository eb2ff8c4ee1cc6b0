"""What the commands do."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

import torch

from carrara import draw, recipe
from carrara import run as runs
from carrara.cli.launching import launch, passing_on
from carrara.cli.progress import TrainingProgress
from carrara.cli.sample import SampleOutput
from carrara.cli.sample import draw as draw_samples
from carrara.cli.terminal import bold, console, styled
from carrara.draw import Ask
from carrara.errors import UserError
from carrara.medium import RECORDED
from carrara.objective import FineTuningSettings
from carrara.recipe.kinds import kind_of
from carrara.run.compilation import Note
from carrara.run.plan import Plan
from carrara.run.session import Diagnosis, HeldOut, ModelSaved, Preview, Session
from carrara.store import Encoding, Store, shipped
from carrara.train import StepReport, launched
from carrara.train.checkpoint import steps
from carrara.train.distributed import is_main

EMOJI = Path("openmoji")
"""The shipped model that draws from words."""
DEMO_PROMPTS = ("red heart", "dog face", "rocket", "sun behind cloud")


def run_demo(folder: Path, overrides: Sequence[str]) -> None:
    """Trains digits, samples them, and says how to go on with own pictures."""
    console.print(bold("Carrara"), ": from pictures to a diffusion model that you own.\n")
    _draw_emoji()
    console.print("Now a model of handwritten digits, from nothing.\n")
    plan = runs.plan("digits", "digits", folder, ["train.minutes=2", *overrides])
    if not _train(plan):
        return
    out = draw_samples(folder, Ask(prompts=tuple("0123456789"), count=8), SampleOutput(strip=True))
    console.print("\nNow with your own pictures (one sub-folder per class, if there are classes):")
    console.print("  carrara inspect data photos/       what is in the folder, and what is wrong with it")
    console.print("  carrara train photos/              picks size and network, and says why")
    console.print("  carrara sample runs/photos -n 16")
    console.print(
        "\nLook at ", bold(out / "grid.png"), " (each row a digit) and ", bold(out / "strip.png"), " (from noise)."
    )


def _draw_emoji() -> None:
    """Begins the demonstration with the model that is there already, where its text encoder is there, too."""
    if shipped(EMOJI) is None:
        return
    console.print("This one has come with the package: it draws emoji from words.")
    try:
        out = draw_samples(EMOJI, Ask(prompts=DEMO_PROMPTS, count=6))
    except UserError as error:
        console.print(f"{error.message}\n", style="yellow")
        return
    console.print("Look at ", bold(out / "grid.png"), f": {', '.join(DEMO_PROMPTS)}.\n")


def train_or_rehearse(
    source: str | None, overrides: Sequence[str], preset: str | None, folder: Path | None, dry_run: bool
) -> None:
    """Trains, or only says what it would do."""
    _run(runs.plan(source, preset, folder, overrides), dry_run)


def train_together(
    count: int, source: str | None, overrides: Sequence[str], preset: str | None, folder: Path | None
) -> int:
    """Trains in ``count`` processes; what is wrong with the plan is said once, before they begin."""
    plan = runs.plan(source, preset, folder, overrides)
    plan.check()
    named = [] if source is None else [source]
    said = {"--preset": preset, "--run": None if folder is None else str(folder)}
    options = [word for name, value in said.items() if value is not None for word in (name, value)]
    with passing_on(plan.folder):
        return launch(count, ["train", *named, *overrides, *options], lambda: _saved(plan))


def _saved(plan: Plan) -> set[Path]:
    """The checkpoints of a plan's stages."""
    return {path for stage in plan.stages for path in steps(stage.folder / "checkpoints")}


def _run(plan: Plan, dry_run: bool) -> None:
    for reason in plan.reasons:
        console.print(styled("chosen for you", "dim"), f"  {reason}")
    if dry_run:
        for stage in plan.stages:
            console.print(runs.rehearse(stage).text())
    elif _train(plan):
        for step in kind_of(plan.recipe).next(plan.folder):
            console.print(f"{step.purpose} with:  ", bold(step.command))


def train_student(
    folder: Path, overrides: Sequence[str], decoder: bool, steps: int | None = None, run: Path | None = None
) -> None:
    """Makes a faster model."""
    if decoder == (steps is not None):
        raise UserError(
            "what shall be distilled? Say one of them: 'carrara distill RUN --steps 4' makes a model that draws in 4 "
            "steps, 'carrara distill RUN --decoder' a small decoder"
        )
    if steps is not None:
        plan = runs.plan_few_step(folder, steps, run, overrides)
        if _train(plan):
            console.print("Sample it with:  ", bold(f"carrara sample {quote(str(plan.folder))}"))
        return
    if run is not None:
        raise UserError("a decoder is kept in the run that it belongs to: leave --run out")
    plan = runs.plan_distillation(folder, overrides)
    if _train(plan):
        console.print("Previews of ", bold(folder), ", and of what is trained on it, are drawn by it from now on.")


def tune(
    start: Path, source: str, overrides: Sequence[str], learn: str | None, folder: Path | None, dry_run: bool
) -> None:
    """A trained model learns from other data."""
    chosen = [] if learn is None else [f"objective.learn.kind={learn}"]
    _run(runs.plan_finetuning(start, source, folder, [*chosen, *overrides]), dry_run)


def _train(plan: Plan) -> bool:
    """Runs a plan to its end, stage by stage; False if something stopped it before.

    Raises:
        SystemExit: a signal did, after saving; with 128 and its number.
    """
    plan.check()
    with launched() as device, plan.held(device) as check:
        console.quiet = not is_main()
        return all(_stage(stage, device, check) for stage in plan.stages)


def _stage(plan: Plan, device: torch.device, check: Callable[[], None]) -> bool:
    """Runs one stage to its end; False if something stopped it before."""
    session = Session(plan, device, check)
    if session.finished and plan.whole is not None:
        return True  # the stage was trained before
    for warning in session.warnings:
        console.print(warning, style="yellow")
    _announce(plan, session)
    report: StepReport | None = None
    with TrainingProgress(console, session.training.clock) as progress:
        for event in session:
            match event:
                case StepReport():
                    report = event
                    progress.step(event)
                case Note():
                    progress.note(event.text)
                case Encoding():
                    progress.encoding(event)
                case HeldOut():
                    progress.note(f"step {event.step}: held-out {event.text()}")
                case Diagnosis():
                    progress.note(f"step {event.step}: {event.text}", "yellow")
                case Preview():
                    progress.note(f"step {event.step}: samples in {event.path}")
                case ModelSaved():
                    progress.note(f"step {event.step}: model saved in {event.path}")
    early, number = report is not None and not session.ended, session.training.asked.signal
    if early or number is not None:
        step = session.training.clock.step
        console.print(f"Stopped and saved after step {step}. The same command goes on from there.")
    if number is not None:
        sys.exit(128 + number)
    return not early


def _announce(plan: Plan, session: Session) -> None:
    every = list(session.model.parameters())
    parameters, learn = sum(p.numel() for p in every), sum(p.numel() for p in every if p.requires_grad)
    said = f"{parameters / 1e6:.2f} M parameters"
    if isinstance(settings := plan.recipe.objective, FineTuningSettings) and settings.learn.kind != "all":
        said = f"{learn / 1e6:.2f} M of {said}"
    step = session.training.clock.step
    verb = f"going on from step {step}" if step else "training"
    held_out = f", {len(session.held_out_data)} held out" if len(session.held_out_data) else ""
    console.print(
        bold(plan.folder),
        f": {verb} on {len(session.training_data)} examples{held_out}; "
        f"{said} on {session.model.device}. Ctrl-C saves and stops.",
    )


def make_again(image: Path, folder: Path | None, out: Path | None, pictures: Path) -> None:
    """Makes a picture again."""
    again = draw.replay(image, Store(), folder, out, pictures)
    differs = "it differs: another machine, another torch, or other held-out pictures (where none are named) made it"
    same = "every byte" if again.path.suffix.lower() in RECORDED else "every pixel"
    verdict = f"{same} is the same" if again.identical else differs
    console.print(bold(again.path), f": {verdict}")


def list_presets() -> None:
    """Lists the presets."""
    found = recipe.presets()
    width = max(map(len, found))
    for name, purpose in found.items():
        console.print(bold(f"{name:<{width}}"), f"  {purpose}")
    console.print("\nUse one with:  carrara train DATA --preset NAME")
