"""What is written for diffusers draws the same in diffusers, and comes back as it was."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pipelines import (
    CLASSES,
    OURS,
    PIXELS,
    answer,
    drawn,
    exported,
    imported,
    saved,
    their_answer,
    their_pictures,
)

from carrara.sample import Ddpm

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

LABELS, NUMBERS = ("dog", "a, b"), (1, 2)
PIPELINE = {
    "latents": "LDMPipeline",
    "quantized latents": "LDMPipeline",
    "transformer": "DiTPipeline",
    "transformer of no class": "DiTPipeline",
}


@pytest.mark.parametrize("kind", OURS)
def test_the_same_answers_and_pictures(kind: str, tmp_path: Path) -> None:
    model = saved(OURS[kind], tmp_path / "run")
    pipeline = exported(tmp_path / "run", tmp_path / "out")
    assert type(pipeline).__name__ == PIPELINE.get(kind, "DDIMPipeline")
    last = (model.config.schedule.discrete_steps or 1000) - 1
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    for step in (0, 1, last // 2, last):
        mine, other = answer(model, x, step, LABELS), their_answer(pipeline, x, step, NUMBERS)
        assert (mine - other).abs().max() <= 1e-4 * other.abs().max()
    mine, other = drawn(model, 2, LABELS), their_pictures(pipeline, 2, NUMBERS)
    assert mine.std() > 0.05
    assert (mine - other).abs().max() <= 2 / 255


@pytest.mark.parametrize("kind", OURS)
def test_back_again_to_the_bit(kind: str, tmp_path: Path) -> None:
    model = saved(OURS[kind], tmp_path / "run")
    exported(tmp_path / "run", tmp_path / "out")
    again = imported(tmp_path / "out", tmp_path / "again")
    assert again.config == model.config
    found = again.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in model.state_dict().items())
    assert found.keys() == model.state_dict().keys()


@pytest.mark.parametrize("kind", ["v", "latents"])
def test_a_class_is_drawn(kind: str, tmp_path: Path) -> None:
    model = saved(replace(OURS[kind], conditioner=CLASSES), tmp_path / "run")
    pipeline = exported(tmp_path / "run", tmp_path / "out", label="cat")
    mine = drawn(model, 2, ("cat", "cat"))
    assert (mine - drawn(model, 2, ("dog", "dog"))).abs().max() > 4 / 255
    assert (mine - their_pictures(pipeline, 2, ())).abs().max() <= 2 / 255
    again = imported(tmp_path / "out", tmp_path / "again")
    assert again.about["label"] == "cat"
    assert torch.equal(drawn(again, 2, ()), drawn(imported(tmp_path / "out", tmp_path / "third"), 2, ()))


def test_guidance_of_a_transformer(tmp_path: Path) -> None:
    model = saved(replace(OURS["transformer"], learned_variance=False), tmp_path / "run")
    pipeline = exported(tmp_path / "run", tmp_path / "out")
    assert pipeline.get_label_ids(["cat", "dog"]) == [0, 1]
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        coefficients = model.denoiser.coefficients(torch.tensor(0.5, dtype=torch.float64))
        mine = model.denoiser.output(x, coefficients, model.conditioner.null(2))
        other = pipeline.transformer(x, timestep=torch.tensor([499, 499]), class_labels=torch.tensor([1000, 1000]))
    torch.testing.assert_close(mine, other.sample, rtol=0, atol=1e-4 * other.sample.abs().max().item())


def test_clipped_pictures(tmp_path: Path) -> None:
    model = saved(replace(PIXELS, sample=replace(PIXELS.sample, clip=True)), tmp_path / "run")
    pipeline = exported(tmp_path / "run", tmp_path / "out")
    mine = drawn(model, 2, ())
    assert (mine - their_pictures(pipeline, 2, (), clipped=True)).abs().max() <= 2 / 255


def test_the_scheduler_is_the_sampler_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(replace(PIXELS, sample=replace(PIXELS.sample, sampler=Ddpm(variance="beta"))), tmp_path / "run")
    pipeline = exported(tmp_path / "run", tmp_path / "out")
    assert type(pipeline).__name__ == "DDPMPipeline"
    assert pipeline.scheduler.config.variance_type == "fixed_large"
    assert "this model's own number of steps is 20" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "model_index.json").read_text())["unet"] == ["diffusers", "UNet2DModel"]
