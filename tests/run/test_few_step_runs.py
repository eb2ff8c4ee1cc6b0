"""A model of few steps: what its teacher's solutions are, its run, and that both are the same however often stopped."""

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from carrara.backbone import Backbone, MlpConfig
from carrara.denoiser import Denoiser
from carrara.draw import Request, sample
from carrara.errors import UserError
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import X0, RectifiedFlow, Schedule
from carrara.objective.fewstep import TOLD, FewStepSettings
from carrara.recipe.loading import load
from carrara.run.plan import Plan, plan, plan_few_step
from carrara.run.session import HeldOut, Session
from carrara.sample import Uniform, last
from carrara.seeds import Draws
from carrara.store import OpenModel, open_model
from carrara.store.latents import Encoding
from carrara.store.trajectories import Teacher, Trajectories, TrajectoryCache
from carrara.train import StepReport, read_log
from carrara.types import Batch, Conditioning
from tiny import TINY

CPU = torch.device("cpu")
SMALL = (
    *("objective.trajectories=70", "objective.solver=4", "train.steps=4", "train.batch=4", "train.precision=float32"),
    *("checkpoint.every=2", "preview.every=2", "preview.count=2", "preview.held_out=2"),
)


class Gaussian(Backbone):
    """E[x0 | x_t] of data N(0.3, 0.5^2), as the parameterization x0 on a rectified flow asks for it."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule, self.unused = schedule, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise_level: Tensor, cond: Conditioning) -> Tensor:
        alpha, sigma = (v[:, None] for v in self.schedule(self.schedule.time_of(noise_level.double())))
        x_t = x * torch.sqrt(alpha**2 + sigma**2)
        return ((alpha * 0.25 * x_t + sigma**2 * 0.3) / (alpha**2 * 0.25 + sigma**2)).to(x)


def trained(planned: Plan) -> list[Any]:
    return [event for stage in planned.stages for event in Session(stage, CPU)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of training on two classes of pictures."""
    folder = tmp_path_factory.mktemp("few")
    for k in range(12):
        path = folder / "photos" / ("red", "blue")[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * k, np.uint8)).save(path)
    brief = [*TINY, "preview.every=0", "train.steps=2", "sample.guidance=2"]
    trained(plan(str(folder / "photos"), "pixel", folder / "teacher", brief))
    return folder / "teacher"


@pytest.fixture(scope="module")
def student(teacher: Path) -> Path:
    trained(plan_few_step(teacher, 2, None, SMALL))
    return teacher.with_name("teacher-2-steps")


def test_solutions_are_the_probability_flow() -> None:
    schedule = RectifiedFlow()
    config = ModelConfig(shape=(2,), backbone=MlpConfig(width=2, depth=1), schedule=schedule, parameterization=X0())
    model = DiffusionModel(config)
    model.denoiser = Denoiser(Gaussian(schedule), schedule, X0())
    position = torch.arange(32)
    batch = Batch(x=Draws(0, position).normal("noise", 2), position=position, columns={TOLD: torch.ones(32, 1)})
    states = Teacher(model=model, distilled=FewStepSettings(steps=4, solver=256)).solve(batch)
    assert states.shape == (32, 5, 2)
    times = Uniform()(4, schedule)
    alpha, sigma = (v[None, :, None].float() for v in schedule(times))
    exact = alpha * 0.3 + batch.x[:, None] * torch.sqrt((alpha * 0.5) ** 2 + sigma**2)
    assert torch.allclose(states, exact, atol=5e-4)


def test_a_solution_ends_where_the_guided_teacher_draws(teacher: Path) -> None:
    model = open_model(teacher)
    assert isinstance(model, DiffusionModel)
    made = Teacher(model=model, distilled=FewStepSettings(steps=3, solver=8))
    assert made.settings.guidance == 2
    assert made.settings.steps == 9
    seeds = Draws(0, torch.tensor([5, 6]))
    columns = {"label": torch.eye(2), TOLD: torch.ones(2, 1)}
    noise = seeds.normal("initial noise", *model.latent_shape) * model.config.schedule(torch.ones(()))[1]
    states = made.solve(Batch(x=noise, position=seeds.samples, columns=columns))
    asked = Request(wishes=("blue", "red"), seeds=(5, 6), settings=made.settings)
    drawn = last(at.step for at in sample(OpenModel(model=model), asked)).x
    assert torch.equal(states[:, 0], noise)
    assert torch.allclose(states[:, -1], drawn, atol=1e-5)


def test_a_student_is_a_run_of_the_same_form(teacher: Path, student: Path) -> None:
    model, taught = open_model(student), open_model(teacher)
    assert isinstance(model, DiffusionModel)
    settings = model.settings()
    assert (settings.steps, settings.guidance, settings.sampler.kind, settings.grid.kind) == (2, 1, "euler", "uniform")
    assert model.config.backbone == taught.config.backbone  # type: ignore[union-attr]
    recipe = load(student / "recipe.yaml")
    assert isinstance(recipe.objective, FewStepSettings)
    assert recipe.objective.guidance == 2
    assert (student / "samples" / "step-000002.png").is_file()
    lines = list(read_log(student / "held_out.jsonl"))
    assert {"loss@t=1.000", "loss@t=0.500", "distance"} < lines[-1].keys()
    drawn = list(sample(OpenModel(model=model), Request(wishes=("red",), seeds=(0,), settings=settings)))
    assert len(drawn) == 2
    assert drawn[-1].pixels is not None


def test_a_student_begins_as_its_teacher(teacher: Path, tmp_path: Path) -> None:
    session = Session(plan_few_step(teacher, 2, tmp_path / "new", SMALL), CPU)
    begun, taught = session.model.state_dict(), open_model(teacher).state_dict()
    assert begun.keys() == taught.keys()
    assert all(torch.equal(begun[name], taught[name]) for name in begun)


def test_stopped_and_resumed_it_is_the_same(teacher: Path, student: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    stopped = iter(Session(plan_few_step(teacher, 2, again, SMALL), CPU))
    made = [event.done for event in islice(stopped, 2) if isinstance(event, Encoding)]
    assert made == [64, 70]
    assert next(event for event in stopped if isinstance(event, StepReport) and event.step == 3)
    del stopped
    resumed = plan_few_step(teacher, 2, again, SMALL)
    assert resumed.resumes
    steps = [event.step for event in trained(resumed) if isinstance(event, StepReport)]
    assert steps == [3, 4]
    logs = [[line["loss"] for line in read_log(folder / "log.jsonl")] for folder in (student, again)]
    assert logs[0] == logs[1]
    before, after = (open_model(folder).state_dict() for folder in (student, again))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_was_made_is_kept_and_what_was_lost_is_made_again(teacher: Path, student: Path, tmp_path: Path) -> None:
    student = Path(shutil.copytree(student, tmp_path / "copy"))
    first, second = sorted((student / "trajectories").rglob("*.safetensors"))
    before = second.read_bytes()
    second.write_bytes(before[:100])
    stamp = first.stat().st_mtime_ns
    longer = plan_few_step(teacher, 2, student, [*SMALL, "train.steps=5", "preview.every=0"])
    trained(longer)
    assert second.read_bytes() == before
    assert first.stat().st_mtime_ns == stamp


def test_solutions_stay_on_the_disk(teacher: Path, student: Path) -> None:
    cache = Session(plan_few_step(teacher, 2, student, SMALL), CPU)._cache
    assert isinstance(cache, TrajectoryCache)
    first, second = sorted((student / "trajectories").rglob("*.safetensors"))
    gone = Trajectories(cache._beginnings, [first, second.with_name("gone")])
    states = load_file(first)["states"]
    assert all(np.array_equal(gone.pixels(k), states[k].numpy()) for k in (0, 63))
    with pytest.raises(UserError, match="gone' is not there"):
        gone.pixels(64)
    assert np.array_equal(cache.opened().pixels(69), load_file(second)["states"][5].numpy())


def test_conditions_are_drawn_from_the_data_and_some_are_dropped(teacher: Path, tmp_path: Path) -> None:
    session = Session(plan_few_step(teacher, 2, tmp_path / "new", [*SMALL, "objective.drop=0.5"]), CPU)
    cache = session._cache
    assert isinstance(cache, TrajectoryCache)
    rows = [cache._beginnings.columns(k) for k in range(70)]
    told = sum(float(row[TOLD][0]) for row in rows)  # type: ignore[index]
    assert 20 < told < 50
    assert {int(row["label"].argmax()) for row in rows} == {0, 1}  # type: ignore[union-attr]
    assert not (cache._beginnings.pixels(0) == cache._beginnings.pixels(1)).any()


def test_a_model_in_latents_that_reads_no_caption_is_a_teacher_too(photos: Path, tmp_path: Path) -> None:
    tiny = "{kind: kl, channels: 8, multipliers: [1, 2], blocks: 1, latent_channels: 2, patch: 1}"
    first = ["data.size=16", f"model.first_stage={tiny}", "objective.perceptual=0", "train.steps=2", "train.batch=4"]
    trained(plan(str(photos), "autoencoder-kl-f4", tmp_path / "first", [*first, "preview.every=0"]))
    where = f"model.first_stage={{kind: trained, run: {tmp_path / 'first'}}}"
    small = [*TINY[1:], "data.size=16", where, "train.steps=2", "sample.clip=false"]
    trained(plan(str(photos), "pixel", tmp_path / "teacher", small))
    events = trained(plan_few_step(tmp_path / "teacher", 2, None, SMALL))
    assert any(isinstance(event, HeldOut) for event in events)
    model, taught = (open_model(tmp_path / name) for name in ("teacher-2-steps", "teacher"))
    assert model.latent_shape == (2, 8, 8)
    assert all(
        torch.equal(w, taught.first_stage.state_dict()[name]) for name, w in model.first_stage.state_dict().items()
    )


def test_points_are_learned_too(tmp_path: Path) -> None:
    brief = ["data.points=64", "train.steps=2", "train.batch=8", "preview.every=0"]
    trained(plan("swissroll", "swissroll", tmp_path / "roll", brief))
    trained(plan_few_step(tmp_path / "roll", 1, None, SMALL))
    model = open_model(tmp_path / "roll-1-steps")
    assert isinstance(model, DiffusionModel)
    assert model.settings().steps == 1


def test_mistakes(teacher: Path, student: Path, tmp_path: Path) -> None:
    photos = teacher.with_name("photos")
    with pytest.raises(UserError, match="takes 2 steps already: name its teacher"):
        plan_few_step(student, 1, None, [])
    for steps in (0, 17):
        with pytest.raises(UserError, match="1 to 16 steps"):
            plan_few_step(teacher, steps, None, [])
    with pytest.raises(UserError, match="holds another run"):
        plan_few_step(teacher, 4, student, SMALL)
    with pytest.raises(UserError, match="there is no run"):
        plan_few_step(tmp_path / "nowhere", 4, None, [])
    with pytest.raises(UserError, match="is not empty"):
        plan_few_step(teacher, 4, photos, [])
    for preset, named in (("pixel", "objective=few_step"), ("few-step", f"objective.teacher={teacher}")):
        with pytest.raises(UserError, match="'distill RUN steps=4' names it"):
            plan(str(photos), preset, tmp_path / "own", [*TINY, named])


def test_a_student_learns_from_one_teacher_that_is_opened_once(
    teacher: Path, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught, again = (Path(shutil.copytree(run, tmp_path / run.name)) for run in (teacher, student))
    recipe = (again / "recipe.yaml").read_text().replace(str(teacher), str(taught))
    (again / "recipe.yaml").write_text(recipe)
    opened = list[Path]()
    monkeypatch.setattr(
        "carrara.recipe.kinds.few_step.open_model", lambda path: opened.append(path) or open_model(path)
    )
    longer = [*SMALL, "train.steps=5"]
    trained(plan_few_step(taught, 2, again, longer))
    assert opened == [taught]
    trained(plan(None, None, taught, ["train.steps=3"]))
    with pytest.raises(UserError, match="has learned from another model than its teacher is now"):
        Session(plan_few_step(taught, 2, again, [*SMALL, "train.steps=6"]), CPU)
