"""Fine-tuning: what a run starts from, what of it learns and what it leaves, however often it is stopped."""

import json
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from carrara.cli import main
from carrara.draw import Ask, Request, finish, request, sample
from carrara.errors import UserError
from carrara.lora import read_adapter
from carrara.model import DiffusionModel
from carrara.objective import DiffusionSettings
from carrara.recipe.loading import load
from carrara.run.plan import Plan, plan, plan_few_step, plan_finetuning
from carrara.run.session import Session
from carrara.store import OpenModel, Store, open_model
from small_models import saved
from tiny import TINY

CPU = torch.device("cpu")
BRIEF = (
    *("train.batch=4", "train.steps=4", "train.minutes=null", "train.precision=float32", "train.compile=false"),
    *("checkpoint.every=2", "preview.every=2", "preview.count=2", "preview.held_out=2"),
)
LORA = "objective.learn={kind: lora, rank: 2, alpha: 3, layers: [conv1, emb]}"


def trained(planned: Plan) -> list[Any]:
    return [event for stage in planned.stages for event in Session(stage, CPU)]


def tuned(start: Path, folder: Path, *more: str, name: str = "tuned") -> Path:
    """A run that goes on from ``start`` with the pictures of ``folder``, beside these."""
    run = folder.with_name(name)
    trained(plan_finetuning(start, str(folder), run, [*BRIEF, *more]))
    return run


def network(run: Path) -> dict[str, Tensor]:
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model.denoiser.state_dict()


def drawn(folder: Path, *lora: str, count: int = 3) -> Tensor:
    opened = Store().open(folder)
    return finish(sample(opened, request(opened, Ask(count=count, lora=lora, steps=3))))


def pictures(folder: Path, classes: Sequence[str], shift: int = 0) -> Path:
    for k in range(12):
        path = folder / classes[k % len(classes)] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * k + shift, np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of training on two classes of pictures."""
    folder = tmp_path_factory.mktemp("begun")
    photos = pictures(folder / "photos", ("red", "blue"))
    brief = [*TINY, "preview.every=0", "train.steps=2", "objective.drop=0.25"]
    trained(plan(str(photos), "pixel", folder / "base", brief))
    return folder / "base"


@pytest.fixture(scope="module")
def others(base: Path) -> Path:
    return pictures(base.with_name("others"), ("red", "blue"), shift=10)


@pytest.fixture(scope="module")
def run(base: Path, others: Path) -> Path:
    return tuned(base, others, LORA)


def test_a_lora_leaves_the_weights_it_begins_with_and_adds_its_factors(base: Path, run: Path) -> None:
    before, after, factors = network(base), network(run), read_adapter(run / "model")
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {f"backbone.{layer}.weight" for layer in factors} and changed
    assert all(one.rank == 2 and one.scale == 1.5 for one in factors.values())
    for layer, one in factors.items():
        assert torch.allclose(
            one.added(before[f"backbone.{layer}.weight"]), after[f"backbone.{layer}.weight"], atol=1e-6
        )
    live = load_file(run / "checkpoints" / "step-4" / "denoiser.safetensors")
    for layer in factors:
        stayed = live[f"backbone.{layer}.parametrizations.weight.original"]
        assert torch.equal(stayed, before[f"backbone.{layer}.weight"])
    learned = load_file(run / "checkpoints" / "step-4" / "optimizer.safetensors")
    assert all(
        name.split(".")[-1].split("/")[0] in ("up", "down") or ".up" in name or ".down" in name for name in learned
    )


def test_what_it_leaves_is_opened_like_any_other(run: Path) -> None:
    at = {name: drawn(run / name) for name in ("model", "checkpoints/step-2", "checkpoints/step-4")}
    assert torch.equal(at["model"], drawn(run)) and torch.allclose(at["model"], at["checkpoints/step-4"], atol=1e-6)
    assert not torch.equal(at["model"], at["checkpoints/step-2"])


def test_a_run_that_was_stopped_is_the_same_to_the_bit(base: Path, others: Path, run: Path) -> None:
    stopped = others.with_name("stopped")
    planned = plan_finetuning(base, str(others), stopped, [*BRIEF, LORA])
    list(islice(Session(planned, CPU), 3))
    assert not (stopped / "model").exists()
    trained(plan_finetuning(base, str(others), stopped, [*BRIEF, LORA]))
    for name in ("model/denoiser.safetensors", "model/adapter_model.safetensors", "checkpoints/step-4/ema.safetensors"):
        a, b = load_file(run / name), load_file(stopped / name)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_model_of_a_run_is_tuned_as_its_run_was_trained(base: Path, others: Path) -> None:
    """Its times, its weighting, and how often it was told nothing, from whichever of its folders one starts."""
    for start in (base, base / "model"):
        planned = plan_finetuning(start, str(others), others.with_name("planned"), [*BRIEF])
        own, objective = load(base / "recipe.yaml").objective, planned.recipe.objective
        assert isinstance(own, DiffusionSettings) and isinstance(objective, DiffusionSettings)
        assert (objective.times, objective.weighting, objective.drop) == (own.times, own.weighting, own.drop)
        assert own.drop == 0.25


def test_everything_learns_if_asked(base: Path, others: Path) -> None:
    full = tuned(base, others, "objective.learn=all", name="full")
    before, after = network(base), network(full)
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith(("weight", "bias")))
    assert not (full / "model" / "adapter_config.json").exists()


def test_it_begins_at_what_it_starts_from(base: Path, others: Path) -> None:
    """No step is made: the first preview of a run, and a run of a rate of nearly nothing."""
    still = tuned(base, others, LORA, "train.lr=1e-30", name="still")
    a, b = network(base), network(still)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_an_adapter_is_added_as_much_as_is_said(base: Path, run: Path) -> None:
    whole = drawn(base, str(run))
    assert torch.allclose(whole, drawn(run), atol=1e-5)
    assert torch.allclose(whole, drawn(base, f"{run}:0.25", f"{run / 'model'}:0.75"), atol=1e-5)
    assert torch.equal(drawn(base, f"{run}:0"), drawn(base)) and not torch.equal(whole, drawn(base))
    assert torch.equal(drawn(base), drawn(base)), "what is opened is not changed"
    assert torch.allclose(drawn(run, f"{run}:-1"), drawn(base), atol=1e-5)


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert end.value.code == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_a_picture_remembers_its_adapters(
    base: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    asked, both = ("-n", "2", "--steps", "2"), ("--lora", f"{run}:0.5", "--lora", f"{run / 'model'}:0.25")
    said(capsys, "sample", base, *asked, *both, "--out", tmp_path / "a")
    said(capsys, "sample", base, *asked, "--out", tmp_path / "b")
    a, b = (tmp_path / name / "grid.png" for name in "ab")
    assert a.read_bytes() != b.read_bytes()
    assert "every pixel is the same" in said(capsys, "replay", a, "--out", tmp_path / "c.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["replay", str(a), "--run", str(base), "--out", "d.png"])
    assert end.value.code == 2 and "was made by an adapter in" in capsys.readouterr().err


def test_edits_take_adapters(base: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "a.png")
    edit = ("edit", base, "variation", tmp_path / "a.png", "-n", "1", "--steps", "2")
    said(capsys, *edit, "--lora", run, "--out", tmp_path / "d")
    said(capsys, *edit, "--out", tmp_path / "e")
    made = [next((tmp_path / name).rglob("*.png")).read_bytes() for name in "de"]
    assert made[0] != made[1]


@pytest.mark.parametrize("kind", ["latents", "lowres", "masked"])
def test_it_starts_from_models_of_other_kinds(
    kind: str, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved(kind, tmp_path / "start").parent)
    start = Path("start")
    planned = plan_finetuning(start, str(renamed(others, tmp_path)), tmp_path / "run", [*BRIEF, "train.steps=2", LORA])
    trained(planned)
    monkeypatch.chdir(others)
    trained(plan(None, None, tmp_path / "run", []))  # from anywhere it is what it was
    start = tmp_path / "start"
    before, after = open_model(start).state_dict(), open_model(tmp_path / "run").state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed and all(name.endswith(("conv1.weight", "emb.weight")) for name in changed)


def renamed(others: Path, folder: Path) -> Path:
    """The pictures, with the classes of the small models."""
    for name, other in (("red", "cat"), ("blue", "dog")):
        shutil.copytree(others / name, folder / "animals" / other)
    return folder / "animals"


def refused(start: Path, data: Path, *more: str) -> str:
    run = data.with_name("refused")
    with pytest.raises(UserError) as caught:
        planned = plan_finetuning(start, str(data), run, [*BRIEF, *more])
        planned.check()
    assert not run.exists() and "\n" not in caught.value.message
    return caught.value.message


def test_what_cannot_be_tuned_is_a_sentence(base: Path, others: Path, tmp_path: Path) -> None:
    assert "is an autoencoder, which does not diffuse" in refused(saved("autoencoder", tmp_path / "a"), others)
    trained(plan_few_step(base, 2, tmp_path / "few", ["train.steps=1", "objective.trajectories=4", "train.batch=2"]))
    assert "draws in 2 steps and no other way: name its teacher's run" in refused(tmp_path / "few", others)
    assert "that of what one starts from: leave it out" in refused(base, others, "model.backbone.channels=9")
    assert "takes 3 channels of 8x8, not 16x16: leave that out" in refused(base, others, "data.size=16")
    assert "no linear or convolution of the network is called" in refused(
        base, others, "objective.learn.layers=[nowhere]"
    )
    assert "take a lower one" in refused(base, others, "objective.learn.rank=4096")
    foxes = pictures(tmp_path / "foxes", ("fox", "wolf"))
    assert "the data's are" in refused(base, foxes)
    assert "there is no run" in refused(tmp_path / "nothing", others)


def test_adapters_that_cannot_be_added_are_a_sentence(base: Path, run: Path, tmp_path: Path) -> None:
    opened = Store().open(base)

    def why(said: str, of: OpenModel = opened) -> str:
        with pytest.raises(UserError) as caught:
            request(of, Ask(lora=(said,)))
        assert "\n" not in caught.value.message
        return caught.value.message

    copied = tmp_path / "copied"
    shutil.copytree(run / "model", copied)
    assert "there is no adapter" in why(str(tmp_path / "none")) and "there is no adapter in" in why(str(tmp_path))
    assert "is no weight of an adapter" in why(f"{run}:much") and "cannot be taken 1e9 times" in why(f"{run}:1e9")
    assert "is for another network" in why(str(run), Store().open(saved("lowres", tmp_path / "other")))
    assert "adapters are for networks that diffuse" in why(str(run), Store().open(saved("vae", tmp_path / "vae")))
    (copied / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "use_dora": True}))
    assert "says DORA" in why(str(copied))
    (copied / "adapter_config.json").write_text("{")
    assert "adapter_config.json" in why(str(copied))
    (copied / "adapter_config.json").unlink()
    tensors = load_file(copied / "adapter_model.safetensors")
    first = next(name for name in tensors if "lora_A" in name)
    save_file({name: one for name, one in tensors.items() if name != first}, copied / "adapter_model.safetensors")
    assert "holds no lora_A" in why(str(copied))
    save_file({**tensors, first: torch.zeros(5, 1)}, copied / "adapter_model.safetensors")
    assert "is damaged" in why(str(copied)) or "another network" in why(str(copied))
    (copied / "adapter_model.safetensors").write_bytes(b"none")
    assert "adapter_model.safetensors" in why(str(copied))


def test_an_adapter_that_has_changed_since_is_refused(base: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "model", tmp_path / "copied")
    opened = Store().open(base)
    wanted: Request = request(opened, Ask(count=1, steps=2, lora=(str(tmp_path / "copied"),)))
    tensors = load_file(tmp_path / "copied" / "adapter_model.safetensors")
    save_file({name: one + 1 for name, one in tensors.items()}, tmp_path / "copied" / "adapter_model.safetensors")
    with pytest.raises(UserError, match="has changed since"):
        finish(sample(opened, wanted))
