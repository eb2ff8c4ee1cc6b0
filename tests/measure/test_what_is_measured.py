"""Figures and pictures of a page are of the samples that ``carrara sample`` draws, whatever guides these."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from carrara import data, evaluate
from carrara.draw import Ask, collect, request
from carrara.measure import MeasureSettings, measure_run
from carrara.measure.report import write_report
from carrara.measure.subject import Subject
from carrara.pixels import read_recipe, rounded
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.store import OpenModel, Store

CPU = torch.device("cpu")
SMALL = (
    "data.size=8",
    "data.held_out=0.5",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "model.conditioner=none",
    "train.minutes=null",
    "train.steps=8",
    "train.batch=4",
    "train.precision=float32",
    "preview.every=4",
    "preview.count=4",
    "checkpoint.every=4",
    "sample.guidance=1",
    "sample.steps=3",
)
COUNT = 70
"""More than one batch."""


def trained(run: Path, *changes: str, preset: str = "digits") -> Path:
    folder = run.parent / "few"
    if not folder.exists():
        folder.mkdir()
        for k in range(60):
            Image.fromarray(np.asarray(data.digits().pixels(k))[..., 0]).save(folder / f"{k}.png")
    (stage,) = plan(str(folder), preset, run, [*SMALL, *changes]).stages
    list(Session(stage, CPU))
    return run


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose samples are led away from what its model was early."""
    return trained(tmp_path_factory.mktemp("guided") / "run", "checkpoint.early=0.3")


def opened(run: Path) -> OpenModel:
    return Store(CPU).open(run)


def looked_at(run: Path, metric: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, dict[str, Any]]:
    """The samples that a metric's features were computed of, and what it wrote."""
    pictures: list[Tensor] = []
    extract = evaluate.extract

    def watched(features: evaluate.Features, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        for x in batches:
            pictures.append(x)
            yield from extract(features, [x])

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "extract", watched)
        list(measure_run(run, metric, CPU, MeasureSettings(samples=COUNT)))
    return torch.cat(pictures), json.loads((run / "evaluation" / f"{metric}.json").read_text())


@pytest.mark.parametrize("metric", ["kid", "fid", "prdc", "memorisation"])
def test_metrics_look_at_what_sample_draws(guided: Path, metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(guided)
    wanted = request(model, Ask(count=COUNT))
    assert wanted.weak is not None and wanted.settings.guidance == 3
    pictures, written = looked_at(guided, metric, monkeypatch)
    assert torch.equal(pictures, rounded(collect(model, wanted).values))
    assert written["sample"] == repr(wanted.settings) and "guidance=3.0" in written["sample"]
    assert written["weak"] == {"run": str(guided / "early"), "weights": opened(guided / "early").model.digest()}


def test_a_sample_is_the_same_in_any_batch(guided: Path) -> None:
    """So those that are drawn again, to be shown beside training pictures, are those that were measured."""
    samples = Subject(opened(guided), MeasureSettings()).samples
    whole = torch.cat(list(samples.pictures([None] * COUNT, range(COUNT))))
    some = [3, 12, 66]
    assert torch.equal(torch.cat(list(samples.pictures([None] * len(some), some))), whole[some])


def test_a_model_that_sees_pictures_sees_the_same_in_any_batch(tmp_path: Path) -> None:
    run = trained(tmp_path / "up", "model.image.factor=2", "preview.every=0", preset="upscale-x4")
    samples = Subject(opened(run), MeasureSettings(samples=6)).samples
    wishes, some = samples.wishes("train"), [4, 1]
    whole = torch.cat(list(samples.pictures(wishes, range(6))))
    assert torch.equal(torch.cat(list(samples.pictures([wishes[k] for k in some], some))), whole[some])


def test_models_that_nothing_leads_away_are_measured_as_they_are(
    guided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "plain", "checkpoint.early=null")
    pictures, written = looked_at(run, "kid", monkeypatch)
    model = opened(run)
    assert written["sample"] == repr(model.model.settings()) and "weak" not in written
    assert torch.equal(pictures, rounded(collect(model, request(model, Ask(count=COUNT, guidance=1.0))).values))


def test_a_page_shows_what_its_figures_measure(guided: Path) -> None:
    write_report(guided, CPU)
    shown = guided / "samples" / "report" / "grid.png"
    assert (guided / "samples" / "step-000008.png").is_file(), "of these weights, and not guided"
    wanted = read_recipe(shown)["request"]
    assert wanted["settings"]["guidance"] == 3 and wanted["weak"] is not None
    assert "samples/report/grid.png" in (guided / "evaluation" / "report.html").read_text()
