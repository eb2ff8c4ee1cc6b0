"""A run of mean velocities: trained, saved, opened, sampled in any few steps; what it refuses; and resumed."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import carrara as package
from carrara.draw import Request, finish, sample
from carrara.errors import UserError
from carrara.recipe.loading import load
from carrara.run.plan import plan
from carrara.run.session import HeldOut, Session
from carrara.seeds import Draws
from carrara.store import OpenModel
from carrara.store.runs import open_model
from carrara.toolkit import Toolkit
from carrara.train import StepReport
from tiny import Command, awaken

NETWORK = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [1], head_width: 8}"
BRIEF = (
    *(NETWORK, "data.size=8", "train.minutes=null", "train.batch=8", "train.precision=float32"),
    *("preview.count=2", "preview.every=2", "preview.held_out=8"),
)


def trained(run: Path, *options: str, preset: str = "mean-flow") -> list[Any]:
    planned = plan("digits", preset, run, [*BRIEF, "train.steps=2", *options])
    return list(Session(planned, torch.device("cpu")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("mean") / "run"
    events = trained(run, "objective.guidance=1.5")
    assert sum(isinstance(event, StepReport) for event in events) == 2
    (held_out,) = (event for event in events if isinstance(event, HeldOut))
    assert {name.split("@")[0] for name in held_out.values} == {"loss", "whole"}
    awaken(run)
    return run


@pytest.fixture
def model(made: Path) -> Toolkit:
    return package.load(made)


def test_it_draws_in_one_step_and_in_any_few(model: Toolkit) -> None:
    assert model.model.few_steps == 1 and model.model.spans
    one = model.samples("3", count=3)
    assert one.shape == (3, 1, 8, 8)
    torch.testing.assert_close(model.samples("3", count=1, seed=2), one[2:], rtol=0, atol=1e-5)
    drawn = [one, *(model.samples("3", count=3, steps=steps) for steps in (2, 4))]
    assert all(not torch.equal(a, b) for a, b in pairwise(drawn))


def test_a_step_is_what_the_network_says_of_it(model: Toolkit) -> None:
    """Two steps by hand: x_r = x_t - (t - r) u."""
    diffusion = model.model.diffusion("")
    asked = Request(wishes=("3",) * 2, seeds=(0, 1), settings=diffusion.settings(steps=2), precision="float32")
    drawn = finish(sample(OpenModel(model=diffusion), asked))
    denoiser, cond = diffusion.denoiser, diffusion.conditions(["3"] * 2)
    x = Draws(0, torch.arange(2)).normal("initial noise", 1, 8, 8)
    for t in (1.0, 0.5):
        ends = torch.full((2,), t), torch.full((2,), t - 0.5)
        with torch.no_grad():
            x = x - 0.5 * denoiser.velocity(x, *ends, cond)  # type: ignore[attr-defined]
    torch.testing.assert_close(drawn, x, rtol=0, atol=1e-4)


def test_saved_and_opened_it_is_the_same(model: Toolkit, made: Path, tmp_path: Path) -> None:
    open_model(made).save(tmp_path / "again", few_steps=1)
    again = package.load(tmp_path / "again")
    assert torch.equal(again.samples("7", count=2, steps=2), model.samples("7", count=2, steps=2))
    assert open_model(tmp_path / "again").digest() == open_model(made).digest()


def test_what_it_cannot_do_is_refused(model: Toolkit, carrara: Command, made: Path, tmp_path: Path) -> None:
    for options in ({"sampler": "ddim"}, {"guidance": 2.0}, {"grid": "karras"}):
        with pytest.raises(UserError, match="or sample a run that diffuses"):
            model.samples("3", **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="17 are more than it has learned"):
        model.samples("3", steps=17)
    with pytest.raises(UserError, match="edit with a run that diffuses"):
        model.edit.variation(made / "samples" / "step-000002.png")
    with pytest.raises(UserError, match="knows no likelihood"):
        model.evaluate("nll")
    pytest.importorskip("onnxruntime")
    code, said = carrara("export", made, "--to", "onnx", "--out", tmp_path / "onnx")
    assert code == 2 and "told where its steps end" in said


@pytest.mark.slow
def test_a_run_that_was_cut_off_goes_on_to_the_bit(tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    trained(run, "train.steps=1", "checkpoint.every=1")
    trained(run, "checkpoint.every=1")
    trained(whole, "checkpoint.every=1")
    ours, theirs = (open_model(folder).state_dict() for folder in (run, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert any(name.startswith("denoiser.span") for name in theirs)


def test_without_the_preset_schedule_and_sampler_are_chosen(tmp_path: Path) -> None:
    told = ("objective=mean_flow", "model.schedule=cosine", "sample.sampler=dpmpp", "sample.grid=uniform")
    planned = plan(
        "digits", "digits", tmp_path / "run", [*BRIEF, *told, "train.steps=2", "sample.guidance=1", "sample.steps=20"]
    )
    sampling = planned.recipe.sample
    assert (sampling.sampler.kind, sampling.steps) == ("euler", 1)
    assert planned.recipe.model.schedule.kind == "rectified_flow"
    said = " ".join(reason for stage in planned.stages for reason in stage.reasons)
    assert "on which mean velocities are learned" in said and "as long as was learned" in said


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("model.schedule=sigmoid",), "learned on straight ways, and the schedule is sigmoid"),
        (("model.schedule={kind: rectified_flow, shift: 3.0}",), "without a shift"),
        (("sample.sampler=ddim",), "draws in equal steps"),
        (("sample.steps=17",), "up to 16"),
        (("sample.guidance=1.5",), "has its guidance learned"),
        (("objective.guidance=2", "model.conditioner=none"), "needs a condition"),
        (("train.compile=true",), "leave train.compile"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(options: tuple[str, ...], why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        trained(tmp_path / "run", *options)


def test_the_preset() -> None:
    recipe = load("mean-flow")
    assert (recipe.objective.kind, recipe.sample.sampler.kind, recipe.sample.steps) == ("mean_flow", "euler", 1)
