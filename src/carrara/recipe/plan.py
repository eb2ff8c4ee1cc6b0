"""What a command asks for, made complete: what to train, where, and whether to go on with it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from carrara import pixels
from carrara.autoencoder import IdentityConfig
from carrara.backbone import DiTConfig, UNetConfig
from carrara.conditioning import LayoutMap
from carrara.data import BUILTIN, Dataset, looks_captioned, maps_of
from carrara.errors import UserError
from carrara.model import DiffusionModel
from carrara.recipe import build
from carrara.recipe.folder import TINY
from carrara.recipe.loading import DEFAULT, dump, load, presets
from carrara.recipe.resolve import RUN_CHANGES, Resolved, differences, resolve
from carrara.recipe.schema import FewStepSettings, Recipe, TrainedConfig
from carrara.recipe.teachers import decoder_teacher, few_step_teacher

CAPTIONED = "latent"
"""The preset for a folder with captions."""
FEW_STEP = "few-step"
"""The preset for a model that learns to take few steps."""
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
        """What to train, one after the other: the autoencoder, if the recipe has one, and then the rest."""
        first = self.recipe.autoencoder
        if first is None:
            return (self,)
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

    def write(self) -> None:
        """Writes ``recipe.yaml``: from here on the folder is this run's. A stage writes its whole plan's first."""
        if self.whole is not None:
            self.whole.write()
        with pixels.replacing(self.folder / "recipe.yaml") as file:
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
    name, why = (preset, "") if preset else _preset_for(source)
    overrides = [*overrides, *([f"data.source={json.dumps(_absolute(source))}"] if source else [])]
    recipe = load(name, overrides)
    if not recipe.data.source:
        raise UserError(f"what shall be trained on? Name a folder of pictures, or one of {', '.join(BUILTIN)}")
    folder = folder or Path("runs") / Path(recipe.data.source).name
    known = (folder / "recipe.yaml").is_file()
    if known and not name.endswith((".yaml", ".yml")):  # a preset alone says less than the run: only the changes count
        changed = _like(load(folder / "recipe.yaml", overrides), load(folder / "recipe.yaml"))
        return _resumed(folder, changed if preset is None else changed.model_copy(update={"preset": preset}))
    if not known and folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty and holds no run: choose another folder with --run")
    if isinstance(recipe.objective, FewStepSettings) and not known:
        raise UserError(
            "a few-step model learns from a trained run, whose data and network it has: 'carrara distill RUN --steps "
            "4' names it and makes one"
        )
    data = build.dataset(recipe)
    recipe = _like(recipe, load(folder / "recipe.yaml")) if known else recipe
    resolved = completed(recipe, data)
    if known:
        return _resumed(folder, resolved.recipe)
    return Plan(recipe=resolved.recipe, folder=folder, reasons=(*[why] * bool(why), *resolved.reasons))


def completed(recipe: Recipe, data: Dataset) -> Resolved:
    """What a recipe leaves open, filled in from its data and this machine; errors as of ``resolve``."""
    captions = (caption for k in range(len(data)) for caption in data.captions(k))
    natives = (data.native(k) for k in range(len(data)))
    return resolve(recipe, data.info, build.device().type, captions, natives, maps_of(data))


def _preset_for(source: str | None) -> tuple[str, str]:
    """The preset for data without one, and why, if that is not obvious."""
    if source is not None and source in presets():
        return source, ""
    if source is not None and source not in BUILTIN and Path(source).is_dir() and looks_captioned(Path(source)):
        return CAPTIONED, f"preset {CAPTIONED}: the pictures have captions; --preset {DEFAULT} is quicker and smaller"
    return DEFAULT, ""


def plan_distillation(run: Path, overrides: Sequence[str]) -> Plan:
    """Decides how a run's decoder is distilled, in the run's folder ``tiny-decoder/``, or goes on with it.

    Raises:
        UserError: the run has no autoencoder, or anything is wrong with the overrides.
    """
    _leave_out(overrides, TAKEN_OVER, "the run's own")
    folder = run / TINY
    if (folder / "recipe.yaml").is_file():
        return _resumed(folder, load(folder / "recipe.yaml", overrides))
    decoder_teacher(run)
    if not (run / "recipe.yaml").is_file():
        raise UserError(f"'{run}' has no recipe.yaml, which says what its data are: name the run, not a folder in it")
    source, chosen = load(run / "recipe.yaml"), load(TINY, overrides)
    model = replace(chosen.model, first_stage=TrainedConfig(run=str(run.resolve())))
    return Plan(recipe=chosen.model_copy(update={"data": source.data, "model": model}), folder=folder)


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
    _leave_out(overrides, (*TAKEN_OVER, *SAID), "the teacher's, or said by --steps")
    folder = folder or run.resolve().with_name(f"{run.resolve().name}-{steps}-steps")
    changes = [f"objective.steps={steps}", f"objective.teacher={json.dumps(str(run.resolve()))}", *overrides]
    if (folder / "recipe.yaml").is_file():
        return _resumed(folder, load(folder / "recipe.yaml", changes))
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty and holds no run: choose another folder with --run")
    trained = few_step_teacher(run)
    if not (run / "recipe.yaml").is_file():
        raise UserError(f"'{run}' has no recipe.yaml, which says what its data are: name the run, not a folder in it")
    return Plan(recipe=_student(run, trained, load(run / "recipe.yaml"), load(FEW_STEP, changes)), folder=folder)


def _leave_out(overrides: Sequence[str], taken: tuple[str, ...], why: str) -> None:
    """Refuses changes to what is ``taken`` from elsewhere."""
    for key in (override.partition("=")[0] for override in overrides):
        if any(key == section or key.startswith(f"{section}.") for section in taken):
            raise UserError(f"'{key}' is {why}: leave it out")


def _student(run: Path, trained: DiffusionModel, source: Recipe, chosen: Recipe) -> Recipe:
    """The recipe of a model of few steps: its teacher's data and model, and what was ``chosen`` about the rest."""
    if isinstance(source.objective, FewStepSettings):
        raise UserError(f"'{run}' takes {source.objective.steps} steps already: name its teacher's run")
    if source.model.image is not None:
        raise UserError(
            f"'{run}' sees pictures beside its noise, and few steps are learned without: sample it as it is"
        )
    objective = chosen.objective
    assert isinstance(objective, FewStepSettings)
    guidance = trained.settings(guidance=objective.guidance).guidance
    stage = source.model.first_stage
    if source.autoencoder is not None or not isinstance(stage, IdentityConfig):
        stage = TrainedConfig(run=objective.teacher)
    return chosen.model_copy(
        update={
            "data": replace(source.data, buckets=()),
            "model": replace(source.model, first_stage=stage),
            "objective": replace(objective, guidance=guidance),
            "sample": replace(chosen.sample, steps=objective.steps),
        }
    )


def _absolute(source: str) -> str:
    """Folders are remembered by their whole path, so that a run can go on from anywhere."""
    path = Path(source)
    return str(path.resolve()) if source not in BUILTIN and path.exists() else source


def _resumed(folder: Path, wanted: Recipe) -> Plan:
    """Goes on with a run; its length, saving, previews and sampling may change, nothing else.

    Raises:
        UserError: ``wanted`` is another run than the folder's.
    """
    saved = load(folder / "recipe.yaml")
    other = list(differences(_identity(saved), _identity(wanted)))
    if other:
        raise UserError(
            f"'{folder}' holds another run ({'; '.join(other[:3])}): "
            "start this one elsewhere with --run, or leave that out"
        )
    return Plan(recipe=wanted, folder=folder, resumes=True)


def _like(wanted: Recipe, saved: Recipe) -> Recipe:
    """``wanted``, with what its data, condition and network leave open as the run has it."""
    data, model, had = wanted.data, wanted.model, saved.model
    if data.buckets == "auto":
        data = replace(data, buckets=saved.data.buckets)
    if model.conditioner is not None and type(model.conditioner) is type(had.conditioner):
        left_open = [f.name for f in fields(model.conditioner) if not getattr(model.conditioner, f.name)]
        found = {name: getattr(had.conditioner, name) for name in left_open}
        model = replace(model, conditioner=replace(model.conditioner, **found))
    if isinstance(model.image, LayoutMap) and isinstance(had.image, LayoutMap) and not model.image.colours:
        model = replace(model, image=had.image)
    if isinstance(model.backbone, UNetConfig | DiTConfig) and model.backbone.context_width == 0 and had.backbone:
        model = replace(model, backbone=replace(model.backbone, context_width=had.backbone.context_width))
    return wanted.model_copy(update={"data": data, "model": model})


def _identity(recipe: Recipe) -> dict[str, Any]:
    """What makes a run this run and no other."""
    values = recipe.model_dump(exclude=set(RUN_CHANGES))
    if recipe.autoencoder is not None:
        values["autoencoder"] = {k: v for k, v in values["autoencoder"].items() if k not in RUN_CHANGES}
    return values
