"""What the commands do."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape

from carrara import pixels, recipe
from carrara.cli.options import Asking, Between, Drawing
from carrara.cli.progress import TrainingProgress, counted, tracked
from carrara.errors import UserError
from carrara.model import ModelConfig
from carrara.recipe import Diagnosis, Edit, Encoding, HeldOut, Note, Plan, Preview, Saved, Session, build, edits
from carrara.recipe.edits import Edited, Job
from carrara.recipe.folder import configured
from carrara.train import StepReport, launched
from carrara.train.distributed import is_main

FIRST_STAGE = "model.first_stage.kind=trained model.first_stage.run"

USES = {"masked": "inpaint PICTURE --mask MASK", "lowres": "upscale PICTURE", "map": "map MAP"}
"""What models are for that see pictures."""

EMOJI = Path("openmoji")
"""The shipped model that draws from words."""
DEMO_PROMPTS = ("red heart", "dog face", "rocket", "sun behind cloud")

console = Console(highlight=False, soft_wrap=True)


def demo(folder: Path, overrides: Sequence[str]) -> None:
    """Trains digits, samples them, and says how to go on with own pictures."""
    console.print("[bold]Carrara[/]: from pictures to a diffusion model that you own.\n")
    _draw_emoji()
    console.print("Now a model of handwritten digits, from nothing.\n")
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


def _draw_emoji() -> None:
    """Begins the demonstration with the model that is there already, where its text encoder is there, too."""
    if recipe.shipped(EMOJI) is None:
        return
    console.print("This one has come with the package: it draws emoji from words.")
    try:
        out = sample(EMOJI, DEMO_PROMPTS, 6, 0, None, False, {})
    except UserError as error:
        console.print(f"{error}\n", style="yellow", markup=False)
        return
    console.print(f"Look at [bold]{out / 'grid.png'}[/]: {', '.join(DEMO_PROMPTS)}.\n")


def train(source: str | None, overrides: Sequence[str], preset: str | None, folder: Path | None, dry_run: bool) -> None:
    """Trains, or only says what it would do."""
    plan = recipe.plan(source, preset, folder, overrides)
    for reason in plan.reasons:
        console.print(f"[dim]chosen for you[/]  {reason}")
    if dry_run:
        for stage in plan.stages:
            console.print(recipe.rehearse(stage).text())
    elif _train(plan):
        for purpose, command in _next(plan):
            console.print(f"{purpose} with:  [bold]carrara {command}[/]")


def distill(
    folder: Path, overrides: Sequence[str], decoder: bool, steps: int | None = None, run: Path | None = None
) -> None:
    """Makes a faster model."""
    if decoder == (steps is not None):
        raise UserError(
            "what shall be distilled? Say one of them: 'carrara distill RUN --steps 4' makes a model that draws in 4 "
            "steps, 'carrara distill RUN --decoder' a small decoder"
        )
    if steps is not None:
        plan = recipe.plan_few_step(folder, steps, run, overrides)
        if _train(plan):
            console.print(f"Sample it with:  [bold]carrara sample {plan.folder}[/]")
        return
    if run is not None:
        raise UserError("a decoder is kept in the run that it belongs to: leave --run out")
    plan = recipe.plan_distillation(folder, overrides)
    if _train(plan):
        console.print(f"Previews of [bold]{folder}[/], and of what is trained on it, are drawn by it from now on.")


def _next(plan: Plan) -> Iterator[tuple[str, str]]:
    """What one does with a run that is done."""
    if plan.recipe.objective.kind == "autoencoding":
        yield "Measure it", f"evaluate {plan.folder} --metrics reconstruction"
        yield "Diffuse in its latents", f"train {plan.recipe.data.source} --run NEW {FIRST_STAGE}={plan.folder}"
    elif plan.recipe.objective.kind == "classification":
        yield "Guide a model of such pictures", f"sample RUN --classifier {plan.folder} --class NAME"
    elif plan.recipe.model.image is not None:
        yield "Use it", f"edit {plan.folder} {USES[plan.recipe.model.image.kind]}"
    else:
        yield "Sample it", f"sample {plan.folder}"


def _train(plan: Plan) -> bool:
    """Runs a plan to its end, stage by stage; False if the user stopped it before."""
    with launched() as device:
        console.quiet = not is_main()
        return all(_stage(stage, device) for stage in plan.stages)


def _stage(plan: Plan, device: torch.device) -> bool:
    """Runs one stage to its end; False if the user stopped it before."""
    session = Session(plan, device)
    if session.finished and plan.whole is not None:
        return True  # the stage was trained before
    for warning in session.warnings:
        console.print(warning, style="yellow", markup=False)
    _announce(plan, session)
    report: StepReport | None = None
    with TrainingProgress(console, session.training.clock) as progress:
        for event in session:
            match event:
                case StepReport():
                    report = event
                    progress.step(event)
                case Note():
                    progress.note(escape(event.text))
                case Encoding():
                    progress.encoding(event)
                case HeldOut():
                    progress.note(f"step {event.step}: held-out {event.text()}")
                case Diagnosis():
                    progress.note(f"[yellow]step {event.step}: {event.text}[/]")
                case Preview():
                    progress.note(f"step {event.step}: samples in {event.path}")
                case Saved():
                    progress.note(f"step {event.step}: model saved in {event.path}")
    if report is not None and not session.ended:
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
    fast: bool = False,
    size: str | None = None,
    tile: str | None = None,
    negative: str | None = None,
    weak: Path | None = None,
    vary: str | None = None,
    classifier: Path | None = None,
    label: str | None = None,
    classifier_scale: float = 1.0,
) -> Path:
    """Draws samples into a folder: all together, and one by one. Returns the folder."""
    if vary is not None:
        recipe.read_variation(vary)
    model = recipe.open_model(folder).to(build.device())
    found = classifier, label, classifier_scale
    wanted = recipe.request(model, wishes, count, seed, changes, fast, size, tile, negative, weak, *found)
    if weak is None and wanted.weak is not None:
        console.print(
            f"guided by {wanted.settings.guidance:g} away from what the model was early in its training: --guidance 1 "
            "switches it off, and is faster"
        )
    drawn = recipe.collect(model, wanted, tracked(recipe.draw(model, wanted), len(wanted.seeds), console))
    out = pixels.fresh(recipe.working_folder(folder) / "samples" / "sample") if out is None else out
    about = recipe.record(folder, model, wanted)
    paths = recipe.save(out, drawn, about, strip=strip)
    if vary is not None:
        picture = recipe.sheet(model, wanted, changes, vary, lambda at, total: tracked(at, total, console))
        paths.insert(0, pixels.save_png(picture, out / "sheet.png", {"vary": vary, "of": about}))
    console.print(f"{len(wanted.seeds)} samples in [bold]{out}[/]: begin with {paths[0].name}")
    return out


def edit(folder: Path, what: Edit, images: Sequence[Path], out: Path | None, *, steps: int = 9, layer: int = 0) -> None:
    """Sends pictures through an autoencoder."""
    model = recipe.open_model(folder).to(build.device())
    out = pixels.fresh(recipe.working_folder(folder) / "samples" / what) if out is None else out
    paths = recipe.edit(model, folder, what, images, out, steps=steps, layer=layer)
    console.print(f"{len(paths)} {'picture' if len(paths) == 1 else 'pictures'} in [bold]{out}[/]: {paths[0].name}")


def draw_over(folder: Path, drawing: Asking, verb: Callable[[Job], Edited], seed: int = 0) -> None:
    """Edits pictures by a diffusion model.

    Args:
        seed: of verbs whose ``drawing`` has none.
        verb: one of ``recipe.edits``, with its pictures and options.
    """
    changes = {name: getattr(drawing, name, None) for name in ("sampler", "grid", "steps", "guidance")}
    judged = ("classifier", "label", "classifier_scale") if isinstance(drawing, Drawing) else ()
    options = {name: getattr(drawing, name) for name in ("size", "tile", "negative", "weak", "fast", *judged)}
    job = edits.job(
        folder,
        build.device(),
        drawing.prompt,
        getattr(drawing, "count", 1),
        getattr(drawing, "seed", seed),
        changes,
        lambda at, total: tracked(at, total, console),
        lambda text: console.print(text, style="yellow", markup=False),
        **options,
    )
    edited = verb(job)
    for note in edited.notes:
        console.print(note, style="yellow", markup=False)
    out = drawing.out or pixels.fresh(recipe.working_folder(folder) / "samples" / edited.verb)
    paths = edits.save_edit(job, edited, out)
    console.print(f"{len(paths) - 1} {'picture' if len(paths) == 2 else 'pictures'} in [bold]{out}[/]: {paths[0].name}")


def interpolate(folder: Path, images: Sequence[Path], frames: int, drawing: Asking, ends: Between) -> None:
    """Goes from one end to another: by a diffusion model's noise, or in an autoencoder's latents."""
    if not isinstance(configured(folder), ModelConfig):
        if replace(drawing, out=None) != Asking() or ends != Between():
            raise UserError("an autoencoder draws nothing: besides two pictures, it takes --frames and --out")
        edit(folder, "interpolate", images, drawing.out, steps=frames)
        return
    usual = {"steps": 50, "guidance": 1.0} if images else {"steps": 50}
    way = ends.to, ends.seed, ends.to_seed, frames, ends.refinements
    draw_over(folder, drawing.unless(**usual), lambda job: edits.interpolate(job, images, *way), ends.seed or 0)


def evaluate(folder: Path, metrics: str | None, samples: int, features: str, exact: bool) -> None:
    """Measures a run."""
    from carrara.recipe.evaluation import How, measure_run

    def watch(done: Iterable[int], total: int, what: str) -> Iterable[int]:
        return counted(done, total, what, console)

    how = How(samples=samples, features=features, exact=exact, watch=watch)
    for measured, paths in measure_run(folder, metrics, build.device(), how):
        for line in measured.lines:
            console.print(line, markup=False)
        console.print(f"Written to [bold]{' and '.join(map(str, paths))}[/]")


def replay(image: Path, folder: Path | None, out: Path | None, pictures: Path) -> None:
    """Makes a picture again."""
    if pixels.read_recipe(image).get("picture") == "edit":
        again = edits.replay_edit(image, pictures, folder, out)
    else:
        again = recipe.replay(image, folder, out)
    differs = "it differs: another machine, another torch, or other held-out pictures (where none are named) made it"
    verdict = "every pixel is the same" if again.identical else differs
    console.print(f"[bold]{again.path}[/]: {verdict}")


def presets() -> None:
    """Lists the presets."""
    found = recipe.presets()
    width = max(map(len, found))
    for name, purpose in found.items():
        console.print(f"[bold]{name:<{width}}[/]  {purpose}")
    console.print("\nUse one with:  carrara train DATA --preset NAME", markup=False)
