"""What guidance leads away from: nothing, a negative prompt, or a weaker model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from carrara.autoencoder import KlConfig
from carrara.backbone import MlpConfig, UNetConfig
from carrara.conditioning import LabelsConfig, UnconditionalConfig, VectorsConfig
from carrara.draw import Ask, collect, request
from carrara.errors import UserError
from carrara.model import Autoencoder, AutoencoderConfig, DiffusionModel, ModelConfig
from carrara.noise import X0, Cosine, Linear, V
from carrara.sample import Apg, CfgZero, SampleSettings, guide
from carrara.sample import generate as run
from carrara.store import OpenModel
from carrara.toolkit import Toolkit
from drawings import awake, drawn

LABELS = LabelsConfig(classes=("cat", "dog"))
POINTS = ModelConfig(
    shape=(2,),
    backbone=MlpConfig(width=8, depth=1),
    schedule=Cosine(),
    parameterization=V(),
    conditioner=LABELS,
    sample=SampleSettings(steps=3, guidance=3.0),
)
ALONE = replace(POINTS, conditioner=UnconditionalConfig(), sample=SampleSettings(steps=3))
PICTURES = replace(
    ALONE, shape=(3, 8, 8), backbone=UNetConfig(channels=8, multipliers=(1,), blocks=1, attention_levels=())
)
STAGE = KlConfig(channels=8, multipliers=(1, 1), blocks=1, latent_channels=2)


def trained(config: ModelConfig = POINTS, seed: int = 0) -> DiffusionModel:
    return awake(config, seed, noise=0.2)


def samples(model: DiffusionModel, wish: str | None, settings: SampleSettings, **other: Any) -> Tensor:
    return drawn(model, *[wish] * 3, settings=settings, **other)


def by_hand(model: DiffusionModel, cond: str, null: str | None, scale: float) -> Tensor:
    bound = [model.denoiser.bind(model.conditions([wish] * 3)) for wish in (cond, null)]
    s = model.config.sample
    steps = run(guide(*bound, scale), (2,), [0, 1, 2], sampler=s.sampler, grid=s.grid, steps=s.steps, schedule=Cosine())
    return [step.x for step in steps][-1]


def test_a_negative_prompt_takes_the_place_of_nothing() -> None:
    model, settings = trained(), POINTS.sample
    torch.testing.assert_close(samples(model, "cat", settings), by_hand(model, "cat", None, 3.0))
    away = samples(model, "cat", settings, negative="dog")
    torch.testing.assert_close(away, by_hand(model, "cat", "dog", 3.0))
    assert (away - samples(model, "cat", settings)).abs().max() > 1e-2


def test_a_negative_prompt_that_is_the_wish_undoes_guidance() -> None:
    model, settings = trained(), POINTS.sample
    same = samples(model, "cat", settings, negative="cat")
    torch.testing.assert_close(same, samples(model, "cat", replace(settings, guidance=1.0)))


@pytest.mark.parametrize("config", [POINTS, ALONE], ids=["labels", "unconditional"])
def test_autoguidance_by_the_model_itself_is_off(config: ModelConfig) -> None:
    model, settings = trained(config), replace(config.sample, guidance=4.0)
    wish = "cat" if model.guidable else None
    off = samples(model, wish, replace(settings, guidance=1.0))
    assert torch.equal(samples(model, wish, settings, weak=trained(config)), off)
    other = samples(model, wish, settings, weak=trained(config, seed=1))
    assert (other - off).abs().max() > 1e-2


def test_a_weaker_model_is_told_the_same() -> None:
    """So its own classes decide what a wish means to it."""
    model, weak = trained(), trained(replace(POINTS, parameterization=X0(), backbone=MlpConfig(width=4, depth=1)))
    made = samples(model, "dog", POINTS.sample, weak=weak)
    cond, null = (m.denoiser.bind(m.conditions(["dog"] * 3)) for m in (model, weak))
    s = POINTS.sample
    steps = run(guide(cond, null, 3.0), (2,), [0, 1, 2], sampler=s.sampler, grid=s.grid, steps=3, schedule=Cosine())
    assert torch.equal(made, [step.x for step in steps][-1])


@pytest.mark.parametrize(
    ("config", "other", "message"),
    [
        (POINTS, {"negative": "dog", "guidance": 1.0}, "a negative prompt does nothing at guidance 1"),
        (POINTS, {"weak": trained(seed=1), "guidance": 1.0}, "a weaker model does nothing at guidance 1"),
        (POINTS, {"weak": trained(seed=1), "negative": "dog"}, "not both: leave one out"),
        (POINTS, {"negative": "horse"}, "unknown label 'horse'"),
        (ALONE, {"negative": "dog", "guidance": 2.0}, "needs a model with a condition, and this one is unconditional"),
    ],
)
def test_what_guidance_cannot_lead_away_from(config: ModelConfig, other: dict, message: str) -> None:
    settings = replace(config.sample, guidance=other.pop("guidance", 3.0))
    with pytest.raises(UserError, match=message) as error:
        samples(trained(config), None, settings, **other)
    assert "\n" not in str(error.value)


def test_an_autoencoder_has_no_guidance(tmp_path: Path) -> None:
    autoencoder = Autoencoder(AutoencoderConfig(shape=(3, 8, 8), first_stage=STAGE)).eval()
    with pytest.raises(UserError, match="a negative prompt is for guidance, and this model samples in one step"):
        drawn(autoencoder, None, negative="cat")
    autoencoder.save(tmp_path / "stage")
    trained().save(tmp_path / "weak")
    for model, folder in ((autoencoder, "weak"), (trained(), "stage")):
        with pytest.raises(UserError, match="an autoencoder has no guidance"):
            request(OpenModel(model=model), Ask(count=1, weak=tmp_path / folder))


LATENT = replace(PICTURES, first_stage=STAGE)


@pytest.mark.parametrize(
    ("config", "other", "what"),
    [
        (POINTS, replace(POINTS, schedule=Linear()), "schedule"),
        (POINTS, replace(POINTS, conditioner=UnconditionalConfig()), "kind of condition"),
        (POINTS, replace(POINTS, conditioner=VectorsConfig(size=2)), "kind of condition"),
        (POINTS, replace(POINTS, shape=(3,)), "shape"),
        (PICTURES, LATENT, "first stage"),
        (LATENT, LATENT, "first stage"),
    ],
)
def test_a_weaker_model_must_mean_the_same(config: ModelConfig, other: ModelConfig, what: str, tmp_path: Path) -> None:
    """Even the same first stage, trained another time, has other latents."""
    trained(other, seed=1).save(tmp_path)
    with pytest.raises(UserError, match=f"does not fit, as its {what} is another one .*: take an early") as error:
        request(OpenModel(model=trained(config)), Ask(count=1, guidance=2.0, weak=tmp_path))
    assert "\n" not in str(error.value)


def test_a_weaker_model_guides_one_without_a_condition(tmp_path: Path) -> None:
    trained(ALONE, seed=1).save(tmp_path)
    toolkit = Toolkit(OpenModel(model=trained(ALONE)))
    one = toolkit.samples(count=3, guidance=2.0, weak=tmp_path)
    two = samples(trained(ALONE), None, replace(ALONE.sample, guidance=2.0), weak=trained(ALONE, seed=1))
    assert torch.equal(one, two)
    with pytest.raises(UserError, match="guidance 2 needs a model with a condition"):
        toolkit.samples(count=3, guidance=2.0)


def test_a_weaker_model_that_has_learned_since_is_noticed(tmp_path: Path) -> None:
    trained(seed=1).save(tmp_path)
    model = OpenModel(model=trained())
    wanted = request(model, Ask(prompts=("cat",), count=2, weak=tmp_path))
    one = collect(model, wanted).values
    assert torch.equal(collect(model, wanted).values, one)
    trained(seed=2).save(tmp_path)
    with pytest.raises(UserError, match="has changed since"):
        collect(model, wanted)


def test_methods_by_name_and_by_value() -> None:
    toolkit = Toolkit(OpenModel(model=trained()))
    assert request(toolkit.opened, Ask(count=1, method="apg")).settings.method == Apg()
    named, given = (toolkit.samples("cat", method=m) for m in ("cfg_zero", CfgZero()))
    assert torch.equal(named, given)
    assert not torch.equal(named, toolkit.samples("cat"))
