"""``carrara evaluate`` on small runs: likelihood, metrics of samples, memorisation."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carrara import data
from carrara.cli.app import evaluate
from carrara.errors import UserError
from carrara.measure import METRICS, MeasureSettings, measure_run
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.run.plan import plan
from carrara.run.session import Session

CPU = torch.device("cpu")
NETWORK = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}"
SMALL = ("train.minutes=null", "train.steps=3", "train.batch=8", "train.precision=float32", "preview.every=0")
DIGITS = (
    *SMALL,
    NETWORK,
    *("model.schedule=cosine", "model.parameterization=v", "objective.times=uniform", "objective.weighting=unit"),
    "data.size=8",
    "data.held_out=0.4",
    "model.conditioner=none",
    "sample.guidance=1",
    "sample.steps=2",
)


def trained(run: Path, source: str, preset: str, *changes: str) -> Path:
    for stage in plan(source, preset, run, changes).stages:
        list(Session(stage, CPU))
    return run


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 80 digits."""
    folder = tmp_path_factory.mktemp("few")
    for k in range(80):
        Image.fromarray(np.asarray(data.digits().pixels(k))[..., 0]).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def digits(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "digits", str(few), "digits", *DIGITS)


def held_out(run: Path) -> int:
    recipe = load(run / "recipe.yaml")
    return len(build.parts(recipe, build.dataset(recipe))[1])


def measured(run: Path, metrics: str, **how: Any) -> dict[str, Any]:
    for found, paths in measure_run(run, metrics, CPU, MeasureSettings(**how)):
        assert found.lines
        assert json.loads(json.dumps(found.data)).items() <= json.loads(paths[0].read_text()).items()
    return {name: json.loads((run / "evaluation" / f"{name}.json").read_text()) for name in metrics.split(",")}


def test_likelihood_in_bits(digits: Path) -> None:
    found = measured(digits, "nll")["nll"]
    assert found["unit"] == "bits/dim" and found["n"] == held_out(digits)
    assert found["total"] == pytest.approx(found["prior"] + found["diffusion"] + found["decoder"], abs=1e-6)
    assert 2 < found["total"] < 12 and 0 < found["rmse"] < 255


def test_a_network_that_says_how_sure_it_is(few: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "hybrid", str(few), "digits", *DIGITS, "objective.loss=hybrid")
    assert 2 < measured(run, "nll")["nll"]["total"] < 12


def test_points_by_the_flow_too_with_their_thickness(tmp_path: Path) -> None:
    run = trained(tmp_path / "roll", "swissroll", "swissroll", *SMALL, "data.points=400", "data.thickness=0.1")
    found = measured(run, "nll,flow")
    assert {found[name]["unit"] for name in found} == {"bits/point"} and found["nll"]["thickness"] == 0.1
    assert found["flow"]["total"] == pytest.approx(found["flow"]["flow"])
    for metric in ("kid", "memorisation"):
        with pytest.raises(UserError, match="this run makes points"):
            measured(run, metric)


def test_a_vae_of_levels_in_bits(few: Path, tmp_path: Path) -> None:
    vae = "{kind: vae, latents: [2], hidden: 8, depth: 1, likelihood: gaussian}"
    run = trained(tmp_path / "vae", str(few), "vae", *SMALL, "data.size=8", f"model.first_stage={vae}")
    found = measured(run, "nll")["nll"]
    assert found["iwae_bits_per_dim"] <= found["bits_per_dim"] + 0.01
    with pytest.raises(UserError, match="no probability flow"):
        measured(run, "flow")
    with pytest.raises(UserError, match="is an autoencoder"):
        measured(run, "kid", samples=20)
    with pytest.raises(UserError, match="repeats nothing"):
        measured(run, "memorisation")


def test_samples_are_compared_and_what_took_long_is_kept(digits: Path) -> None:
    watched: list[str] = []

    def watch(done: Any, total: int, what: str) -> Any:
        watched.append(what)
        return done

    found = measured(digits, "kid,fid,prdc", samples=24, watch=watch)
    assert found["kid"]["kid"]["value"] > 0 and 0 <= found["prdc"]["precision"]["value"] <= 1
    assert all(
        one["fake"] == 24 and one["real"] == held_out(digits) and "efficientnet" in one["features"]
        for one in found.values()
    )
    assert watched.count("drawing samples") == 1
    (kept,) = (digits / "evaluation" / "reference").iterdir()
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    again = measured(digits, "kid", samples=24)
    assert again["kid"] == found["kid"] and {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before


def test_memorisation_with_pictures_and_losses(digits: Path) -> None:
    found = measured(digits, "memorisation", samples=40)["memorisation"]
    assert found["verdict"] in ("memorised", "sound", "too few pictures to say")
    assert found["loss"]["train"].keys() == found["loss"]["held out"].keys()
    assert (digits / "evaluation" / "memorisation.png").is_file()


def test_the_help_says_what_each_metric_is() -> None:
    said = " ".join((inspect.getdoc(evaluate) or "").split())
    for name, metric in METRICS.items():
        assert re.search(rf"\b{name}\b", said) and metric.about in said, name


@pytest.mark.parametrize(
    ("metrics", "how", "says"),
    [
        ("kidd", {}, "kid"),
        ("cmmd", {"samples": 24}, "CLIP"),
        ("clip_score", {"samples": 24}, "clip:FOLDER"),
        ("kid", {"samples": 5}, "too few"),
        ("kid", {"samples": 24, "features": "clip"}, "clip:FOLDER"),
        ("kid", {"samples": 1}, "2 of them or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(digits: Path, metrics: str, how: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        measured(digits, metrics, **how)


def test_memorisation_needs_pictures_that_were_held_out(few: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "all", str(few), "digits", *DIGITS, "data.held_out=0")
    with pytest.raises(UserError, match="held none out"):
        measured(run, "memorisation", samples=20)
