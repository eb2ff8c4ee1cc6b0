"""Signals: the first asks, the second acts."""

import os
import signal
import threading
import time

import pytest
from tiny_training import assert_equal_states, run_until, training

from carrara.train import Stop, Stopped, hooks
from carrara.train.checkpoint import latest
from carrara.train.hooks import SAVE, SIGNALS, deaf


@pytest.fixture(autouse=True)
def usual_ctrl_c():
    """A shell ignores SIGINT in what it starts in the background, the tests among it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_turns_the_answer_to_yes_and_the_second_reaches_the_former_handler(number):
    arrived = []
    former = signal.signal(number, lambda *_: arrived.append(number))
    try:
        stop = Stop()
        with stop.listening():
            assert stop.signal is None
            os.kill(os.getpid(), number)
            assert stop.signal == number and arrived == []
            os.kill(os.getpid(), number)
            assert arrived == [number]
    finally:
        signal.signal(number, former)


def test_one_of_several_processes_takes_a_signal_that_comes_twice_for_one(monkeypatch):
    """From whoever asks all processes, and from their launcher: even after it listens no more."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(hooks, "SAME", 0.3)
    arrived = []
    former = {number: signal.signal(number, lambda number, _: arrived.append(number)) for number in SIGNALS}
    try:
        stop = Stop()
        with stop.listening():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.signal == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        assert arrived == []
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
        assert arrived == [signal.SIGTERM]
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def test_the_former_handlers_are_back_afterwards():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ValueError, match="inside"), Stop().listening():
        raise ValueError("inside")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_nohup_ignores_stays_ignored():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_block_that_can_be_done_again_is_left_at_once():
    stop = Stop()
    with stop.listening():
        with pytest.raises(Stopped), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("the signal has come")
        assert stop.signal == signal.SIGTERM
        with pytest.raises(Stopped), stop.at_once():
            pytest.fail("somebody has asked before")


def test_in_another_thread_it_asks_for_nothing():
    answers = []

    def work():
        stop = Stop()
        with stop.listening():
            answers.append(stop.signal)

    thread = threading.Thread(target=work)
    thread.start(), thread.join()
    assert answers == [None]


def test_ctrl_c_saves_and_ends(tmp_path):
    whole, stopped = training(tmp_path / "whole"), training(tmp_path / "parts")
    run_until(whole, 12)
    reports = []
    for report in stopped:
        reports.append(report)
        if report.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
    assert reports[-1].step == 4 and reports[-1].progress < 1
    path, _ = latest(tmp_path / "parts/checkpoints")
    assert path is not None and path.name == "step-4"
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


SAVES = pytest.mark.skipif(SAVE is None, reason="this system has no SIGUSR1")


@SAVES
def test_sigusr1_asks_to_save_once_and_stops_nothing():
    stop = Stop()
    with deaf(), stop.listening():
        os.kill(os.getpid(), SAVE)
        os.kill(os.getpid(), SAVE)
        assert stop.signal is None
        assert stop.wants_save() and not stop.wants_save()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), SAVE)  # still heard, and no end of the process
        assert stop.signal == signal.SIGTERM and stop.wants_save()


@SAVES
def test_sigusr1_before_and_after_the_loop_ends_nothing_and_the_former_handler_is_back():
    before = signal.getsignal(SAVE)
    with deaf():
        os.kill(os.getpid(), SAVE)
        with Stop().listening():
            pass
        os.kill(os.getpid(), SAVE)
    assert signal.getsignal(SAVE) == before


@SAVES
def test_save_now_writes_a_checkpoint_and_the_training_goes_on_as_without(tmp_path):
    whole, asked = training(tmp_path / "whole"), training(tmp_path / "asked")
    run_until(whole, 12)
    for report in asked:
        if report.step == 4:
            os.kill(os.getpid(), SAVE)
        if report.step == 6:
            assert latest(tmp_path / "asked/checkpoints")[0].name == "step-5"
        if report.step == 12:
            break
    assert_equal_states(asked.state, whole.state)


def test_without_sigusr1_nothing_breaks(monkeypatch):
    monkeypatch.setattr(hooks, "SAVE", None)
    stop = Stop()
    with deaf(), stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.signal == signal.SIGTERM and not stop.wants_save()
