"""A contract over every kind of objective: it is built from a preset, shows something, and says what comes next."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carrara.cli.app import app
from carrara.errors import spelled
from carrara.measure.metrics import METRICS
from carrara.objective import Objective
from carrara.recipe import build
from carrara.recipe.kinds import KINDS, Kind, kind_of
from carrara.recipe.loading import load, presets
from carrara.recipe.schema import Recipe
from carrara.run.plan import Plan, plan, plan_distillation, plan_few_step, plan_finetuning
from carrara.run.session import Session
from tiny import TINY

CPU = torch.device("cpu")
KL = "model.first_stage={kind: kl, channels: 8, multipliers: [1, 2], blocks: 1, latent_channels: 2, patch: 1}"
SHORT = ("train.steps=1", "train.batch=2", "train.precision=float32", "preview.every=0", "preview.count=2")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """A plan of each kind, by its settings' kind; what they learn from is trained."""
    folder = tmp_path_factory.mktemp("kinds")
    for k in range(8):
        path = folder / "photos" / ("red", "blue")[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), 20 * k, np.uint8)).save(path)
    photos, small = str(folder / "photos"), ["data.size=16", KL, "objective.perceptual=0"]
    planned = {
        "diffusion": plan(photos, "pixel", folder / "pixel", [*TINY, *SHORT]),
        "autoencoding": plan(photos, "autoencoder-kl-f4", folder / "kl", [*SHORT, *small]),
        "absorbing": plan("digits", "digits-absorbing", folder / "levels", [*SHORT, "model.backbone.channels=32"]),
        "elbo": plan("digits", "vae", folder / "vae", [*SHORT, "model.first_stage.hidden=8"]),
        "mean_flow": plan("digits", "mean-flow", folder / "mean", [*TINY, *SHORT, "data.size=8"]),
        "classification": plan(photos, "classifier", folder / "classifier", [*TINY, *SHORT]),
    }
    for name in ("diffusion", "autoencoding"):
        list(Session(planned[name], CPU))
    planned["distillation"] = plan_distillation(folder / "kl", SHORT)
    planned["few_step"] = plan_few_step(
        folder / "pixel", 2, None, [*SHORT, "objective.trajectories=2", "objective.solver=2"]
    )
    planned["finetuning"] = plan_finetuning(folder / "pixel", photos, folder / "tuned", SHORT)
    return planned


def named(kind: type[Kind[Any, Any]]) -> str:
    return str(kind.settings_class.__dataclass_fields__["kind"].default)


def test_every_preset_has_a_kind_and_every_kind_a_preset() -> None:
    assert {type(kind_of(load(name))) for name in presets()} == set(KINDS)
    assert len({named(kind) for kind in KINDS}) == len(KINDS)


def test_only_the_kinds_are_in_the_schema() -> None:
    union = Recipe.model_json_schema()["properties"]["objective"]["discriminator"]["mapping"]
    assert set(union) == {named(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_kind(kind: type[Kind[Any, Any]], runs: dict[str, Plan]) -> None:
    recipe = runs[named(kind)].recipe
    seen = kind_of(recipe)
    assert type(seen) is kind
    assert set(kind.metrics) <= METRICS.keys()

    one, two = seen.model(), kind_of(recipe).model()
    assert one.config == seen.config()
    states = one.state_dict(), two.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert isinstance(seen.objective(one), Objective)
    if kind.metrics:
        assert seen.usual(one) in METRICS

    following = list(seen.next(Path("RUN")))
    assert following
    for step in following:
        verb = spelled(step.command).split()[0]
        assert verb in app
        assert step.purpose[0].isupper()


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_a_kind_is_trained_and_shown(kind: type[Kind[Any, Any]], runs: dict[str, Plan], tmp_path: Path) -> None:
    planned = runs[named(kind)]
    session = Session(Plan(recipe=planned.recipe, folder=tmp_path / "run"), CPU)
    list(session)
    assert session.finished
    shown = session.kind.preview(session.model, session.examples, session.folder)
    assert (shown is None) == (named(kind) == "classification")
    assert shown is None or min(shown.picture.size) > 1
    about = session.kind.about(session.folder)
    assert ("teacher" in about) == (session.kind.teacher is not None)
    if kind.draws:
        batch = session.examples.batch(2)
        assert session.kind.samples(session.model, session.examples, batch).shape == batch.x.shape


def test_each_slot_of_a_recipe_can_be_built_by_its_name() -> None:
    recipe = load("ddpm-cifar")
    assert sum(p.numel() for p in build.backbone(recipe).parameters()) == 35_746_307
    assert build.denoiser(recipe).schedule == build.schedule(recipe) == recipe.model.schedule
    assert build.parameterization(recipe) == recipe.model.parameterization
    assert build.shape(recipe) == (3, 32, 32)
    assert build.conditioner(recipe).column is None and not build.first_stage(recipe).learned
