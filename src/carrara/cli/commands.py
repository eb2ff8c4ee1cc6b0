"""What the commands do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from carrara import pixels, recipe
from carrara.cli.progress import TrainingProgress, tracked
from carrara.recipe import HeldOut, Plan, Preview, Saved, Session, build
from carrara.train import StepReport, launched
from carrara.train.distributed import is_main

console = Console(highlight=False, soft_wrap=True)


def demo(folder: Path, overrides: Sequence[str]) -> None:
    """Trains digits, samples them, and says how to go on with own pictures."""
    console.print("[bold]Carrara[/]: a diffusion model of handwritten digits, from nothing.\n")
    plan = recipe.plan("digits", "digits", folder, ["train.minutes=2", *overrides])
    if not _train(plan):
        return
    out = sample(folder, [str(digit) for digit in range(10)], 8, 0, None, True, {})
    console.print("\nNow with your own pictures (one sub-folder per class, if there are classes):")
    console.print("  carrara inspect data photos/       what is in the folder, and what is wrong with it")
    console.print("  carrara train photos/              picks size and network, and says why")
    console.print("  carrara sample runs/photos -n 16")
    console.print(
        f"\nLook at [bold]{out / 'grid.png'}[/] (each row a digit) and [bold]{out / 'strip.png'}[/] (from noise)."
    )


def train(source: str | None, overrides: Sequence[str], preset: str | None, folder: Path | None, dry_run: bool) -> None:
    """Trains, or only says what it would do."""
    plan = recipe.plan(source, preset, folder, overrides)
    for reason in plan.reasons:
        console.print(f"[dim]chosen for you[/]  {reason}")
    if dry_run:
        console.print(recipe.rehearse(plan).text())
    elif _train(plan):
        console.print(f"Sample it with:  [bold]carrara sample {plan.folder}[/]")


def _train(plan: Plan) -> bool:
    """Runs a plan to its end; False if the user stopped it before."""
    with launched() as device:
        console.quiet = not is_main()
        session = Session(plan, device)
        for warning in session.warnings:
            console.print(f"[yellow]{warning}[/]")
        _announce(plan, session)
        report: StepReport | None = None
        with TrainingProgress(console, session.training.clock) as progress:
            for event in session:
                match event:
                    case StepReport():
                        report = event
                        progress.step(event)
                    case HeldOut():
                        progress.note(f"step {event.step}: held-out loss {event.mean:.4f}")
                    case Preview():
                        progress.note(f"step {event.step}: samples in {event.path}")
                    case Saved():
                        progress.note(f"step {event.step}: model saved in {event.path}")
    if report is not None and report.progress < 1:
        console.print(f"Stopped and saved after step {report.step}. The same command goes on from there.")
        return False
    return True


def _announce(plan: Plan, session: Session) -> None:
    parameters = sum(p.numel() for p in session.model.parameters())
    step = session.training.clock.step
    verb = f"going on from step {step}" if step else "training"
    held_out = f", {len(session.held_out_data)} held out" if len(session.held_out_data) else ""
    console.print(
        f"[bold]{plan.folder}[/]: {verb} on {len(session.training_data)} examples{held_out}; "
        f"{parameters / 1e6:.2f} M parameters on {session.model.device}. Ctrl-C saves and stops."
    )


def sample(
    folder: Path,
    wishes: Sequence[str],
    count: int | None,
    seed: int,
    out: Path | None,
    strip: bool,
    changes: Mapping[str, Any],
) -> Path:
    """Draws samples into a folder: all together, and one by one. Returns the folder."""
    model = recipe.open_model(folder).to(build.device())
    wanted = recipe.request(model, wishes, count, seed, changes)
    drawn = recipe.collect(model, wanted, tracked(recipe.draw(model, wanted), len(wanted.seeds), console))
    out = pixels.fresh(folder / "samples" / "sample") if out is None else out
    paths = recipe.save(out, drawn, recipe.record(folder, model, wanted), strip=strip)
    console.print(f"{len(wanted.seeds)} samples in [bold]{out}[/]: begin with {paths[0].name}")
    return out


def replay(image: Path, folder: Path | None, out: Path | None) -> None:
    """Makes a picture again."""
    again = recipe.replay(image, folder, out)
    verdict = "every pixel is the same" if again.identical else "it differs: another machine or another torch made it"
    console.print(f"[bold]{again.path}[/]: {verdict}")


def presets() -> None:
    """Lists the presets."""
    found = recipe.presets()
    width = max(map(len, found))
    for name, purpose in found.items():
        console.print(f"[bold]{name:<{width}}[/]  {purpose}")
    console.print("\nUse one with:  carrara train DATA --preset NAME", markup=False)
