"""Signals: the first asks, the second acts."""

import os
import signal
import threading

import pytest
from tiny_training import assert_equal_states, run_until, training

from carrara.train import interruptible
from carrara.train.checkpoint import latest


@pytest.fixture(autouse=True)
def usual_ctrl_c():
    """A shell ignores SIGINT in what it starts in the background, the tests among it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_turns_the_answer_to_yes_and_the_second_reaches_the_former_handler(number):
    arrived = []
    former = signal.signal(number, lambda *_: arrived.append(number))
    try:
        with interruptible() as asked:
            assert not asked()
            os.kill(os.getpid(), number)
            assert asked() and arrived == []
            os.kill(os.getpid(), number)
            assert arrived == [number]
    finally:
        signal.signal(number, former)


def test_the_former_handlers_are_back_afterwards():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="inside"), interruptible():
        raise ValueError("inside")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_in_another_thread_it_asks_for_nothing():
    answers = []

    def work():
        with interruptible() as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start(), thread.join()
    assert answers == [False]


def test_ctrl_c_finishes_the_step_saves_and_ends(tmp_path):
    whole, stopped = training(tmp_path / "whole"), training(tmp_path / "parts")
    run_until(whole, 12)
    reports = []
    for report in stopped:
        reports.append(report)
        if report.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
    assert reports[-1].step == 5 and reports[-1].progress < 1
    path, _ = latest(tmp_path / "parts/checkpoints")
    assert path is not None and path.name == "step-5"
    again = training(tmp_path / "parts")
    run_until(again, 12)
    assert_equal_states(again.state, whole.state)


def test_a_second_ctrl_c_stops_at_once_and_the_last_checkpoint_is_whole(tmp_path):
    stopped = training(tmp_path, every=3)
    with pytest.raises(KeyboardInterrupt):
        for report in stopped:
            if report.step == 4:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
    path, warnings = latest(tmp_path / "checkpoints")
    assert path is not None and path.name == "step-3" and warnings == []
