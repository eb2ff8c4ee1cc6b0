"""A training ends where trainings on two parts of its data say that memorisation begins."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from carrara import evaluate
from carrara.errors import UserError
from carrara.measure import forecast
from carrara.measure.forecast import Forecast
from carrara.recipe.loading import dump, load
from carrara.recipe.sections import PreviewSettings
from carrara.run import memorising
from carrara.run.plan import Plan, plan
from carrara.run.session import Diagnosis, Session
from carrara.train import TrainSettings, read_log
from carrara.train.optim import full_steps, steps_of

SMALL = (
    "data.size=8",
    "data.part=0.1",
    "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [], head_width: 8}",
    "model.conditioner=none",
    "train.batch=4",
    "train.minutes=null",
    "train.precision=float32",
    "train.warmup=1",
    "train.compile=false",
    "checkpoint={every: 10, early: null}",
    "preview={every: 0, count: 1, held_out: 2}",
    "sample.steps=1",
)
"""On 172 digits."""
EXAMPLES, COMMON, POWER = 172, 4.0, 1.5


def planned(run: Path, *changes: str, steps: int = 400) -> Plan:
    return plan("digits", "digits", run, [*SMALL, f"train.steps={steps}", *changes])


def time_of(examples: int) -> float:
    """A law of onsets."""
    return COMMON + 2.5 * examples**POWER


def trained(stage: Plan) -> Session:
    session = Session(stage, torch.device("cpu"))
    for _ in session:
        pass
    return session


def said(session: Session) -> list[str]:
    return [event.text for event in session if isinstance(event, Diagnosis)]


def by_the_law(run: Path) -> None:
    """What parts would have measured that follow the law."""
    for part in memorising.PARTS:
        folder, examples = memorising.part_folder(run, part), round(EXAMPLES / part)
        folder.mkdir(parents=True)
        steps = sorted({round(COMMON + 1 + time_of(examples) * 1.15**k) for k in range(-20, 3)})
        rise = [0.5 + 0.2 * math.log((k - COMMON) / (time_of(examples) - COMMON)) for k in steps]
        lines = [{"step": k, "gap": max(0.0, gap)} for k, gap in zip(steps, rise, strict=True)]
        (folder / "held_out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_parts_are_alike_but_for_their_data_length_and_measurements(tmp_path: Path) -> None:
    asked = planned(tmp_path / "run", "train.until=memorisation", "train.decay=0.5")
    eighth, quarter, whole = asked.stages
    assert whole is asked
    assert [stage.folder.relative_to(tmp_path / "run") for stage in (eighth, quarter)] == [
        Path("parts/1-of-8"),
        Path("parts/1-of-4"),
    ]
    for stage, part in ((eighth, 8), (quarter, 4)):
        own = stage.recipe
        assert own.data.part == pytest.approx(0.1 / part)
        assert own.train.decay == 0.0 and own.train.lr == asked.recipe.train.lr
        assert own.train.steps == round(400 * memorising.SPARE / part)
        assert (own.seed, own.model, own.objective) == (asked.recipe.seed, asked.recipe.model, asked.recipe.objective)
        assert own.preview.gap == pytest.approx(part / 8)  # the same examples in both
    assert planned(tmp_path / "other").stages == (planned(tmp_path / "other"),)


def test_a_run_ends_where_its_parts_say(tmp_path: Path) -> None:
    run = tmp_path / "run"
    by_the_law(run)
    (run / "recipe.yaml").write_text(dump(planned(tmp_path / "else", "train.until=memorisation").recipe))
    asked = plan(None, None, run, [])
    session = Session(asked.stages[-1], torch.device("cpu"))
    known = forecast.read(run)
    assert known is not None and known.step is not None
    assert known.step == pytest.approx(time_of(EXAMPLES), rel=0.1)
    assert known.low is not None and known.high is not None and known.low < time_of(EXAMPLES) < known.high
    assert session.recipe.train.until == steps_of(asked.recipe.train, known.step)
    assert load(run / "recipe.yaml").train.until == session.recipe.train.until
    assert any("is predicted to begin at step" in warning for warning in session.warnings)
    assert (run / forecast.CURVES).is_file()


def test_the_length_has_as_many_steps_at_the_full_rate_as_was_predicted() -> None:
    settings = TrainSettings(steps=10_000, lr=1e-3, warmup=50, decay=0.5)
    length = steps_of(settings, 600.0)
    assert full_steps(settings, length) >= 600.0 > full_steps(settings, length - 1)
    assert length == pytest.approx((600 + 24.5) / 0.75, rel=0.01)
    plain = TrainSettings(steps=10_000, warmup=0)
    assert steps_of(plain, 600.0) == 600
    assert full_steps(plain, 1_000_000) == pytest.approx(1e6)  # of which not every term is added
    assert full_steps(settings, 200_000) == pytest.approx(0.75 * 200_000 - 24.5, rel=1e-3)


def test_a_number_of_steps_ends_a_run_whatever_its_length() -> None:
    long = TrainSettings(minutes=60.0, until=200)
    assert long.progress(100, 1.0) == 0.5 and long.progress(200, 1.0) == 1.0
    assert long.progress(10, 1800.0) == 0.5 and TrainSettings(steps=100, until=200).progress(50, 0.0) == 0.5
    assert TrainSettings(steps=100, until="memorisation").progress(50, 0.0) == 0.5
    with pytest.raises(ValueError, match="until is a number of steps"):
        TrainSettings(steps=100, until=0)


@pytest.fixture
def gaps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is measured, one after the other; the last one again and again."""
    coming = list[float]()

    def measured(*_: Any) -> float:
        return coming.pop(0) if len(coming) > 1 else coming[0]

    monkeypatch.setattr(evaluate, "memorisation_gap", measured)
    monkeypatch.setattr(memorising, "MEASURED", 2)
    return coming


def test_a_part_ends_a_little_after_it_has_begun_and_is_not_trained_again(tmp_path: Path, gaps: list[float]) -> None:
    gaps += [0.1, 0.3, 0.52, 0.56, 0.9]
    (part, *_) = planned(tmp_path / "run", "train.until=memorisation").stages
    session = trained(part)
    lines = read_log(part.folder / "held_out.jsonl")
    assert [line["gap"] for line in lines] == [0.1, 0.3, 0.52, 0.56]
    assert session.training.clock.step == lines[-1]["step"] == 42
    assert Session(part, torch.device("cpu")).finished


def test_parts_that_have_not_begun_say_how_long_it_takes_at_least(tmp_path: Path, gaps: list[float]) -> None:
    gaps += [0.1]
    *parts, whole = planned(tmp_path / "run", "train.until=memorisation", steps=120).stages
    for part in parts:
        trained(part)
    session = Session(whole, torch.device("cpu"))
    known = forecast.read(tmp_path / "run")
    assert known is not None and known.step is None and known.beyond >= 120
    assert any("not predicted to begin before step" in warning for warning in session.warnings)
    assert session.recipe.train.until is None and session.recipe.train.steps == 120


def known_at(step: float, lr: float = 2e-4) -> Forecast:
    part = forecast.Part(examples=16, trained=9.0, onset=4.0)
    numbers = {"step": step, "low": 0.8 * step, "high": 1.2 * step}
    return Forecast(examples=EXAMPLES, parts=(part, part), lr=lr, batch=4, **numbers)


def at(steps: Sequence[int], *gaps: float) -> list[dict[str, Any]]:
    return [{"step": step, "gap": gap} for step, gap in zip(steps, [*gaps, *[0.0] * len(steps)], strict=False)]


def test_a_run_that_goes_on_past_the_prediction_says_so_once() -> None:
    train = TrainSettings(steps=1000, batch=4, warmup=0)
    known = known_at(100.0)
    said = [memorising.warning(train, known, at(range(30, step + 1, 30)), step) for step in range(30, 241, 30)]
    assert [text is not None for text in said] == [False, False, False, True, False, False, False, False]
    assert "predicted to begin at step 100" in str(said[3])
    for other in (
        TrainSettings(steps=1000, batch=8, warmup=0),
        TrainSettings(steps=1000, batch=4, warmup=0, until=150),
    ):
        assert memorising.warning(other, known, at([90, 120]), 120) is None
    assert memorising.warning(train, None, at([90, 120]), 120) is None


def test_memorisation_that_is_seen_is_said_once() -> None:
    train = TrainSettings(steps=1000, batch=4)
    assert "memorisation has begun" in str(memorising.warning(train, None, at([10, 20], 0.4, 0.6), 20))
    assert memorising.warning(train, None, at([10, 20, 30], 0.4, 0.6, 0.7), 30) is None
    assert memorising.warning(train, None, at([10, 20], 0.3, 0.4), 20) is None


def test_it_is_said_while_a_run_trains(tmp_path: Path, gaps: list[float]) -> None:
    gaps += [0.2, 0.6, 0.7]
    asked = planned(tmp_path / "run", "preview={every: 2, gap: 1.0, count: 1, held_out: 2}", steps=6)
    (text,) = said(Session(asked, torch.device("cpu")))
    assert text.startswith("memorisation has begun")
    assert [line["gap"] for line in read_log(tmp_path / "run" / "held_out.jsonl")] == [0.2, 0.6, 0.7]


def refused() -> Iterator[tuple[tuple[str, ...], str]]:
    yield ("data.part=0.05",), "needs 128 examples to train on: there are"
    yield ("data.held_out=0.001",), "held-out examples, 16 or more, and there are"
    yield ("preset=digits-absorbing",), "compares losses at noise levels"


@pytest.mark.parametrize(("changes", "message"), list(refused()))
def test_what_has_no_such_end_is_refused_in_one_sentence(
    changes: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    if changes[0].startswith("preset="):
        small = [change for change in SMALL if not change.startswith(("model.backbone", "sample"))]
        asked = plan(
            "digits", "digits-absorbing", tmp_path / "run", [*small, "train.steps=9", "train.until=memorisation"]
        )
    else:
        asked = planned(tmp_path / "run", "train.until=memorisation", *changes)
    with pytest.raises(UserError, match=message) as caught:
        asked.check()
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_previews_become_rarer_as_asked() -> None:
    rare = PreviewSettings(every=24, growth=1.2)
    due = [step for step in range(1, 300) if rare.is_due(step)]
    assert due == [24, 29, 35, 42, 50, 60, 72, 86, 104, 124, 149, 179, 214, 257]
    assert [step for step in range(1, 9) if PreviewSettings(every=1, growth=1.5).is_due(step)] == [1, 2, 3, 4, 6, 8]
    assert [step for step in range(1, 31) if PreviewSettings(every=10).is_due(step)] == [10, 20, 30]
    assert not any(PreviewSettings(every=0).is_due(step) for step in range(100))
    for bad in ({"growth": 1.0}, {"growth": 0.5}, {"gap": 0.0}, {"gap": 1.5}, {"gap": 0.5, "held_out": 0}):
        with pytest.raises(ValueError, match=r"growth is how many|gap is a part"):
            PreviewSettings(**bad)  # type: ignore[arg-type]


def test_what_is_known_of_other_settings_or_data_is_not_taken(tmp_path: Path) -> None:
    stage = planned(tmp_path / "run", "train.until=memorisation")
    known = known_at(77.0, stage.recipe.train.lr)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / forecast.FORECAST).write_text(json.dumps(asdict(known)))

    def predicted(count: int, **changes: Any) -> Forecast | None:
        train = replace(stage.recipe.train, batch=known.batch, **changes)
        recipe = stage.recipe.model_copy(update={"train": train})
        found = memorising.predicted(recipe, tmp_path / "run", count)
        assert (memorising.unpredicted(train, found) is None) == (found is not None)
        return found

    assert predicted(known.examples) == known
    assert predicted(known.examples + 1) is None and predicted(known.examples, lr=0.5) is None


def test_a_part_that_copies_at_once_is_measured_often_enough() -> None:
    early = at([24, 29], 0.45, 0.7)
    assert not memorising.has_begun(early) and memorising.has_begun([*early, *at([35], 0.8)])
    for gaps in ([0.45, 0.7, 0.8], [0.1, 0.7, 0.9], [0.6, 0.8, 0.9]):
        assert evaluate.onset(evaluate.GapCurve(examples=8, steps=[24.0, 29.0, 35.0], gaps=gaps)) is not None


def test_the_last_step_is_the_first_of_two_ends() -> None:
    assert TrainSettings(steps=100, until=30).most_steps == 30
    assert TrainSettings(steps=20, until=30).most_steps == 20
    assert TrainSettings(minutes=1.0, until=30).most_steps == 30
    assert TrainSettings(minutes=1.0).most_steps is None
