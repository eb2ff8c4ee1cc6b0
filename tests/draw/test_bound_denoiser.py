"""How a request asks the network: in which form, how often, and of which weights."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from carrara.backbone import DiTConfig, UNetConfig
from carrara.denoiser import Denoiser
from carrara.draw import drawing, finish, generate
from carrara.draw.drawing import BoundDenoiser
from carrara.model import DiffusionModel
from carrara.noise import Cosine, V
from carrara.sample import SampleSettings
from carrara.seeds import Draws, torch_generator
from carrara.types import Conditioning
from drawings import PIXELS, awake, drawing_of, drawn

CONFIGS = {"unet": PIXELS, "dit": replace(PIXELS, backbone=DiTConfig(width=16, depth=1, heads=2))}
SETTINGS = SampleSettings(steps=3, guidance=2.0)


def samples(of: DiffusionModel, *wishes: str | None, settings: SampleSettings = SETTINGS, **options: Any) -> Tensor:
    return drawn(of, *wishes, settings=settings, **options)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Denoiser, int]]:
    """Which network was asked about how many samples, call by call."""
    calls, forward = list[tuple[Denoiser, int]](), Denoiser.forward

    def noted(self: Denoiser, x_t: Tensor, *rest: Any) -> Tensor:
        calls.append((self, len(x_t)))
        return forward(self, x_t, *rest)

    monkeypatch.setattr(Denoiser, "forward", noted)
    return calls


def test_all_batches_of_a_request_ask_one_copy_in_low_precision(asked: list[tuple[Denoiser, int]]) -> None:
    of = awake()
    samples(of, "cat", "dog", "cat", precision="bfloat16", batch=2)
    (network,) = {id(network) for network, _ in asked}
    assert network != id(of.denoiser)


def test_there_is_no_copy_in_float32(asked: list[tuple[Denoiser, int]]) -> None:
    of = awake()
    samples(of, "cat")
    assert {id(network) for network, _ in asked} == {id(of.denoiser)}


def test_the_next_request_sees_what_training_has_changed() -> None:
    of, other = awake(), awake(seed=1)
    before = samples(of, "cat", precision="bfloat16")
    of.load_state_dict(other.state_dict())
    after = samples(of, "cat", precision="bfloat16")
    assert torch.equal(after, samples(other, "cat", precision="bfloat16"))
    assert not torch.equal(after, before)


def test_parts_of_a_request_share_its_copy() -> None:
    of = awake()
    both = drawing_of(of, "cat", "dog", settings=SETTINGS, precision="bfloat16")
    finish(generate(both, batch=1))
    assert len(both.forms) == 1
    assert both.part(slice(1)).network(of) is both.network(of)


@pytest.mark.parametrize("name", CONFIGS)
def test_both_sides_of_guidance_in_one_call(
    name: str, asked: list[tuple[Denoiser, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = awake(CONFIGS[name])
    together = samples(of, "cat", None, "dog")
    assert [count for _, count in asked] == [6] * 3
    asked.clear()
    monkeypatch.setattr(drawing, "TOGETHER", 2)
    torch.testing.assert_close(samples(of, "cat", None, "dog"), together, rtol=1e-4, atol=1e-5)
    assert [count for _, count in asked] == [3] * 6


def test_a_negative_prompt_in_one_call(asked: list[tuple[Denoiser, int]]) -> None:
    samples(awake(), "cat", negative="dog")
    assert [count for _, count in asked] == [2] * 3


def test_nobody_is_asked_outside_of_the_interval(asked: list[tuple[Denoiser, int]]) -> None:
    samples(awake(), "cat", settings=replace(SETTINGS, interval=(0.5, 0.9)))
    assert [count for _, count in asked] == [1, 2, 1]


def test_windows_other_networks_and_mixtures_are_asked_one_by_one(asked: list[tuple[Denoiser, int]]) -> None:
    of = awake()
    samples(of, "cat", weak=awake(seed=1))
    samples(of, "cat", tile=(8, 8))
    samples(of, "cat | dog")
    assert {count for _, count in asked} == {1}


def test_tokens_of_both_sides() -> None:
    network = UNetConfig(
        channels=8, multipliers=(1,), attention_levels=(0,), transformer_depths=(1,), heads=2, context_width=5
    )
    with torch_generator(0), torch.no_grad():
        made = Denoiser(network.build((3, 8, 8)), Cosine(), V()).eval()
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    draws = Draws(0, torch.arange(2))
    vector, x, t = draws.normal("vector", 32), draws.normal("x", 3, 8, 8), torch.tensor([0.3, 0.6])
    told = Conditioning(vector=vector, tokens=draws.normal("tokens", 4, 5), weights=torch.full((2, 4), 1.5))
    for other in (Conditioning(vector=-vector), Conditioning(vector=-vector, tokens=draws.normal("others", 2, 5))):
        cond, null = (BoundDenoiser(network=made, cond=c) for c in (told, other))
        both = drawing.together(cond, null)
        assert both is not None
        with torch.no_grad():
            for ours, theirs in zip(both(x, t), (cond(x, t), null(x, t)), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
