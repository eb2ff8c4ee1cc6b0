"""What a command asks for, made complete: what to train, where, and whether to go on with it."""

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from carrara.data import BUILTIN, Source, as_source
from carrara.data.sources import SOURCES, others_in, source_at
from carrara.errors import UserError, option
from carrara.files import replacing
from carrara.files.lock import TAKEOVER, Lock
from carrara.files.writing import is_bare
from carrara.model import Model
from carrara.recipe import build
from carrara.recipe.kinds import decoder, few_step, finetuning, kind_of
from carrara.recipe.loading import DEFAULT, dump, load, presets, said_kind
from carrara.recipe.names import spelled_path
from carrara.recipe.resolve import RUN_CHANGES, SOURCE_CHANGES, complete, differences
from carrara.recipe.schema import Recipe
from carrara.run import ending, memorising
from carrara.store.runs import TINY, names_shipped, open_model, run_of
from carrara.train import distributed, hooks

T = TypeVar("T")
CAPTIONED = "latent"
"""The preset for a folder with captions."""
FEW_STEP = "few-step"
"""The preset for a model that learns to take few steps."""
FINE_TUNING = "fine-tuning"
"""The preset for a trained model that learns from other data."""
TAKEN_OVER = ("data", "model", "autoencoder")
"""What is learned from a teacher with the teacher's own."""
SAID = ("objective.steps", "objective.teacher", "sample.steps")
"""What ``--steps`` says of a model of few steps."""
AUTOENCODER = "autoencoder"
"""The folder, in a run's, of the autoencoder that is trained first."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command asks for, complete.

    Attributes:
        recipe: resolved.
        folder: the run's.
        reasons: why what was left open was chosen so.
        resumes: whether the folder holds the beginning of this run.
        whole: the plan that this one is a stage of; None = it is no stage.
    """

    recipe: Recipe
    folder: Path
    reasons: tuple[str, ...] = ()
    resumes: bool = False
    whole: "Plan | None" = None

    @property
    def stages(self) -> tuple["Plan", ...]:
        """What to train, one after the other: the autoencoder, if the recipe has one, or parts of the data, if they are
        to say where memorisation begins; and then the rest."""
        first = self.recipe.autoencoder
        if first is None:
            parts = memorising.part_recipes(self.recipe)
            folders = (memorising.part_folder(self.folder, part) for part, _ in parts)
            before = zip(parts, folders, strict=True)
            return (*(replace(self, recipe=own, folder=folder, whole=self) for (_, own), folder in before), self)
        own = Recipe(
            preset=None,  # a recipe file begins as its preset, and this one is another recipe than the preset's
            seed=self.recipe.seed,
            data=self.recipe.data,
            model=replace(self.recipe.model, first_stage=first.first_stage, image=None),
            objective=first.objective,
            train=first.train,
            checkpoint=first.checkpoint,
            preview=first.preview,
            sample=self.recipe.sample,
        )
        return replace(self, recipe=own, folder=self.folder / AUTOENCODER, whole=self), self

    def check(self) -> None:
        """Builds what a new run trains in all of its stages, before anything is written or trained.

        Raises:
            UserError: something cannot be built, or not be trained.
        """
        memorising.check(self.recipe)
        for stage in self.stages if not self.resumes else ():
            kind = kind_of(stage.recipe)
            kind.objective(kind.model())

    @contextmanager
    def held(self, device: torch.device) -> Generator[Callable[[], None]]:
        """Holds the run's folder while the block runs, so that no other training writes into it.

        Yields:
            what makes sure that it still is held; one process of many holds it for all.

        Raises:
            UserError: another training works in it.
        """
        lock, refusal = None, None
        with hooks.deaf():
            if distributed.is_main():
                try:
                    lock = Lock(self.folder, TAKEOVER if distributed.is_launched() else 0.0)
                except UserError as error:
                    refusal = error
            if distributed.anywhere(refusal is not None, device):
                raise refusal or UserError(f"'{self.folder}' could not be held by the first process")
            try:
                with ending.noted(self.folder) if lock is not None else nullcontext():
                    yield lock.check if lock is not None else lambda: None
            finally:
                if lock is not None:
                    lock.release()

    def write(self) -> None:
        """Writes ``recipe.yaml``: from here on the folder is this run's. A stage writes its whole plan's first."""
        if self.whole is not None:
            self.whole.write()
        with replacing(self.folder / "recipe.yaml", lasting=True) as file:
            file.write(dump(self.recipe).encode())


def plan(source: str | None, preset: str | None, folder: Path | None, overrides: Sequence[str]) -> Plan:
    """Decides what to train, where, and whether to go on.

    Args:
        source: a folder or a built-in data set; None = the preset's.
        preset: a preset or a recipe file; None = the built-in data set's own, or one that suits the folder.
        folder: the run's folder; None = ``runs/`` and the name of the data.
        overrides: ``key=value``.

    Raises:
        UserError: anything that is wrong with them.
    """
    if source is None and preset is None and folder is not None and (folder / "recipe.yaml").is_file():
        return _resumed(folder, load(folder / "recipe.yaml", overrides))
    named = _named(source, overrides) if source else None
    name, why = (preset, "") if preset else preset_for(named)
    if named is not None:
        about = {"kind": named.kind} if named.builtin else {"kind": named.kind, "path": str(named)}
        overrides = [*overrides, f"data.source={json.dumps(about)}"]
    recipe = _anywhere(load(name, overrides))
    if recipe.data.source is None:
        raise UserError(f"what shall be trained on? Name a folder of pictures, or one of {', '.join(BUILTIN)}")
    folder = folder or Path("runs") / recipe.data.source.name
    known = (folder / "recipe.yaml").is_file()
    if known and not name.endswith((".yaml", ".yml")):  # a preset alone says less than the run: only the changes count
        changed = _like(load(folder / "recipe.yaml", overrides), load(folder / "recipe.yaml"))
        return _resumed(folder, changed if preset is None else changed.model_copy(update={"preset": recipe.preset}))
    if not known:
        _check_empty(folder)
    if not known and (needed := kind_of(recipe).begun_by):
        raise UserError(needed)
    data = build.dataset(recipe)
    recipe = _like(recipe, load(folder / "recipe.yaml")) if known else recipe
    resolved = complete(recipe, data)
    if known:
        return _resumed(folder, resolved.recipe)
    others = "" if named is None or named.builtin else others_in(Path(str(named)), named.kind)
    reasons = (*filter(None, (why, others)), *resolved.reasons)
    return Plan(recipe=resolved.recipe, folder=folder, reasons=reasons)


def _named(source: str, overrides: Sequence[str]) -> Source:
    """What is trained on, by its name or its path, and by its kind where that is said."""
    if source in BUILTIN:
        return as_source(source)
    about = source_at(source, said_kind(overrides))
    return SOURCES[about["kind"]](**about).absolute()


def preset_for(source: Source | None) -> tuple[str, str]:
    """The preset for data without one, and why, if that is not obvious."""
    if source is not None and (known := source.preset or source.kind) in presets():
        return known, ""
    if source is not None and source.looks_captioned:
        return (
            CAPTIONED,
            f"preset {CAPTIONED}: the pictures have captions; {option('preset', DEFAULT)} is quicker and smaller",
        )
    return DEFAULT, ""


def plan_distillation(run: Path, overrides: Sequence[str]) -> Plan:
    """Decides how a run's decoder is distilled, in the run's folder ``tiny-decoder/``, or goes on with it.

    Raises:
        UserError: the run has no autoencoder, or anything is wrong with the overrides.
    """
    _leave_out(overrides, TAKEN_OVER, "the run's own")
    if names_shipped(run):
        raise UserError(f"'{run}' ships with its tiny decoder: a run of yours is what one can be distilled for")
    return _taught(run, run / TINY, TINY, overrides, decoder.decoder_recipe)


def plan_few_step(run: Path, steps: int, folder: Path | None, overrides: Sequence[str]) -> Plan:
    """Decides how a model of few steps learns from a run's, or goes on with it.

    Args:
        run: the teacher's.
        steps: how many.
        folder: the new run's; None = the teacher's name and the steps, beside it.
        overrides: ``key=value``.

    Raises:
        UserError: the run draws nothing in steps or takes few already, or anything is wrong with the overrides.
    """
    _leave_out(overrides, (*TAKEN_OVER, *SAID), f"the teacher's, or said by {option('steps')}")
    place = run if names_shipped(run) else run.resolve()
    beside = Path("runs") if names_shipped(run) else place.parent
    folder = folder or beside / f"{place.name}-{steps}-steps"
    changes = [f"objective.steps={steps}", f"objective.teacher={json.dumps(str(place))}", *overrides]
    return _taught(run, folder, FEW_STEP, changes, few_step.few_step_recipe)


def plan_finetuning(start: Path, source: str, folder: Path | None, overrides: Sequence[str]) -> Plan:
    """Decides how a trained model learns from other data, or goes on with it.

    Args:
        start: the folder of its run, or its own; or the name of one that ships.
        source: a folder, or a built-in data set.
        folder: the new run's; None = the names of both, in ``runs/``.
        overrides: ``key=value``.

    Raises:
        UserError: it cannot be tuned, the data do not suit it, or anything is wrong with the overrides.
    """
    _leave_out(overrides, ("model", "autoencoder", "objective.start"), "that of what one starts from")
    named = _named(source, overrides)
    folder = folder or Path("runs") / f"{start.resolve().name}-{named.name}"
    about = {"kind": named.kind} if named.builtin else {"kind": named.kind, "path": str(named)}
    place = start if names_shipped(start) else start.resolve()
    begun = [f"objective.start={json.dumps(str(place))}", f"data.source={json.dumps(about)}"]
    if (folder / "recipe.yaml").is_file():
        return _resumed(folder, _like(load(folder / "recipe.yaml", [*begun, *overrides]), load(folder / "recipe.yaml")))
    _check_empty(folder)
    trained, run = open_model(start), None if names_shipped(start) else run_of(start)
    own = None if run is None else load(run / "recipe.yaml")
    recipe = finetuning.finetuning_recipe(start, trained, own, _anywhere(load(FINE_TUNING, [*begun, *overrides])))
    resolved = complete(recipe, build.dataset(recipe))
    return Plan(recipe=resolved.recipe, folder=folder, reasons=resolved.reasons)


def _taught(
    run: Path,
    folder: Path,
    preset: str,
    changes: Sequence[str],
    student: Callable[[Path, Model, Recipe, Recipe], Recipe],
) -> Plan:
    """What learns from a run, with the run's data; or goes on with it.

    Args:
        folder: the new run's.
        student: from the teacher's folder, model and recipe, and from the preset with ``changes``, to the new recipe.
    """
    if (folder / "recipe.yaml").is_file():
        return _resumed(folder, load(folder / "recipe.yaml", changes))
    _check_empty(folder)
    trained = open_model(run)
    if not names_shipped(run) and not (run / "recipe.yaml").is_file():
        raise UserError(f"'{run}' has no recipe.yaml, which says what its data are: name the run, not a folder in it")
    own = load(str(trained.about["preset"]) if names_shipped(run) else run / "recipe.yaml")  # of a preset with its data
    return Plan(recipe=student(run, trained, own, load(preset, changes)), folder=folder)


def _check_empty(folder: Path) -> None:
    if not is_bare(folder):
        raise UserError(f"'{folder}' is not empty and holds no run: choose another folder with {option('run')}")


def _leave_out(overrides: Sequence[str], taken: tuple[str, ...], why: str) -> None:
    """Refuses changes to what is ``taken`` from elsewhere."""
    for key in (".".join(spelled_path(override.partition("=")[0].split("."))) for override in overrides):
        if any(key == section or key.startswith(f"{section}.") for section in taken):
            raise UserError(f"'{key}' is {why}: leave it out")


def _resumed(folder: Path, wanted: Recipe) -> Plan:
    """Goes on with a run; its length, saving, previews and sampling may change, nothing else.

    Raises:
        UserError: ``wanted`` is another run than the folder's.
    """
    saved, wanted = load(folder / "recipe.yaml"), _anywhere(wanted)
    other = list(differences(_identity(saved), _identity(wanted)))
    if other:
        raise UserError(
            f"'{folder}' holds another run ({'; '.join(other[:3])}): "
            f"start this one elsewhere with {option('run')}, or leave that out"
        )
    return Plan(recipe=wanted, folder=folder, resumes=True)


def _anywhere(recipe: Recipe) -> Recipe:
    """The same from wherever one looks."""
    source = recipe.data.source
    if source is None:
        return recipe
    return recipe.model_copy(update={"data": replace(recipe.data, source=source.absolute())})


def _like(wanted: Recipe, saved: Recipe) -> Recipe:
    """``wanted``, with what its data, condition and network leave open as the run has it."""
    data, model, had = wanted.data, wanted.model, saved.model
    if data.buckets == "auto":
        data = replace(data, buckets=saved.data.buckets)
    told, image = _filled(model.conditioner, had.conditioner), _filled(model.image, had.image)
    model = replace(model, conditioner=told, image=image)
    if model.backbone is not None and model.backbone.context_width == 0 and had.backbone is not None:
        model = replace(model, backbone=replace(model.backbone, context_width=had.backbone.context_width))
    return wanted.model_copy(update={"data": data, "model": model})


def _filled(wanted: T, saved: object) -> T:
    """A section with what it leaves open, empty as it is by default, as a saved one of its kind has it."""
    if wanted is None or type(wanted) is not type(saved):
        return wanted
    own: Any = wanted
    left_open = [f.name for f in fields(own) if not getattr(own, f.name) and getattr(own, f.name) == f.default]
    return replace(own, **{name: getattr(saved, name) for name in left_open})


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What makes a run this run and no other."""
    values = recipe.model_dump(exclude=set(RUN_CHANGES))
    values["data"]["source"] = {k: v for k, v in (values["data"]["source"] or {}).items() if k not in SOURCE_CHANGES}
    if recipe.autoencoder is not None:
        values["autoencoder"] = {k: v for k, v in values["autoencoder"].items() if k not in RUN_CHANGES}
    return values
