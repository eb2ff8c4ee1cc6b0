"""The loop against what equation (1) says."""

import math
from collections.abc import Iterator
from itertools import islice
from time import monotonic, sleep

import pytest
import torch
from tiny_training import Adversaries, Tiny, batch_at, batches, settings
from torch import nn

from carrara.errors import UserError
from carrara.objective.base import LossReport, Objective
from carrara.seeds import Draws
from carrara.train import TrainState, held_out, stopwatch, train
from carrara.types import Batch


class Quadratic(Objective):
    """Loss (theta - x)^2 / 2 for each sample, so the gradient is theta minus the batch's mean."""

    def __init__(self, bad_steps: range = range(0)) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(2))
        self.bad_steps = bad_steps

    def roles(self):
        return {"main": [self.theta]}

    def forward(self, batch, role, draws):
        loss = (self.theta - batch.x).square().sum(1) / 2
        return LossReport(loss * math.nan if draws.step in self.bad_steps else loss)

    def validate(self, batch, draws):
        return {}


def constant(start: int) -> Iterator[Batch]:
    while True:
        yield Batch(x=torch.tensor([[3.0, 0.0], [3.0, 8.0]]), position=torch.arange(2))


def test_one_step_is_adamw_on_the_mean_gradient():
    state = TrainState(Quadratic(), settings())
    options = settings(steps=1, warmup=0, lr=0.1)
    (report,) = train(state, constant, options, seed=0)
    assert report.loss == (9 / 2 + (9 + 64) / 2) / 2
    assert report.grad_norm == 5.0 and report.lr == 0.1 and report.images == 2 and report.progress == 1.0
    torch.testing.assert_close(state.objective.theta.data, torch.tensor([0.1, 0.1]))  # Adam's first step: lr sign(g)
    moment = state.optimizers["main"][0].state[state.objective.theta]["exp_avg"]
    torch.testing.assert_close(moment, 0.1 * torch.tensor([-3.0, -4.0]) / 5)  # clipped to norm 1


@pytest.mark.parametrize("clip", [0.5, 2.0, math.inf])
def test_the_gradient_is_clipped_to_the_norm(clip):
    state = TrainState(Quadratic(), settings())
    list(train(state, constant, settings(steps=1, clip=clip), seed=0))
    moment = state.optimizers["main"][0].state[state.objective.theta]["exp_avg"] * 10
    assert moment.norm().item() == pytest.approx(min(clip, 5.0), rel=1e-5)


def test_the_average_follows_the_weights_by_images():
    options = settings(ema_half_life=6.0, ema_rampup=0.5)
    state, average = TrainState(Quadratic(), options), torch.zeros(2)
    for report in train(state, constant, options, seed=0):
        seen, theta = report.images - 2, state.objective.theta.detach()
        keep = 0.5 ** (2 / min(6.0, 0.5 * seen)) if seen else 0.0
        average = theta + keep * (average - theta)
        torch.testing.assert_close(state.ema.tensors["theta"], average)
    assert not torch.allclose(average, theta, rtol=1e-3)


@pytest.mark.parametrize("accumulate", [2, 3, 8])
def test_accumulation_equals_the_whole_batch(accumulate):
    def run(**changes):
        objective = Tiny()
        objective.denoiser[2] = nn.Identity()  # torch's own dropout draws by micro-batch, not by sample
        state = TrainState(objective, settings(lr=1e-3, **changes))
        return list(train(state, batches, settings(lr=1e-3, **changes), seed=3)), state

    (whole, one), (parts, other) = run(), run(accumulate=accumulate)
    for a, b in zip(whole, parts, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-4) and b.grad_norm == pytest.approx(a.grad_norm, rel=1e-3)
        assert b.logs["time"] == pytest.approx(a.logs["time"], rel=1e-5) and b.images == a.images
    for a, b in zip(one.objective.parameters(), other.objective.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_draws_are_those_of_the_samples_positions_and_the_step():
    seen = []

    class Spy(Quadratic):
        def forward(self, batch, role, draws):
            seen.append((draws.seed, draws.step, draws.samples.tolist(), batch.position.tolist()))
            return super().forward(batch, role, draws)

    def two(start):
        return ((Batch(x=b.x[:, :2], position=b.position)) for b in batches(start, size=4))

    list(train(TrainState(Spy(), settings()), two, settings(steps=2, accumulate=2), seed=9))
    assert seen == [(9, s, p, p) for s, p in [(0, [0, 1]), (0, [2, 3]), (1, [4, 5]), (1, [6, 7])]]


def test_a_batch_of_whole_numbers_is_refused():
    def bytes_(start):
        yield Batch(x=torch.zeros(2, 2, dtype=torch.uint8), position=torch.arange(2))

    with pytest.raises(AssertionError, match="float32"):
        next(train(TrainState(Quadratic(), settings()), bytes_, settings(), seed=0))


def test_minutes_are_a_budget_over_all_processes(monkeypatch):
    now = [100.0]

    def slow(start):
        for batch in constant(start):
            now[0] += 2.0
            yield batch

    monkeypatch.setattr(stopwatch, "monotonic", lambda: now[0])
    options = settings(steps=None, minutes=0.2, decay=0.5, warmup=0)
    state = TrainState(Quadratic(), options)
    first = list(islice(train(state, slow, options, seed=0), 2))
    now[0] = 5.0  # another process, another clock
    second = list(train(state, slow, options, seed=0))
    reports = first + second
    assert [r.seconds for r in reports] == [2, 4, 6, 8, 10, 12]
    assert [r.progress for r in reports] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert [r.lr / options.lr for r in reports] == pytest.approx([1, 1, 1, 1, 2 / 3, 1 / 3])


def test_a_suspended_process_does_not_spend_its_minutes(monkeypatch):
    now = [0.0]

    def suspended(start):
        for step, batch in enumerate(constant(start)):
            now[0] += 3600.0 if step == 1 else 2.0
            yield batch

    monkeypatch.setattr(stopwatch, "monotonic", lambda: now[0])
    reports = train(TrainState(Quadratic(), settings()), suspended, settings(steps=None, minutes=5.0), seed=0)
    assert [report.seconds for report in islice(reports, 3)] == [2, 2 + stopwatch.GAP, 4 + stopwatch.GAP]


def test_a_step_that_takes_long_counts_whole(monkeypatch):
    monkeypatch.setattr(stopwatch, "EVERY", 0.01)
    monkeypatch.setattr(stopwatch, "GAP", 0.3)
    with stopwatch.Stopwatch(10.0) as watch:
        begun = monotonic()
        sleep(1.0)
        assert watch.seconds() - 10 == pytest.approx(monotonic() - begun, abs=0.2)


def test_a_step_that_is_not_finite_changes_no_weight_and_is_counted():
    state = TrainState(Quadratic(bad_steps=range(2, 4)), settings())
    reports, thetas = [], []
    for report in train(state, constant, settings(steps=6), seed=0):
        reports.append(report)
        thetas.append(state.objective.theta.detach().clone())
    assert [r.skipped for r in reports] == [0, 0, 1, 2, 0, 0]
    assert torch.equal(thetas[1], thetas[2]) and torch.equal(thetas[1], thetas[3])
    assert not torch.equal(thetas[3], thetas[4]) and thetas[-1].isfinite().all()
    assert state.optimizers["main"][0].state[state.objective.theta]["step"].item() == 4


def test_many_steps_that_are_not_finite_end_with_advice():
    state = TrainState(Quadratic(bad_steps=range(5, 1000)), settings())
    with pytest.raises(UserError, match=r"last 20 steps, up to step 25.*lower train\.lr.*float32"):
        list(train(state, constant, settings(steps=1000), seed=0))
    assert state.objective.theta.isfinite().all()


def test_the_loader_is_closed_and_starts_at_the_clock():
    events = []

    def watched(start):
        events.append(start)
        try:
            yield from constant(start)
        finally:
            events.append("closed")

    state = TrainState(Quadratic(), settings())
    steps = train(state, watched, settings(steps=5), seed=0)
    next(steps), next(steps), steps.close()
    list(train(state, watched, settings(steps=5), seed=0))
    assert events == [0, "closed", 2, "closed"]


def test_each_role_descends_its_own_loss_alone():
    objective = Adversaries()
    state = TrainState(objective, settings())
    critic = objective.critic.weight.detach().clone()
    with state.only("autoencoder"):
        objective(batch_at(0), "autoencoder", Draws(0, torch.arange(8))).per_sample.mean().backward()
    assert objective.critic.weight.grad is None and objective.autoencoder.weight.grad is not None
    objective.zero_grad()
    objective.asked.clear()
    (report,) = train(state, batches, settings(steps=1), seed=0)
    assert objective.asked == [("autoencoder", True, False), ("critic", False, True)]
    assert all(p.requires_grad and p.grad is None for p in objective.parameters())
    assert not torch.equal(objective.critic.weight, critic)
    assert set(report.logs) == {"score", "critic.score", "critic.loss", "critic.grad_norm"}


def test_training_learns():
    options = settings(steps=300, lr=3e-2)
    reports = list(train(TrainState(Tiny(), options), batches, options, seed=3))
    assert sum(r.loss for r in reports[-50:]) < 0.6 * sum(r.loss for r in reports[:50])


def test_held_out_is_the_mean_over_samples_with_the_same_draws():
    objective = Tiny().eval()
    parts = [batch_at(0, 3), Batch(x=batch_at(0).x[3:], position=torch.arange(3, 8))]
    measured = held_out(objective, parts, seed=1)
    assert measured["position"] == 3.5
    whole = held_out(objective, [batch_at(0, 8)], seed=1)
    assert whole["half"] == pytest.approx(measured["half"], rel=1e-5)
    assert whole == held_out(objective, [batch_at(0, 8)], seed=1) != held_out(objective, [batch_at(0, 8)], seed=2)
    assert held_out(objective, [], seed=1) == {}
