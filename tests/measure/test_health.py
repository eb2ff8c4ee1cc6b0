"""Each check against logs that are made so that its answer is known."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from carrara.measure.health import (
    Evidence,
    Finding,
    average_warmth,
    by_level,
    completion,
    early_share,
    examine,
    findings,
    finite_losses,
    guidance_training,
    held_out_costs,
    latent_spread,
    level_progress,
    overfitting,
    rate_decay,
    train_gaps,
)
from carrara.recipe.loading import load
from carrara.recipe.schema import Recipe
from carrara.store import OpenModel
from carrara.train import Ema, TrainSettings


def recipe(*overrides: str) -> Recipe:
    return load("digits", ["train.steps=1000", "train.batch=64", *overrides])


def log(steps: int = 1000, loss: float = 0.1, **changes: Any) -> list[dict[str, Any]]:
    """A log of equal steps, whose rate falls to nothing."""
    return [
        {"step": k, "loss": loss, "images": 64 * k, "seconds": 0.1 * k, "lr": 1e-3 * (1 - k / (steps + 1)), **changes}
        for k in range(1, steps + 1)
    ]


def held_out(*rows: tuple[float, ...], every: int = 250) -> list[dict[str, Any]]:
    """A line for each row, whose numbers are the losses from data to noise."""
    return [
        {"step": every * (k + 1), **{f"loss@t={(j + 0.5) / len(row):.3f}": loss for j, loss in enumerate(row)}}
        for k, row in enumerate(rows)
    ]


def evidence(**changes: Any) -> Evidence:
    return Evidence(**{"recipe": recipe(), "log": log(), **changes})


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1
    return found[0]


def test_a_sound_run_has_nothing_but_good_news() -> None:
    measured = held_out((0.3, 0.2), (0.2, 0.15), (0.15, 0.12), (0.12, 0.1))
    found = findings(evidence(held_out=measured, guidable=True, latent_std=[0.98, 1.03]))
    assert [finding.level for finding in found] == ["good"] * 8


def test_warnings_come_first() -> None:
    found = findings(evidence(log=log(500), latent_std=[0.1]))
    assert [finding.level for finding in found] == sorted(
        (finding.level for finding in found), key=("warning", "note", "good").index
    )
    assert found[0].level == "warning"


@pytest.mark.parametrize(("steps", "level", "words"), [(1000, "good", "complete"), (400, "note", "unfinished, at 40%")])
def test_unfinished(steps: int, level: str, words: str) -> None:
    finding = only(completion(evidence(log=log(steps))))
    assert finding.level == level
    assert words in finding.text


def test_a_run_of_minutes_is_finished_when_they_are_over() -> None:
    timed = load("digits", ["train.minutes=1"])
    assert only(completion(evidence(recipe=timed, log=log(599)))).level == "note"
    assert only(completion(evidence(recipe=timed, log=log(600)))).level == "good"


def test_a_run_that_has_not_begun() -> None:
    assert "not made a step" in only(completion(evidence(log=[]))).text
    assert [finding.level for finding in findings(evidence(log=[]))] == ["note", "note"]


def test_spoilt() -> None:
    assert only(finite_losses(evidence())).level == "good"
    once = log()
    once[499] |= {"loss": None, "skipped": 1}
    assert only(finite_losses(evidence(log=once))).level == "note"
    assert "1 of 1000" in only(finite_losses(evidence(log=once))).text
    often = log()
    for line in often[100:110]:
        line["skipped"] = 1  # the gradient was not finite, and the loss was
    finding = only(finite_losses(evidence(log=often)))
    assert finding.level == "warning"
    assert "10 of 1000" in finding.text
    assert "step 110" in finding.text


def test_undecayed() -> None:
    assert only(rate_decay(evidence())).level == "good"
    constant = log(lr=1e-3)
    assert only(rate_decay(evidence(log=constant))).level == "note"
    assert rate_decay(evidence(log=constant[:500])) == [], "it may still fall"


@pytest.mark.parametrize(
    ("half_life", "rampup"),
    [(5000.0, 0.05), (5000.0, None), (64_000.0, None), (1e9, 0.05), (20_000.0, 0.5), (9e3, 0.0)],
)
def test_the_share_of_the_first_tenth_is_what_the_average_really_holds(half_life: float, rampup: float | None) -> None:
    """A weight that is 1 during the first tenth of the run, and 0 after it."""
    steps, batch = 1000, 64
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    module = nn.Module()
    module.weight = weight
    ema = Ema(module, half_life=half_life, rampup=rampup)
    for k in range(steps):
        if k >= steps // 10:
            weight.data.zero_()
        ema.update(k * batch, batch)
    settings = TrainSettings(steps=steps, ema_half_life=half_life, ema_rampup=rampup)
    assert early_share(settings, float(steps * batch)) == pytest.approx(
        ema.tensors["weight"].item(), rel=0.15, abs=1e-9
    )


def test_cold() -> None:
    assert only(average_warmth(evidence())).level == "good"
    patient = recipe("train.ema_half_life=64000", "train.ema_rampup=null")
    finding = only(average_warmth(evidence(recipe=patient)))
    assert finding.level == "warning"
    assert "54%" in finding.text  # 2^-0.9
    advised = recipe("train.ema_half_life=6400", "train.ema_rampup=null")
    assert "6,400 or less" in finding.text
    assert only(average_warmth(evidence(recipe=advised))).level == "good"


def test_unmoved() -> None:
    finding = only(level_progress(evidence(held_out=held_out((0.4, 1.0), (0.3, 0.8)))))
    assert finding.level == "good"
    assert "20% to 25%" in finding.text
    finding = only(level_progress(evidence(held_out=held_out((0.4, 1.0), (0.3, 1.001)))))
    assert finding.level == "note"
    assert "t = 0.75 since step 250" in finding.text
    assert only(level_progress(evidence(held_out=held_out((0.4, 1.0), (0.5, 0.9))))).level == "warning"
    assert level_progress(evidence(held_out=held_out((0.4, 1.0)))) == []
    assert level_progress(evidence(held_out=[{"step": 1, "elbo": -90.0}, {"step": 2, "elbo": -80.0}])) == []


def test_coloured() -> None:
    assert only(latent_spread(evidence(latent_std=[0.9, 1.1]))).level == "good"
    assert only(latent_spread(evidence(latent_std=[1.0, 0.18]))).level == "warning"
    assert only(latent_spread(evidence(latent_std=[1.0, 5.5]))).level == "warning"
    assert latent_spread(evidence(latent_std=None)) == []


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        (["objective.drop=0.1"], "good"),
        (["objective.drop=0", "sample.guidance=1"], "note"),
        (["objective.drop=0", "sample.guidance=3"], "warning"),
        (["objective.drop=1"], "warning"),
    ],
)
def test_unguided(changes: list[str], level: str) -> None:
    assert only(guidance_training(evidence(recipe=recipe(*changes), guidable=True))).level == level
    assert guidance_training(evidence(recipe=recipe(*changes), guidable=False)) == []


def test_overfitting_is_a_best_step_long_past() -> None:
    measured = held_out((0.2, 0.2), (0.1, 0.1), (0.11, 0.11), (0.13, 0.13))
    finding = only(overfitting(evidence(held_out=measured)))
    assert finding.level == "warning"
    assert "best after step 500" in finding.text
    assert "30% worse" in finding.text
    assert only(overfitting(evidence(held_out=held_out((0.2,), (0.1,), (0.1005,))))).level == "good"


def test_overfitting_is_a_growing_gap() -> None:
    """The training loss goes on falling, and the held-out loss does not follow."""
    falling = [line | {"loss": 0.1 if line["step"] <= 500 else 0.05} for line in log()]
    measured = held_out((0.102,), (0.101,), (0.1,), (0.1,))
    gaps = train_gaps(evidence(log=falling, held_out=measured))
    assert gaps == pytest.approx([1.02, 1.01, 2.0, 2.0])
    finding = only(overfitting(evidence(log=falling, held_out=measured)))
    assert finding.level == "note"
    assert "100% above the training loss" in finding.text


def test_what_still_improves_is_told() -> None:
    assert "more steps" in only(overfitting(evidence(held_out=held_out((0.2,), (0.1,))))).text
    assert "more steps" not in only(overfitting(evidence(held_out=held_out((0.2,), (0.1,), (0.0999,))))).text


def test_where_nothing_is_measured_overfitting_cannot_be_seen() -> None:
    assert "data.held_out=0.05" in only(overfitting(evidence(recipe=recipe("data.held_out=0")))).text
    assert "preview.every" in only(overfitting(evidence())).text


def test_measures_of_which_more_is_better() -> None:
    lines = [{"step": 1, "elbo": -90.0}, {"step": 2, "elbo": -80.0}]
    assert held_out_costs(lines) == ("ELBO", [90.0, 80.0])
    assert held_out_costs([{"step": 1, "psnr": 30.0, "perceptual": 0.1}]) == ("PSNR", [-30.0])
    worse = [{"step": 250, "psnr": 30.0}, {"step": 500, "psnr": 31.0}, {"step": 1000, "psnr": 28.0}]
    finding = only(overfitting(evidence(held_out=worse)))
    assert finding.level == "warning"
    assert "PSNR was best after step 500" in finding.text


def test_levels_that_are_not_in_every_line_are_left_out() -> None:
    lines = held_out((0.2, 0.3), (0.1, 0.2))
    lines[1]["loss@t=0.750"] = None  # it was not finite
    assert by_level(lines) == {0.25: [0.2, 0.1]}


def test_a_folder_without_a_recipe_is_not_examined(tmp_path: Path) -> None:
    from carrara.autoencoder import VaeConfig
    from carrara.model import AutoencoderConfig, build_model

    model = build_model(AutoencoderConfig(shape=(1, 8, 8), first_stage=VaeConfig(hidden=8)))
    assert examine(OpenModel(model=model, folder=tmp_path)) == []
