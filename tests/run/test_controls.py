"""A copy of a U-Net's way down that learns to read a picture, beside the U-Net, which stays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from carrara.backbone import Controlled, ControlledConfig, DiTConfig, UNetConfig
from carrara.conditioning import Lowres, UnconditionalConfig
from carrara.draw import Request, finish, sample
from carrara.errors import UserError
from carrara.model import DiffusionModel
from carrara.recipe.kinds import kind_of
from carrara.run.plan import Plan, plan_finetuning
from carrara.run.session import Session
from carrara.sample import SampleSettings
from carrara.store import OpenModel, open_model
from carrara.types import Conditioning
from small_models import PIXELS, saved
from tiny import Command

CPU = torch.device("cpu")
BRIEF = (
    *("train.batch=4", "train.steps=4", "train.minutes=null", "train.precision=float32", "train.compile=false"),
    *("checkpoint.every=2", "preview.every=0", "data.held_out=0", "train.lr=0.01"),
)
LOWRES = "objective.learn={kind: control, image: {kind: lowres, factor: 2}}"


def opened(run: Path) -> DiffusionModel:
    model = open_model(run)
    assert isinstance(model, DiffusionModel)
    return model


def trained(planned: Plan) -> None:
    for stage in planned.stages:
        for _ in Session(stage, CPU):
            pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("control")
    for k in range(6):
        (folder / "photos" / ("cat", "dog")[k % 2]).mkdir(parents=True, exist_ok=True)
        path = folder / "photos" / ("cat", "dog")[k % 2] / f"{k}.png"
        Image.fromarray(np.full((8, 8, 3), 40 * k, np.uint8)).save(path)
    return folder / "photos"


@pytest.fixture(scope="module")
def base(photos: Path) -> Path:
    return saved("pixels", photos.with_name("base"))


@pytest.fixture(scope="module")
def run(base: Path, photos: Path) -> Path:
    trained(plan_finetuning(base, str(photos), base.with_name("control"), [*BRIEF, LOWRES]))
    return base.with_name("control")


def asked(model: DiffusionModel, image: Tensor | None) -> Tensor:
    x = torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8)
    vector = model.conditioner.said(["cat", "dog"]).vector
    with torch.no_grad():
        return model.denoiser(x, torch.full((2,), 0.6), Conditioning(vector=vector, image=image))


def test_it_begins_as_what_it_controls(base: Path, photos: Path, tmp_path: Path) -> None:
    planned = plan_finetuning(base, str(photos), tmp_path / "run", [*BRIEF, LOWRES])
    model = kind_of(planned.recipe).model()
    assert isinstance(model, DiffusionModel)
    expected = asked(opened(base), None)
    assert torch.equal(asked(model.eval(), torch.ones(2, 4, 8, 8)), expected)
    assert torch.equal(asked(model, None), expected)


def test_the_copy_alone_learns(base: Path, run: Path) -> None:
    before, after = opened(base).state_dict(), opened(run).state_dict()
    inner = "denoiser.backbone."
    for name, value in before.items():
        kept = name.replace(inner, f"{inner}network.") if name.startswith(inner) else name
        assert torch.equal(after[kept], value), kept
    moved = [
        name
        for name, value in before.items()
        if (copy := name.replace(inner, f"{inner}copy.")) in after
        and copy != name
        and not torch.equal(after[copy], value)
    ]
    assert moved
    assert all(value.abs().max() > 0 for name, value in after.items() if ".joins." in name or ".hint." in name)


def test_it_reads_its_picture_and_is_a_model_like_any_other(base: Path, run: Path) -> None:
    model = opened(run)
    assert isinstance(model.config.backbone, ControlledConfig) and model.image == Lowres(factor=2)
    bright, dark = (asked(model, torch.full((2, 4, 8, 8), value)) for value in (1.0, -1.0))
    assert not torch.equal(bright, dark)
    assert torch.equal(asked(model, None), asked(opened(base), None))
    request = Request(wishes=("cat",), seeds=(0,), settings=model.settings())
    found = finish(sample(OpenModel(model=model), request, image=torch.ones(1, 4, 8, 8)))
    assert found.shape == (1, 3, 8, 8) and bool(found.isfinite().all())
    with pytest.raises(UserError, match="enlarges pictures"):
        finish(sample(OpenModel(model=model), request))


def test_a_stopped_control_goes_on_to_the_bit(base: Path, photos: Path, run: Path, tmp_path: Path) -> None:
    def planned() -> Plan:
        return plan_finetuning(base, str(photos), tmp_path / "parts", [*BRIEF, LOWRES])

    for event in Session(planned().stages[0], CPU):
        if getattr(event, "step", 0) == 3:
            break
    trained(planned())
    one, other = opened(run).state_dict(), opened(tmp_path / "parts").state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    "network",
    [
        UNetConfig(channels=8, multipliers=(1, 2, 2), blocks=2, attention_levels=(1,)),
        UNetConfig(channels=8, multipliers=(1, 2), blocks=1, attention_levels=(), patch=2, modulation="context"),
        UNetConfig(channels=8, multipliers=(1, 1), blocks=1, transformer_depths=(0, 1), context_width=6),
    ],
)
def test_every_unet_can_be_controlled(network: UNetConfig) -> None:
    backbone = ControlledConfig(network=network).build((3, 12, 10), image_channels=5)
    assert isinstance(backbone, Controlled)
    with torch.no_grad():
        for weight in backbone.network.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    x, level, vector = torch.ones(2, 3, 12, 10), torch.zeros(2), torch.ones(2, network.vector_width)
    tokens = None if network.context_width is None else torch.ones(2, 3, network.context_width)
    plain = Conditioning(vector=vector, tokens=tokens)
    seen = Conditioning(vector=vector, tokens=tokens, image=torch.ones(2, 5, 12, 10))
    found = backbone(x, level, seen)
    assert found.abs().max() > 0 and torch.equal(found, backbone.network(x, level, plain))
    found.square().sum().backward()
    assert all(p.grad is not None for join in backbone.joins for p in join.parameters())


def test_what_cannot_be_controlled_is_a_sentence(base: Path, photos: Path, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sees a picture already"):
        plan_finetuning(run, str(photos), tmp_path / "run", [*BRIEF, LOWRES])
    with pytest.raises(UserError, match="leave prior out"):
        plan_finetuning(base, str(photos), tmp_path / "run", [*BRIEF, LOWRES, "objective.prior={count: 2}"])
    with pytest.raises(UserError, match="has no maps"):
        changes = [*BRIEF, "objective.learn={kind: control, image: map}"]
        plan_finetuning(base, str(photos), tmp_path / "run", changes)
    with pytest.raises(UserError, match="takes no new word"):
        plan_finetuning(base, str(photos), tmp_path / "run", [*BRIEF, "objective.learn={kind: token, word: mine}"])
    other = PIXELS.__class__(
        shape=(3, 8, 8),
        backbone=DiTConfig(width=16, depth=1, heads=1, patch=2),
        schedule=PIXELS.schedule,
        parameterization=PIXELS.parameterization,
        conditioner=UnconditionalConfig(),
        sample=SampleSettings(steps=2),
    )
    DiffusionModel(other).save(tmp_path / "dit")
    with pytest.raises(UserError, match="the way down of a U-Net, and this model's network is dit"):
        plan_finetuning(tmp_path / "dit", str(photos), tmp_path / "run", [*BRIEF, LOWRES])


def test_the_verb_of_its_picture_edits_with_it(run: Path, photos: Path, tmp_path: Path, carrara: Command) -> None:
    picture = next(photos.rglob("*.png"))
    code, told = carrara("edit", str(run), "upscale", str(picture), "--out", str(tmp_path / "out"), "--count=1")
    assert code == 0, told
    sizes = set[tuple[int, int]]()
    for made in (tmp_path / "out").rglob("*.png"):
        with Image.open(made) as image:
            sizes.add(image.size)
    assert (16, 16) in sizes
