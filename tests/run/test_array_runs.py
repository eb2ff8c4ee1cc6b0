"""Runs of arrays and tables: what is chosen for them, what they refuse, and that they go on where they were."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from carrara.data import batch_of
from carrara.errors import UserError
from carrara.measure.likelihood import diffusion_bound
from carrara.modality import Numbers, Table
from carrara.model import DiffusionModel
from carrara.recipe import build
from carrara.recipe.resolve import resolve
from carrara.run.plan import plan
from carrara.run.session import Session
from carrara.seeds import Draws, torch_generator
from carrara.store import Store

SMALL = ("train.steps=1", "preview.every=0", "train.precision=float32", "train.batch=2")
TINY = "model.backbone={kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: []}"


def arrays(path: Path, *shape: int, missing: bool = False) -> str:
    values = 100 + 20 * np.random.default_rng(0).normal(size=shape)
    if missing:
        values[values > 120] = np.nan
    np.save(path, values.astype(np.float32))
    return str(path)


def run(source: str, preset: str, folder: Path, *options: str) -> None:
    (stage,) = plan(source, preset, folder, [*SMALL, *options]).stages
    with torch_generator(0):
        assert list(Session(stage, torch.device("cpu")))


def test_arrays_keep_their_size_and_their_range(tmp_path: Path) -> None:
    source = arrays(tmp_path / "a.npy", 12, 7, 10, 2)
    planned = plan(source, "array", tmp_path / "run", SMALL)
    data = planned.recipe.data
    assert (data.size, data.channels, data.shape) == ((7, 10), 2, (2, 7, 10))
    assert isinstance(data.modality, Numbers) and data.modality.dtype == "float32"
    assert any(why.startswith("range ") for why in planned.reasons)
    assert any("their own size" in why for why in planned.reasons)
    curves = plan(arrays(tmp_path / "b.npy", 12, 64), "array", tmp_path / "other", SMALL)
    build.model(curves.recipe)  # its attention has heads that fit


def test_volumes_are_trained_in_float32_on_a_cpu(tmp_path: Path) -> None:
    planned = plan(arrays(tmp_path / "a.npy", 12, 8, 8, 8), "volume", tmp_path / "run", ["train.steps=1"])
    for device, precision in (("cpu", "float32"), ("cuda", "auto")):
        recipe = planned.recipe.model_copy(update={"train": replace(planned.recipe.train, precision="auto")})
        resolved = resolve(recipe, build.dataset(recipe).info, device)
        assert resolved.recipe.train.precision == precision
        assert any("precision float32" in why for why in resolved.reasons) == (device == "cpu")


def test_a_run_of_arrays_goes_on(tmp_path: Path) -> None:
    source = arrays(tmp_path / "a.npy", 12, 8, 8, missing=True)
    run(source, "array", tmp_path / "run", TINY)
    for steps, again in ((2, None), (3, source)):
        planned = plan(again, None, tmp_path / "run", [f"train.steps={steps}"])
        assert planned.resumes
        with torch_generator(0):
            assert list(Session(planned, torch.device("cpu")))
    model = Store().open(tmp_path / "run").model
    assert isinstance(model, DiffusionModel)
    assert isinstance(model.config.modality, Numbers) and model.config.modality.missing
    data = planned.recipe.data
    batch = batch_of(build.dataset(planned.recipe), data.transform(), range(3))
    assert batch.x.isnan().any()
    with pytest.raises(UserError, match="some values of these data are missing, and a likelihood is of whole examples"):
        diffusion_bound(model, batch, Draws(0, batch.position))


@pytest.mark.parametrize(("preset", "options"), [("latent", ()), ("vae", ()), ("pixel", ("objective.loss=hybrid",))])
def test_what_would_learn_from_nothing_is_refused(preset: str, options: tuple[str, ...], tmp_path: Path) -> None:
    source = arrays(tmp_path / "a.npy", 12, 8, 8, missing=True)
    with pytest.raises(UserError, match=r"some values are missing, and only diffusion of the values themselves"):
        plan(source, preset, tmp_path / "run", [*SMALL, *options])


def test_a_run_of_a_table_writes_such_a_table(tmp_path: Path) -> None:
    text = "\n".join(["height,kind,count", *(f"{k / 7:.4f},{'ab'[k % 2]},{k % 5}" for k in range(40))])
    (tmp_path / "a.csv").write_text(text)
    run(str(tmp_path / "a.csv"), "table", tmp_path / "run", "model.backbone.width=8")
    model = Store().open(tmp_path / "run").model
    assert isinstance(model, DiffusionModel) and isinstance(model.config.modality, Table)
    (path,) = model.medium.write_all(torch.randn(9, *model.shape), tmp_path, lambda k: {})
    header, *rows = path.read_text().splitlines()
    assert header == "height,kind,count" and len(rows) == 9
    assert {row.split(",")[1] for row in rows} <= {"a", "b"}
    assert plan(str(tmp_path / "a.csv"), None, tmp_path / "run", ["train.steps=2"]).resumes
