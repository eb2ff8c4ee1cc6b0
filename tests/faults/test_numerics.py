"""Losses, gradients and weights that are no sound numbers: they change nothing that is good, and the run says so."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import Adversaries, Tiny, assert_equal_states, batches, fingerprint, run_until, settings, training
from torch import nn

from carrara.errors import UserError
from carrara.objective.base import LossReport
from carrara.train import Incident, StepReport, Training, TrainState, read_log, train
from carrara.train.incidents import HALVINGS, PATIENCE

Ill = Callable[[int, int], bool]
"""``(step, halvings) -> whether the loss is not finite``; the step counts from 0."""


class Sick(Tiny):
    """Its loss is not finite where ``ill`` says so, for the samples at ``places`` of the batch; a buffer neither."""

    def __init__(self, ill: Ill, places: slice = slice(None)) -> None:
        super().__init__()
        self.ill, self.places, self.run = ill, places, None

    def forward(self, batch, role, draws):
        report = super().forward(batch, role, draws)
        if not self.ill(draws.step, self.run.clock.halvings if self.run else 0):
            return report
        self.denoiser.norm.fill_(math.nan)
        hit = torch.zeros(len(batch), dtype=torch.bool)
        hit[self.places] = True
        return LossReport(torch.where(hit, report.per_sample * math.nan, report.per_sample), report.logs)


def sick(folder: Path, ill: Ill, places: slice = slice(None), **options) -> Training:
    objective = Sick(ill, places)
    run = training(folder, objective=objective, **options)
    objective.run = run
    return run


def names(run: Training) -> Training:
    run._names = lambda positions: [f"{position}.png" for position in positions]
    return run


def incidents(events) -> list[Incident]:
    return [event for event in events if isinstance(event, Incident)]


def saved_weights(run: Path) -> list[torch.Tensor]:
    return [t for file in run.rglob("*.safetensors") for t in load_file(file).values() if t.is_floating_point()]


def test_a_skipped_step_changes_nothing_and_names_its_examples(tmp_path):
    run = names(sick(tmp_path, lambda step, _: step in (3, 4), slice(2, 4)))
    before, events = None, []
    for event in run:
        events.append(event)
        if isinstance(event, StepReport) and event.step == 3:
            before = {name: t.clone() for name, t in run.state.objective.state_dict().items()}
        if isinstance(event, StepReport) and event.step in (4, 5):
            assert all(torch.equal(t, before[name]) for name, t in run.state.objective.state_dict().items())
    (told,) = incidents(events)
    assert told.step == 4 and told.back is None
    assert told.text.endswith("changed nothing (look at '26.png', '27.png')")
    assert [event.skipped for event in events if isinstance(event, StepReport)] == [0] * 3 + [1, 2] + [0] * 7
    assert all(t.isfinite().all() for t in saved_weights(tmp_path))


def test_of_many_examples_five_are_named(tmp_path):
    (told,) = incidents(names(sick(tmp_path, lambda step, _: step == 1)))
    assert told.text.endswith("(look at '8.png', '9.png', '10.png', '11.png', '12.png' and 3 more)")


def test_not_every_row_of_skipped_steps_is_told(tmp_path):
    told = incidents(sick(tmp_path, lambda step, _: step % 2 == 1, steps=40))
    assert [one.step for one in told] == list(range(2, 22, 2)) and told[-1].text.endswith("in log.jsonl alone")
    assert sum("skipped" in line for line in read_log(tmp_path / "log.jsonl")) == 20


class SickCritic(Adversaries):
    def __init__(self, role: str) -> None:
        super().__init__()
        self.sick = role

    def forward(self, batch, role, draws):
        report = super().forward(batch, role, draws)
        return LossReport(report.per_sample * math.nan) if role == self.sick and draws.step == 2 else report


@pytest.mark.parametrize(("role", "learn"), [("autoencoder", set()), ("critic", {"autoencoder"})])
def test_what_comes_after_a_role_that_is_not_finite_learns_nothing(role, learn):
    state = TrainState(SickCritic(role), settings())
    before: dict[str, torch.Tensor] = {}
    for report in train(state, batches, settings(), seed=0):
        if report.step == 3:
            assert report.skipped == 1 and report.blamed == tuple(range(16, 24))
            changed = {
                n.partition(".")[0] for n, t in state.objective.named_parameters() if not torch.equal(t, before[n])
            }
            assert changed == learn
        before = {name: p.detach().clone() for name, p in state.objective.named_parameters()}
    assert report.skipped == 0 and all(p.isfinite().all() for p in state.objective.parameters())


def test_a_run_that_finds_no_finite_loss_goes_back_with_half_the_rate(tmp_path):
    run = names(sick(tmp_path, lambda step, halvings: step >= 9 and halvings < 2, every=4, keep=9, steps=40))
    events = list(run)
    told = incidents(events)
    assert [(one.step, one.back) for one in told] == [(10, None), (9 + PATIENCE, 8)] * 2
    assert "in the last 20 steps, up to step 29 (look at '" in told[1].text
    assert told[1].text.endswith("goes back to step 8, and on with half the learning rate, 0.005")
    assert told[3].text.endswith("0.0025")
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 41)) and not any("skipped" in line for line in lines)
    assert [line["lr"] for line in lines] == [1e-2 * min(1, (k + 1) / 3) for k in range(8)] + [2.5e-3] * 32
    seconds = [event.seconds for event in events if isinstance(event, StepReport)]
    assert seconds == sorted(seconds)
    again = training(tmp_path, steps=40)
    assert (again.clock.halvings, again.clock.halved) == (2, 1e-2)
    assert all(t.isfinite().all() for t in saved_weights(tmp_path))


def test_a_run_without_a_checkpoint_goes_back_to_its_beginning(tmp_path):
    fresh = TrainState(Tiny(), settings())
    run = sick(tmp_path, lambda step, halvings: step >= 2 and not halvings, steps=24)
    for event in run:
        if isinstance(event, Incident) and event.back is not None:
            assert event.back == 0 and run.clock.step == 0
            assert_equal_states(run.state, fresh)
    assert run.clock.step == 24 and run.clock.halvings == 1


@pytest.mark.parametrize("every", [4, 1000])
def test_a_kill_at_any_step_changes_nothing(tmp_path, every):
    def ill(step, halvings):
        return step >= 9 and halvings < 1

    def begun(folder):
        return sick(folder, ill, every=every, keep=2, steps=32)

    whole = begun(tmp_path / "whole")
    count = sum(1 for _ in whole)
    for until in range(4, count, 16):
        folder = tmp_path / str(until)
        for k, _ in enumerate(begun(folder), start=1):
            if k == until:
                break
        end = begun(folder)
        list(end)
        assert fingerprint(end.state) == fingerprint(whole.state) and end.clock.halvings == 1
        logs = [
            [{**line, "seconds": 0} for line in read_log(tmp_path / run / "log.jsonl")] for run in ("whole", folder)
        ]
        assert logs[0] == logs[1]
        kept = [sorted(path.name for path in (tmp_path / run / "checkpoints").iterdir()) for run in ("whole", folder)]
        assert kept[0] == kept[1]


def blow_up(run: Training, factor: float, step: int, below: int) -> None:
    """After ``step`` steps an update makes the weights so many times as large, unless the rate was halved often."""

    def hook(optimizer, *_):
        if run.clock.step == step and run.clock.halvings < below:
            with torch.no_grad():
                for p in run.state.objective.denoiser.parameters():
                    p.mul_(factor)

    run.state.optimizers["main"][0].register_step_post_hook(hook)


@pytest.mark.parametrize("factor", [30.0, 1e6, 1e30, math.inf, math.nan])
def test_exploded_weights_reach_nothing_and_the_run_goes_back(tmp_path, factor):
    run = training(tmp_path, every=2, keep=9, steps=8)
    blow_up(run, factor, step=4, below=1)
    (told,) = incidents(run)
    assert (told.step, told.back) == (5, 4) and "step 5 made" in told.text
    assert run.clock.step == 8 and run.clock.halvings == 1
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == list(range(1, 9))
    assert max(t.abs().max().item() for t in saved_weights(tmp_path) if t.numel() > 1) < 10


def test_after_three_times_it_ends_with_a_report(tmp_path):
    run = names(training(tmp_path, every=2, steps=8))
    blow_up(run, 1e6, step=5, below=99)
    told = []
    with pytest.raises(UserError) as report:
        told.extend(run)
    text = str(report.value)
    assert text.count("step 6 made the weights explode, to") == 4 and text.count("'40.png'") == 4
    assert f"1/{2**HALVINGS} of the learning rate 0.01" in text and "The run is at step 4 again" in text
    assert max(t.abs().max().item() for t in saved_weights(tmp_path) if t.numel() > 1) < 10
    assert training(tmp_path).clock.step == 4


@pytest.mark.parametrize("rate", [1e6, 1e3])
def test_the_reports_advice_works(tmp_path, rate):
    run_until(training(tmp_path, every=4, keep=2, steps=60, decay=0.5), 40)
    good = training(tmp_path, steps=60).state
    with pytest.raises(UserError, match="run the same command with") as report:
        list(training(tmp_path, every=4, keep=2, steps=60, decay=0.5, lr=rate))
    assert_equal_states(training(tmp_path).state, good)
    lr = float(re.search(r"train\.lr=(\S+),", str(report.value))[1])
    again = training(tmp_path, every=4, keep=2, steps=60, decay=0.5, lr=lr)
    assert again.clock.step == 40 and again.clock.halvings == 0
    events = list(again)
    assert len(events) == 20 and all(math.isfinite(event.loss) and not event.skipped for event in events)
    assert max(p.abs().max().item() for p in again.ema.tensors.values() if p.is_floating_point()) < 10


def test_what_a_rate_made_that_diverged_at_once_is_not_gone_on_from(tmp_path):
    run_until(training(tmp_path, every=4, keep=1, steps=60), 8)
    good = training(tmp_path, steps=60).state
    run = training(tmp_path, every=4, keep=1, steps=60, lr=2e-2)
    blow_up(run, 1e6, step=22, below=99)
    with pytest.raises(UserError, match=r"The run is at step 8 again"):
        for event in run:
            assert event.back in (None, 8) if isinstance(event, Incident) else event.step > 8
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-8"]
    assert_equal_states(training(tmp_path).state, good)


def test_a_rate_that_did_well_for_long_is_trusted(tmp_path):
    run_until(training(tmp_path, every=50, keep=1, steps=250), 50)
    run = training(tmp_path, every=50, keep=1, steps=250, lr=9e-3)
    blow_up(run, 1e6, step=160, below=2)
    assert [one.back for one in incidents(run)] == [150, 150] and run.clock.since == 150
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-250"]


@pytest.mark.parametrize("key", ["halvings", "step", "skipped", "since"])
@pytest.mark.parametrize("value", [-1, 1 << 70, "x", None, [1]])
def test_a_clock_that_is_none_is_refused(tmp_path, key, value):
    run_until(training(tmp_path, every=2), 4)
    folder = tmp_path / "checkpoints" / "step-4"
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, key: value}))
    reseal(folder)
    with pytest.raises(UserError, match=r"step-4 (cannot be read|is not one of a training)"):
        training(tmp_path)


def test_another_learning_rate_begins_anew(tmp_path):
    run = training(tmp_path, every=2, steps=8)
    blow_up(run, 1e6, step=4, below=2)
    assert len(incidents(run)) == 2
    assert training(tmp_path).clock.halvings == 2
    assert training(tmp_path, lr=5e-3).clock.halvings == 0


def test_checkpoints_without_halvings_are_read(tmp_path):
    run_until(training(tmp_path, every=2), 4)
    folder = tmp_path / "checkpoints" / "step-4"
    state = json.loads((folder / "state.json").read_text())
    del state["halvings"], state["halved"]
    (folder / "state.json").write_text(json.dumps(state))
    reseal(folder)
    assert training(tmp_path).clock.step == 4 and training(tmp_path).clock.halvings == 0


def reseal(folder: Path) -> None:
    from carrara.files import sealed

    (folder / sealed.MANIFEST).unlink()
    sealed.seal(folder)


def test_weights_that_begin_at_zero_may_grow(tmp_path):
    objective = Tiny()
    for p in objective.parameters():
        p.data.zero_()
    assert not incidents(training(tmp_path, objective=objective, steps=40, lr=3e-2, warmup=0, ema_rampup=None))


@pytest.mark.parametrize("steps", [PATIENCE - 8, 1000])
def test_a_run_that_learned_nothing_says_so(tmp_path, steps):
    events = []
    with pytest.raises(UserError, match=r"nothing was learned: .* in any of the \d+ steps.*look at '0.png'"):
        for event in names(sick(tmp_path, lambda step, _: True, every=4, steps=steps)):
            events.append(event)
    assert len(incidents(events)) == 1  # a smaller rate cannot help
    with pytest.raises(UserError, match="nothing was learned"):
        list(sick(tmp_path, lambda step, _: True, every=4, steps=steps))


class Small(Tiny):
    """There is memory for so many samples at a time; without torch's dropout, which draws by micro-batch."""

    def __init__(self, error: BaseException, room: int) -> None:
        super().__init__()
        self.denoiser[2] = nn.Identity()
        self.error, self.room, self.tried = error, room, []

    def forward(self, batch, role, draws):
        report = super().forward(batch, role, draws)
        self.tried.append((draws.step, len(batch), batch.position[0].item()))
        if len(batch) > self.room and draws.step >= 2:
            raise self.error
        return report


OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_a_step_that_does_not_fit_is_made_again_in_parts(tmp_path, error, monkeypatch):
    gradients: list[torch.Tensor] = []

    def noted(parameters, clip):
        gradients.append(torch.cat([p.grad.flatten().clone() for p in parameters]))
        return gradients[-1].norm().item()

    monkeypatch.setattr("carrara.train.trainer._clip", noted)
    list(training(tmp_path / "large", objective=Small(error, 8), steps=3, lr=1e-4))
    whole, gradients = gradients, []
    objective = Small(error, 3)
    events = list(training(tmp_path / "small", objective=objective, steps=4, lr=1e-4))
    (told,) = incidents(events)
    assert told.step == 3 and "train.accumulate=4 does so" in told.text
    assert objective.tried == [(0, 8, 0), (1, 8, 8), (2, 8, 16), (2, 4, 16)] + [
        (step, 2, 8 * step + k) for step in (2, 3) for k in (0, 2, 4, 6)
    ]
    assert all((one - other).abs().max() < 1e-6 for one, other in zip(whole, gradients, strict=False))
    assert objective.denoiser.seen == 4 * 8  # what the failed attempts had counted was put back
    assert [event.images for event in events if isinstance(event, StepReport)] == [8, 16, 24, 32]
    assert not incidents(training(tmp_path / "advised", objective=Small(error, 3), steps=4, accumulate=4))


def test_without_memory_for_one_sample_it_ends_with_advice(tmp_path):
    with pytest.raises(UserError, match=r"one sample at a time: take smaller samples.*recompute=true"):
        list(training(tmp_path, objective=Small(MemoryError(), 0)))


def test_another_error_is_not_taken_for_too_little_memory(tmp_path):
    with pytest.raises(RuntimeError, match="shapes"):
        list(training(tmp_path, objective=Small(RuntimeError("shapes do not match"), 3)))


def test_too_little_memory_elsewhere_is_a_sentence(tmp_path, monkeypatch):
    def descend(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("carrara.train.optim.descend", descend)
    with pytest.raises(UserError, match=r"too little memory .*CUDA out of memory.*checkpoints are whole"):
        list(training(tmp_path))
