"""Sampling that reuses deep features (``cache``): how often they are computed, and what it does to samples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from carrara.backbone import DiTConfig, UNet
from carrara.draw import Ask, drawing, request
from carrara.draw.request import dump_request, read_request
from carrara.errors import UserError
from carrara.pixels import read_recipe
from carrara.sample import SampleSettings
from carrara.sample.catalogue import sampler
from carrara.store import OpenModel
from drawings import LATENTS, PIXELS, awake, drawn, request_of
from small_models import saved
from tiny import Command

SETTINGS = SampleSettings(steps=6, guidance=2.0)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """Whether a network's depth was computed, and of how many samples, call by call."""
    calls, partly = list[tuple[bool, int]](), UNet.partly

    def noted(self: UNet, x: Tensor, level: Tensor, cond: Any, deep: Tensor | None, levels: int) -> Any:
        calls.append((deep is None, len(x)))
        return partly(self, x, level, cond, deep, levels)

    monkeypatch.setattr(UNet, "partly", noted)
    return calls


@pytest.mark.parametrize("config", [PIXELS, LATENTS], ids=["pixels", "latents"])
def test_a_cache_of_one_is_none_to_the_bit(config: Any, computed: list[tuple[bool, int]]) -> None:
    of = awake(config)
    plain = drawn(of, "cat", "dog", settings=SETTINGS)
    assert torch.equal(drawn(of, "cat", "dog", settings=SETTINGS, cache=1), plain)
    assert all(whole for whole, _ in computed)
    assert not torch.equal(drawn(of, "cat", "dog", settings=SETTINGS, cache=2), plain)


@pytest.mark.parametrize("method", ["dpmpp", "heun", "ddpm"])
def test_a_depth_that_never_changes_loses_nothing(method: str) -> None:
    of = awake()
    assert isinstance(of.denoiser.backbone, UNet)
    with torch.no_grad():
        for name, weights in of.denoiser.backbone.upsample[0].named_parameters():
            weights.fill_(0.5 if name.endswith("bias") else 0.0)  # from below comes the bias, whatever is there
    settings = replace(SETTINGS, sampler=sampler(method))
    plain, cached = (drawn(of, "cat", "dog", settings=settings, cache=cache) for cache in (None, 3))
    assert torch.equal(cached, plain)


def test_one_of_so_many_evaluations_computes_the_depth(computed: list[tuple[bool, int]]) -> None:
    drawn(awake(), "cat", settings=SETTINGS, cache=3)
    assert computed == [(True, 2), (False, 2), (False, 2)] * 2


def test_heun_and_mixtures_remember_for_each_estimate(computed: list[tuple[bool, int]]) -> None:
    of = awake()
    drawn(of, "cat", settings=replace(SETTINGS, sampler=sampler("heun"), guidance=1.0, steps=3), cache=2)
    assert [whole for whole, _ in computed] == [True, False, True, False, True]
    computed.clear()
    drawn(of, "cat | dog", settings=replace(SETTINGS, guidance=1.0, steps=2), cache=2)
    assert sum(whole for whole, _ in computed) == len(computed) / 2


def test_where_guidance_begins_both_sides_begin(computed: list[tuple[bool, int]]) -> None:
    drawn(awake(), "cat", settings=replace(SETTINGS, interval=(0.2, 0.8)), cache=4)
    assert computed == [(True, 1), (False, 1), (True, 2), (False, 2), (False, 2), (False, 1)]


def test_rivals_remember_on_their_own(computed: list[tuple[bool, int]]) -> None:
    of, weak = awake(), awake(seed=1)
    drawn(of, "cat", weak=weak, settings=SETTINGS, cache=2)
    assert sum(whole for whole, _ in computed) == 6
    assert len(computed) == 12


def test_a_seed_is_its_picture_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    of, wishes = awake(), ("cat", "dog", None)
    settings = replace(SETTINGS, interval=(0.2, 0.8))
    together = drawn(of, *wishes, settings=settings, cache=2)
    one_by_one = drawn(of, *wishes, settings=settings, cache=2, batch=1)
    monkeypatch.setattr(drawing, "TOGETHER", 2)
    for other in (one_by_one, drawn(of, *wishes, settings=settings, cache=2)):
        torch.testing.assert_close(other, together, rtol=1e-4, atol=1e-5)


def test_a_record_says_it_only_where_it_was_asked_for() -> None:
    of = OpenModel(model=awake())
    plain, cached = request(of, Ask(count=1)), request(of, Ask(count=1, cache=2))
    assert "cache" not in dump_request(plain)
    assert read_request(dump_request(plain)) == plain
    assert read_request(dump_request(cached)) == cached
    assert cached.cache == 2


def test_who_cannot_reuse_says_why() -> None:
    dit = awake(replace(PIXELS, backbone=DiTConfig(width=16, depth=1, heads=2)))
    with pytest.raises(UserError, match=r"cache.*2.* reuses the lower levels of a U-Net"):
        request(OpenModel(model=dit), Ask(cache=2))
    request(OpenModel(model=dit), Ask(cache=1))
    with pytest.raises(UserError, match="remembers one place, and windows are many"):
        request(OpenModel(model=awake()), Ask(cache=2, tile=8))
    with pytest.raises(UserError, match="cannot be: 2 or 3 evaluations share"):
        Ask(cache=0)
    few = awake()
    few.about["few_steps"] = 4
    with pytest.raises(UserError, match="too few steps"):
        drawn(few, "cat", cache=2)
    assert request_of(few, "cat", cache=1).cache == 1


def test_the_command_records_it_and_makes_the_picture_again(
    carrara: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = saved("pixels", tmp_path / "run")
    for name, said in (("plain", ()), ("one", ("--cache", "1")), ("cached", ("--cache", "3"))):
        code, words = carrara("sample", run, "cat", "-n", "2", "--steps", "4", *said, "--out", name)
        assert code == 0, words
    grids = {name: Path(name, "grid.png") for name in ("plain", "one", "cached")}
    plain, one, cached = (Image.open(path).tobytes() for path in grids.values())
    assert plain == one != cached
    assert read_recipe(grids["cached"])["request"]["cache"] == 3
    code, words = carrara("replay", grids["cached"])
    assert code == 0
    assert "every pixel is the same" in words
    code, words = carrara("sample", run, "--cache", "0")
    assert code == 2
    assert "Traceback" not in words
    code, words = carrara("edit", run, "variation", grids["plain"], "--cache", "2", "-n", "1", "--out", "edit")
    assert code == 0, words
