"""Two stages by one command: an autoencoder, its statistics, cached latents, and diffusion in them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from carrara.autoencoder import Kl
from carrara.data import batch_of
from carrara.draw import Ask, request, sample
from carrara.errors import UserError
from carrara.model import Autoencoder, DiffusionModel
from carrara.recipe import build
from carrara.recipe.loading import load
from carrara.run.plan import Plan, plan, plan_distillation
from carrara.run.rehearsal import rehearse
from carrara.run.session import Diagnosis, HeldOut, ModelSaved, Session
from carrara.seeds import Draws
from carrara.store import OpenModel, Store, open_model
from carrara.store.latents import Encoding, LatentCache
from carrara.train import StepReport

CPU = torch.device("cpu")
TINY = "{kind: kl, channels: 8, multipliers: [1, 2], blocks: 1, latent_channels: 2, patch: 1}"
RECIPE = f"""
data: {{size: 16, channels: 3, flip: true, held_out: 0.2}}
autoencoder:
  first_stage: {TINY}
  objective: {{kind: autoencoding, perceptual: 0}}
  train: {{steps: 4, batch: 4, precision: float32}}
  checkpoint: {{every: 2}}
  preview: {{every: 2, count: 4}}
model:
  backbone: {{kind: unet, channels: 16, multipliers: [1, 2], blocks: 1, attention_levels: [], modulation: shift}}
train: {{steps: 4, batch: 4, precision: float32}}
checkpoint: {{every: 2}}
preview: {{every: 2, count: 2}}
sample: {{steps: 2}}
"""


def planned(photos: Path, folder: Path, *overrides: str) -> Plan:
    file = photos.parent / "two.yaml"
    file.write_text(RECIPE)
    return plan(str(photos), str(file), folder, overrides)


def trained(whole: Plan, events: list[Any] | None = None) -> list[Any]:
    """Runs all stages to their end."""
    events = [] if events is None else events
    for stage in whole.stages:
        session = Session(stage, CPU)
        if not (session.finished and stage.whole):
            events += session
    return events


def test_one_command_trains_both(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    events = trained(planned(photos, run))
    assert [type(event) for event in events].count(ModelSaved) == 2
    assert sum(isinstance(event, StepReport) for event in events) == 8
    assert any(isinstance(event, Encoding) for event in events)

    first, second = open_model(run / "autoencoder"), open_model(run)
    assert isinstance(first, Autoencoder)
    assert isinstance(second, DiffusionModel)
    assert second.latent_shape == (2, 8, 8)
    for name, tensor in first.first_stage.state_dict().items():
        assert torch.equal(tensor, second.first_stage.state_dict()[name])
    assert (first.first_stage.std != 1).all()
    opened = OpenModel(model=second)
    *_, last = sample(opened, request(opened, Ask(count=2)))
    assert last.pixels is not None
    assert last.pixels.shape == (2, 3, 16, 16)
    assert (run / "samples" / "step-000004.png").is_file()
    assert (run / "autoencoder" / "samples" / "step-000004.png").is_file()


def test_latents_of_the_training_data_are_whitened(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(planned(photos, run))
    stage = open_model(run / "autoencoder").first_stage
    assert isinstance(stage, Kl)
    recipe = load(run / "recipe.yaml")
    training, _ = build.parts(recipe, build.dataset(recipe))
    batch = batch_of(training, build.transform(recipe), range(len(training)))
    z = stage.latents(stage.encode_raw(batch.x), Draws(recipe.seed, batch.position))
    rows = z.transpose(0, 1).flatten(1)
    assert rows.mean(1).abs().max() < 1e-4
    assert (rows.std(1) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("stop", [1, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (3, 5)), 7])
def test_interrupted_anywhere_the_same_command_ends_the_same(stop: int, photos: Path, tmp_path: Path) -> None:
    trained(planned(photos, tmp_path / "whole"))

    steps = 0
    for stage in planned(photos, tmp_path / "broken").stages:
        session = Session(stage, CPU)
        for event in session:
            steps += isinstance(event, StepReport)
            if steps == stop:
                break
        if steps == stop:
            break
    again = planned(photos, tmp_path / "broken")
    assert again.resumes
    trained(again)
    for part in ("model/first_stage", "model/denoiser", "model/conditioner", "autoencoder/model/first_stage"):
        a, b = (load_file(tmp_path / name / f"{part}.safetensors") for name in ("whole", "broken"))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a), part


def test_a_finished_run_has_nothing_left_to_do(photos: Path, tmp_path: Path) -> None:
    trained(planned(photos, tmp_path / "run"))
    assert trained(planned(photos, tmp_path / "run")) == []


def test_cached_and_encoded_latents_train_the_same_model(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cache = [e.loss for e in trained(planned(photos, tmp_path / "cached")) if isinstance(e, StepReport)]
    monkeypatch.setattr("carrara.recipe.kinds.networks.cache_for", lambda *_: None)
    without = [e.loss for e in trained(planned(photos, tmp_path / "encoded")) if isinstance(e, StepReport)]
    assert not (tmp_path / "encoded" / "latents").exists()
    assert with_cache == pytest.approx(without, rel=2e-3)  # float16 on the disk


def test_held_out_latents_are_encoded_in_float32_too(photos: Path, tmp_path: Path) -> None:
    trained(planned(photos, tmp_path / "run"))
    session = Session(planned(photos, tmp_path / "run").stages[1], CPU)
    assert isinstance(session._cache, LatentCache)
    held = session.examples.batch(2)
    (exact,) = session._cache.encoded([held])
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = session._cache.encoded([held])
    assert torch.equal(found.x, exact.x)


def test_another_autoencoder_gets_another_cache(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(planned(photos, run))
    (folder,) = (run / "latents").iterdir()
    before = json.loads((folder / "manifest.json").read_text())
    assert before["key"] == folder.name
    other = planned(photos, tmp_path / "other", "seed=1")
    trained(other)
    (second,) = (tmp_path / "other" / "latents").iterdir()
    assert second.name != folder.name
    second.rename(run / "latents" / "kept")
    folder.rename(tmp_path / "gone")
    (run / "latents" / "kept").rename(folder)  # somebody puts a foreign cache into the place of ours
    longer = planned(photos, run, "train.steps=6")
    with pytest.raises(UserError) as error:
        trained(longer)
    assert "another" in str(error.value)
    assert folder.is_dir()


def test_a_trained_autoencoder_of_another_run(photos: Path, tmp_path: Path) -> None:
    first = plan(
        str(photos),
        "autoencoder-kl-f4",
        tmp_path / "first",
        ["data.size=16", f"model.first_stage={TINY}", "objective.perceptual=0", "train.steps=2", "train.batch=4"],
    )
    trained(first)
    where = f"model.first_stage={{kind: trained, run: {tmp_path / 'first'}}}"
    second = plan(str(photos), "pixel", tmp_path / "second", ["data.size=16", where, "train.steps=2", "train.batch=4"])
    trained(second)
    model = open_model(tmp_path / "second")
    assert model.latent_shape == (2, 8, 8)
    mine, theirs = (open_model(tmp_path / name).first_stage.state_dict() for name in ("second", "first"))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_tiny_decoder_is_distilled_and_draws_the_previews(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(planned(photos, run))
    assert open_model(run).fast is None
    small = ["train.steps=4", "train.batch=4", "preview.every=4", "train.precision=float32"]
    first = plan_distillation(run / "autoencoder", small)
    events = trained(first)
    held_out = [event.values for event in events if isinstance(event, HeldOut)]
    assert set(held_out[-1]) == {"psnr", "full_psnr", "agreement"}
    assert (run / "autoencoder" / "tiny-decoder" / "samples" / "step-000004.png").is_file()

    model = open_model(run / "autoencoder")
    z = Draws(0, torch.arange(2)).normal("z", 2, 8, 8)
    assert model.pixels(z, fast=True).shape == model.pixels(z).shape
    assert not torch.equal(model.pixels(z, fast=True), model.pixels(z))
    assert plan_distillation(run / "autoencoder", []).resumes
    assert trained(plan_distillation(run / "autoencoder", small)) == []

    later = planned(photos, run, "train.steps=6").stages[1]
    assert Session(later, CPU).model.fast is not None  # type: ignore[union-attr]
    other = planned(photos, tmp_path / "other", "seed=3")
    trained(other)
    (run / "autoencoder" / "tiny-decoder").rename(tmp_path / "other" / "autoencoder" / "tiny-decoder")
    assert open_model(tmp_path / "other" / "autoencoder").fast is None  # of another first stage


def test_a_tiny_decoder_that_goes_on_learns_from_the_same_first_stage(photos: Path, tmp_path: Path) -> None:
    run, small = tmp_path / "run", ["train.steps=2", "train.batch=4", "preview.every=0"]
    changes = ["data.size=16", f"model.first_stage={TINY}", "objective.perceptual=0", "train.batch=4"]
    trained(plan(str(photos), "autoencoder-kl-f4", run, [*changes, "train.steps=1"]))
    trained(plan_distillation(run, small))
    for change in ("data.size=8", "data={size: 8}", "model.first_stage.run=x"):
        with pytest.raises(UserError, match="is the run's own: leave it out"):
            plan_distillation(run, [change])
    trained(plan(None, None, run, ["train.steps=2"]))
    with pytest.raises(UserError, match="has learned from another model than its teacher is now"):
        Session(plan_distillation(run, [*small, "train.steps=3"]), CPU)


def test_a_stages_recipe_can_be_read_again(photos: Path, tmp_path: Path) -> None:
    whole = plan(str(photos), "latent", tmp_path / "run", ["data.size=16"])
    for stage in whole.stages:
        stage.write()
        assert load(stage.folder / "recipe.yaml") == stage.recipe


def test_what_cannot_be_distilled(photos: Path, tmp_path: Path) -> None:
    trained(plan(str(photos), "pixel", tmp_path / "pixel", ["data.size=8", "train.steps=1", "train.batch=2"]))
    with pytest.raises(UserError, match="no autoencoder of pictures"):
        plan_distillation(tmp_path / "pixel", [])
    with pytest.raises(UserError, match="there is no run"):
        plan_distillation(tmp_path / "nothing", [])


def test_what_goes_wrong_is_said_once(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.autoencoder.stages.EXPLODING", 0.0)
    found = [event for event in trained(planned(photos, tmp_path / "run")) if isinstance(event, Diagnosis)]
    assert len(found) == 1
    assert found[0].step == 2
    assert "the KL explodes; raise objective.penalty" in found[0].text


def test_an_autoencoder_whose_latents_were_never_measured(photos: Path, tmp_path: Path) -> None:
    changes = ["data.size=16", f"model.first_stage={TINY}", "objective.perceptual=0", "train.batch=4"]
    first = plan(str(photos), "autoencoder-kl-f4", tmp_path / "first", [*changes, "checkpoint.every=1"])
    for event in Session(first, CPU):
        if isinstance(event, StepReport) and event.step == 2:
            break  # as if it had been killed: there is a checkpoint, and no model
    where = f"model.first_stage={{kind: trained, run: {tmp_path / 'first'}}}"
    second = plan(str(photos), "pixel", tmp_path / "second", ["data.size=16", where, "train.steps=2"])
    with pytest.raises(UserError, match="were never measured"):
        trained(second)


def test_rehearsal_of_both_stages(photos: Path, tmp_path: Path) -> None:
    first, second = (rehearse(stage) for stage in planned(photos, tmp_path / "run").stages)
    assert set(first.parameters) == {"first_stage"}
    assert set(second.parameters) == {"first_stage", "denoiser"} | (set(second.parameters) & {"conditioner"})
    assert not (tmp_path / "run").exists()


def test_an_autoencoder_has_nothing_to_sample_from(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(planned(photos, run))
    opened = Store().open(run / "autoencoder")
    with pytest.raises(UserError, match="nothing to sample from"):
        list(sample(opened, request(opened, Ask(count=1))))
    with pytest.raises(UserError, match="samples in one step"):
        request(opened, Ask(count=1, steps=5))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective.kind=diffusion"], "diffusion needs a first stage that is trained"),
        (["model.first_stage=identity"], "objective autoencoding does not train model.first_stage identity"),
        (["data.size=4", "model.first_stage.multipliers=[1, 2, 2, 2]"], "smaller than the autoencoder's factor"),
        (["objective.critic={layers: 5}", "data.size=16"], "needs pictures of 96 pixels or more"),
    ],
)
def test_what_does_not_fit_together(overrides: list[str], words: str, photos: Path, tmp_path: Path) -> None:
    small = ["train.steps=1", "train.batch=4", "data.size=16", "objective.perceptual=0"]
    if "objective.kind=diffusion" in overrides:
        small.remove("objective.perceptual=0")
    with pytest.raises(UserError) as error:
        trained(plan(str(photos), "autoencoder-kl-f4", tmp_path / "run", [*small, *overrides]))
    assert words in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_critic_begins_as_the_seed_says(photos: Path, tmp_path: Path) -> None:
    changes = ["data.size=16", f"model.first_stage={TINY}", "objective.critic={channels: 4, layers: 1}"]

    def begun(name: str, seed: int) -> torch.Tensor:
        planned = plan(str(photos), "autoencoder-kl-f4", tmp_path / name, [*changes, f"seed={seed}"])
        critic = Session(planned, CPU).objective.critic
        return torch.cat([weight.flatten() for weight in critic.parameters()])  # type: ignore[union-attr]

    assert torch.equal(begun("one", 0), begun("two", 0))
    assert not torch.equal(begun("one", 0), begun("three", 1))
