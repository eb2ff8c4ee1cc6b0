"""The guide for those who come from another trainer: our half of each pair trains, and theirs has the same numbers."""

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from carrara.noise import X0, Cosine, Edm, Eps, Linear, LogNormalTimes, Sigmoid, V, VarianceExploding
from carrara.noise.weighting import MinSnrWeighting, UnitWeighting

GUIDE = (Path(__file__).parents[2] / "docs" / "migration.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL))
RECIPES = {name: re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for name, text in SECTIONS.items()}
PAIRS = [name for name, found in RECIPES.items() if found]
PEERS = Path(sys.prefix) / "peers"
"""Where ``make test`` puts packages that want another torchvision than there is."""

SMALL = ["data.size=32", "train.steps=2", "train.batch=4", "preview.every=0", "sample.steps=2"]
NARROW = ["channels=8", "multipliers=[1, 2]", "blocks=1", "attention_levels=[1]", "head_width=8"]


def small(recipe: str) -> list[str]:
    """What makes a recipe of the guide quick."""
    told = yaml.safe_load(recipe)
    kind = told.get("model", {}).get("backbone", {}).get("kind", "unet")
    changes = (
        [*SMALL, "model.backbone.kind=unet", *(f"model.backbone.{key}" for key in NARROW)]
        if kind == "unet"
        else [*SMALL]
    )
    if kind == "dit":
        changes += ["model.backbone.width=16", "model.backbone.depth=1", "model.backbone.heads=2"]
    if told.get("preset") == "latent":
        stage = ["channels=8", "multipliers=[1, 1, 2]", "blocks=1"]
        stage += ["codes=16"] if told.get("autoencoder") else []
        changes += ["autoencoder.train.steps=2", "autoencoder.train.batch=4", "autoencoder.preview.every=0"]
        changes += [f"autoencoder.first_stage.{key}" for key in stage]
        changes += ["autoencoder.objective.perceptual=0"]
    return changes


def test_there_are_six_pairs() -> None:
    assert len(PAIRS) == 6
    assert all(len(RECIPES[name]) == 1 for name in PAIRS)


@pytest.mark.parametrize("name", PAIRS)
def test_our_half_trains_two_steps(
    name: str, photos: Path, tmp_path: Path, carrara: Callable[..., tuple[int, str]]
) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPES[name][0])
    changes = small(RECIPES[name][0])
    code, printed = carrara("train", photos, *changes, "--preset", tmp_path / "mine.yaml", "--run", tmp_path / "run")
    assert code == 0, printed
    assert (tmp_path / "run" / "model").is_dir()


class Empty(ModuleType):
    """A module that is imported and not used: whatever is asked of it is there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []  # so that it has modules below

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def peer(monkeypatch: pytest.MonkeyPatch, package: str, absent: tuple[str, ...]) -> None:
    """Makes a package importable that is beside the environment, with nothing in the place of what it only imports."""
    if not (PEERS / package).is_dir():
        pytest.skip(f"'make test' puts {package} into {PEERS}, and it is not there")
    monkeypatch.syspath_prepend(str(PEERS))
    for name in absent:
        monkeypatch.setitem(sys.modules, name, Empty(name))


@pytest.fixture
def lucidrains(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package denoising-diffusion-pytorch; its data set alone needs torchvision, its trainer accelerate."""
    peer(monkeypatch, "denoising_diffusion_pytorch", ("torchvision", "accelerate"))
    return importlib.import_module("denoising_diffusion_pytorch")


@pytest.fixture
def k_diffusion(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Modules of the package k-diffusion, without those that measure and augment."""
    absent = (
        "torchvision",
        "torchvision.transforms",
        "torchvision.transforms.functional",
        "dctorch",
        "skimage",
        "torchsde",
    )
    peer(monkeypatch, "k_diffusion", absent)
    package = ModuleType("k_diffusion")
    package.__path__ = [str(PEERS / "k_diffusion")]
    monkeypatch.setitem(sys.modules, "k_diffusion", package)
    return lambda name: importlib.import_module(f"k_diffusion.{name}")


class Network(torch.nn.Module):
    """What their loss calls: a linear answer."""

    channels = out_dim = 3
    self_condition = False

    def forward(self, x: torch.Tensor, t: torch.Tensor, *_: object) -> torch.Tensor:
        return 0.3 * x + 0.1


SCHEDULES = {"linear": Linear(), "cosine": Cosine(), "sigmoid": Sigmoid()}
OBJECTIVES = {"pred_noise": Eps(), "pred_x0": X0(), "pred_v": V()}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_lucidrains_has_the_same_schedules(lucidrains: Any, kind: str) -> None:
    theirs = lucidrains.GaussianDiffusion(Network(), image_size=8, beta_schedule=kind).alphas_cumprod.double()
    alpha, _ = SCHEDULES[kind](torch.arange(1, 1001, dtype=torch.float64) / 1000)
    torch.testing.assert_close(alpha**2, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("clipped", [False, True])
def test_lucidrains_has_the_same_loss(lucidrains: Any, objective: str, clipped: bool) -> None:
    """Of a network that answers, from the same noise at the same steps: target and weight."""
    diffusion = lucidrains.GaussianDiffusion(
        Network(), image_size=8, objective=objective, min_snr_loss_weight=clipped, beta_schedule="cosine"
    )
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 7, 3, 8, 8, generator=generator).unbind()
    k = torch.tensor([0, 10, 100, 400, 700, 950, 998])
    theirs = diffusion.p_losses(x0, k, noise=noise)

    t = (k + 1).double() / 1000
    alpha, sigma = (v.float() for v in Cosine()(t))
    shaped = [v[:, None, None, None] for v in (alpha, sigma)]
    x = shaped[0] * x0 + shaped[1] * noise
    coefficients = OBJECTIVES[objective](alpha, sigma)
    target = coefficients.target(x0, noise)
    unit = objective == "pred_noise" and not clipped
    weighting = UnitWeighting() if unit else MinSnrWeighting(gamma=5.0 if clipped else 1e9)
    weight = weighting(torch.log(alpha / sigma), coefficients.out)
    ours = (weight * (Network()(x, k) - target).square().mean((1, 2, 3))).mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def defaults_of(section: str) -> dict[str, Any]:
    """What the table says their defaults are."""
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]+?) \|", SECTIONS[section], re.MULTILINE)
    return {name: ast.literal_eval(value) for name, value in rows}


def test_lucidrains_has_the_defaults_of_the_guide(lucidrains: Any) -> None:
    found: dict[str, Any] = {}
    for made in (lucidrains.Trainer, lucidrains.GaussianDiffusion):
        found |= {name: one.default for name, one in inspect.signature(made.__init__).parameters.items()}
    said = defaults_of("denoising-diffusion-pytorch")
    assert len(said) > 20
    assert said == {name: found[name] for name in said}


def test_k_diffusion_has_the_same_scalings_and_noise(k_diffusion: Callable[[str], Any]) -> None:
    sigma = torch.tensor([0.01, 0.3, 2.0, 79.0])
    ours = Edm(sigma_data=0.5)(torch.ones(4), sigma)
    denoiser = k_diffusion("layers").Denoiser(Network(), sigma_data=0.5)
    skip, out, inp = denoiser.get_scalings(sigma)
    for mine, theirs in ((ours.skip, skip), (ours.out, out), (ours.inp, inp)):
        torch.testing.assert_close(mine, theirs)
    assert (denoiser.weighting(sigma) == UnitWeighting()(sigma, sigma)).all()

    schedule = VarianceExploding(sigma_min=0.01, sigma_max=80.0)
    u = torch.linspace(0.02, 0.98, 9, dtype=torch.float64)
    drawn = schedule(LogNormalTimes(mean=-1.2, std=1.2)(u, schedule))[1]
    torch.testing.assert_close(drawn.log(), -1.2 + 1.2 * torch.special.ndtri(u), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what jsonmerge takes from jsonschema
def test_k_diffusion_reads_the_config_and_has_the_defaults_of_the_guide(k_diffusion: Callable[[str], Any]) -> None:
    config = k_diffusion("config")
    written = re.findall(r"^```text\n(\{.*?)^```$", SECTIONS["k-diffusion"], re.MULTILINE | re.DOTALL)[0]
    found = config.load_config(json.loads(written))
    recipe = yaml.safe_load(RECIPES["k-diffusion"][0])
    assert found["optimizer"]["lr"] == recipe["train"]["lr"]
    assert found["model"]["width"] == recipe["model"]["backbone"]["width"]
    assert found["model"]["sigma_max"] == recipe["model"]["schedule"]["sigma_max"]
    assert config.make_sample_density(found["model"]).keywords == {"loc": -1.2, "scale": 1.2}
    bare = config.load_config({"model": {"type": "image_transformer_v1", "width": 768}})
    said = defaults_of("k-diffusion")
    assert len(said) > 8
    assert said == {name: bare[name.split(".")[0]][name.split(".")[1]] for name in said}
