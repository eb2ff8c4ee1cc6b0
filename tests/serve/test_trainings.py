"""Trainings as processes of their own: begun, watched, saved, stopped, killed, found again, and gone on with."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from studios import live
from workshops import CHANGES, asked, killed_at_the_end, message, settings_in, until

from carrara.files.lock import LOCK, Lock, working
from carrara.run.ending import ENDED
from carrara.run.plan import plan
from carrara.serve import watched
from carrara.serve.curves import spread
from carrara.serve.processes import OUTPUT, Loads, worker_of
from carrara.train import last_lines
from carrara.train.hooks import SAVE, Stop, deaf

POSIX = pytest.mark.skipif(SAVE is None, reason="this system has no SIGUSR1")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder of runs, in which nobody trains at the end."""
    (tmp_path / "runs").mkdir()
    with killed_at_the_end(tmp_path / "runs"):
        yield tmp_path / "runs"


def run_in(home: Path, name: str = "mine", steps: int = 30, whole: int = 100) -> Path:
    """The folder of a run that has made some steps."""
    changes = [f"{key}={value}" for key, value in {**CHANGES, "train.steps": str(whole)}.items()]
    planned = plan("digits", "digits", home / name, changes)
    planned.write()
    lines = [
        {"step": k, "loss": 1 / k, "lr": 1e-3, "seconds": 0.1 * k, "images": 4 * k, "grad_norm": 1.0}
        for k in range(1, steps + 1)
    ]
    (home / name / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    held_out = [{"step": k, "loss@t=0.25": 2 / k, "loss@t=0.75": 1 / k} for k in (10, 20)]
    (home / name / "held_out.jsonl").write_text("".join(json.dumps(line) + "\n" for line in held_out))
    samples = home / name / "samples"
    samples.mkdir()
    for step in (10, 20):
        Image.fromarray(np.full((8, 8), step, np.uint8)).save(samples / f"step-{step:06d}.png")
    return home / name


def test_a_run_is_known_by_its_folder_alone(home: Path) -> None:
    run_in(home)
    (home / "empty").mkdir()
    with asked(home.parent) as client:
        (one,) = client.get("/api/trainings").json()["trainings"]
        assert (one["id"], one["state"], one["preset"], one["data"]) == ("mine", "stopped", "digits", "digits")
        assert (one["step"], one["steps"], one["progress"], one["pictures"]) == (30, 100, 0.3, 2)
        assert one["stages"] == ["diffusion"] and one["load"] is None and one["model"] is None
        assert "resuming begins again" in one["message"]
        shown = client.get("/api/trainings/mine").json()
        assert {finding["level"] for finding in shown["health"]} <= {"ok", "look", "bad"} and shown["health"]
        assert shown["held_out"].startswith("loss ") and shown["held_out"].endswith("step 20")
        previews = client.get("/api/trainings/mine/previews").json()["previews"]
        assert [(one["step"], one["stage"]) for one in previews] == [(10, "diffusion"), (20, "diffusion")]
        assert client.get(previews[0]["url"]).headers["content-type"] == "image/webp"
        assert client.get(previews[0]["url"].replace("/10", "/11")).status_code == 404
        assert "there is no training" in message(client.get("/api/trainings/min"), 404)
        assert client.get("/api/trainings/mine/output").json() == {"lines": []}


def test_curves_have_their_spread_and_held_out_losses_by_level(home: Path) -> None:
    folder = run_in(home)
    with asked(home.parent) as client:
        (stage,) = client.get("/api/trainings/mine/curves?points=10").json()["stages"]
        assert stage["loss"]["step"] == [3 * k for k in range(1, 11)]
        assert stage["loss"]["low"][0] < stage["loss"]["middle"][0] == 0.5 < stage["loss"]["high"][0]
        assert stage["rate"]["value"] == [0.001] * 10 and stage["rate"]["step"][-1] == 30
        assert stage["held_out"] == {"step": [10, 20], "series": {"t = 0.25": [0.2, 0.1], "t = 0.75": [0.1, 0.05]}}
        with (folder / "log.jsonl").open("a") as log:
            log.write('{"step": 31, "loss": null, "lr": 0.001, "images": 1, "seconds": 4}\n{"step": 32, "lo')
        (stage,) = client.get("/api/trainings/mine/curves?points=1000").json()["stages"]
        assert stage["loss"]["step"] == list(range(1, 31)) and stage["rate"]["step"][-1] == 31
        (folder / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
        (stage,) = client.get("/api/trainings/mine/curves").json()["stages"]
        assert stage["loss"]["step"] == [1]
        (folder / "log.jsonl").unlink()
        assert client.get("/api/trainings/mine/curves").json()["stages"][0]["loss"]["step"] == []
        assert client.get("/api/trainings/mine/curves?points=1").status_code == 400


def test_a_spread_is_of_quantiles() -> None:
    found = spread(np.arange(1.0, 1001), np.arange(1000.0), 4)
    assert found["step"] == [250, 500, 750, 1000]
    assert found["low"][0] == pytest.approx(24.9) and found["high"][-1] == pytest.approx(974.1)
    assert spread(np.zeros(0), np.zeros(0), 10) == {"step": [], "low": [], "middle": [], "high": []}


def test_a_failure_says_its_sentence(home: Path) -> None:
    folder = run_in(home)
    (folder / ENDED).write_text(json.dumps({"format": 1, "message": f"there is no room in '{folder}'"}))
    (home / "vain").mkdir()
    (home / "vain" / OUTPUT).write_text("$ carrara train x\nthere is no folder 'x'\n")
    os.utime(home / "vain" / OUTPUT, (1, 1))
    with asked(home.parent) as client:
        found = {one["id"]: one for one in client.get("/api/trainings").json()["trainings"]}
    assert (found["mine"]["state"], found["mine"]["message"]) == ("failed", "there is no room in 'runs/mine'")
    assert (found["vain"]["state"], found["vain"]["message"]) == ("failed", "there is no folder 'x'")


def test_a_stale_lock_is_nobody_and_nobody_gets_a_signal(home: Path) -> None:
    """The lock names this very process, but it is not held: whoever has this number now is somebody else."""
    folder, arrived = run_in(home), list[int]()
    holder = {"process": os.getpid(), "host": os.uname().nodename, "since": "2020-01-01T00:00:00+00:00"}
    former = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
    try:
        with asked(home.parent) as client:
            for said in (holder, {**holder, "host": "elsewhere"}, {**holder, "process": 999_999_999}):
                (folder / LOCK).write_text(json.dumps(said))
                assert working(folder) is None and worker_of(folder) is None
                assert client.get("/api/trainings/mine").json()["state"] == "stopped"
                assert "no process" in message(client.post("/api/trainings/mine/save"))
                assert "no process" in message(client.post("/api/trainings/mine/stop"))
    finally:
        signal.signal(signal.SIGTERM, former)
    assert arrived == []


@POSIX
def test_signals_reach_who_holds_the_folder(home: Path) -> None:
    """This process holds it, as a training in a terminal would, and listens."""
    folder, stop = run_in(home), Stop()
    with asked(home.parent) as client, deaf():
        lock = Lock(folder)
        try:
            assert client.get("/api/trainings/mine").json()["state"] == "starting"
            assert "makes no steps" in message(client.post("/api/trainings/mine/save"))
            assert "trained already" in message(client.post("/api/trainings/mine/resume"))
            with stop.listening():
                shown = client.get("/api/trainings/mine").json()
                assert shown["state"] == "running" and shown["load"]["memory"] > 1 << 20 and shown["load"]["cpu"] >= 0
                answer = client.post("/api/trainings/mine/save")
                assert (answer.status_code, answer.json()["state"]) == (202, "saving")
                assert stop.wants_save() and stop.signal is None
                (folder / "checkpoints" / "step-30").mkdir(parents=True)
                assert client.get("/api/trainings/mine").json()["state"] == "running"
                for _ in range(2):  # the second one would end the process
                    answer = client.post("/api/trainings/mine/stop")
                    assert (answer.status_code, answer.json()["state"]) == (202, "stopping")
                assert stop.signal == signal.SIGTERM
                with asked(home.parent) as other:  # another studio sees it by the signals that are caught
                    assert other.get("/api/trainings/mine").json()["state"] == "stopping"
        finally:
            lock.release()
        assert client.get("/api/trainings/mine").json()["state"] == "stopped"


@pytest.mark.parametrize(("error", "why"), [(ProcessLookupError, "just ended"), (PermissionError, "another user")])
def test_a_signal_that_does_not_arrive_is_a_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError], why: str
) -> None:
    def refuse(_process: int, number: int) -> None:
        if number:
            raise error

    folder, stop = run_in(home), Stop()
    with asked(home.parent) as client, deaf():
        lock = Lock(folder)
        try:
            with stop.listening():
                monkeypatch.setattr(os, "kill", refuse)
                for what in ("save", "stop"):
                    answer = client.post(f"/api/trainings/mine/{what}")
                    assert answer.status_code == 400 and why in message(answer)
        finally:
            lock.release()


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "--run=/x"])
def test_what_no_process_can_be_told_is_refused(home: Path, text: str) -> None:
    body = json.dumps({"data": "digits", "name": "odd", "changes": {"checkpoint.every": text}})
    with asked(home.parent) as client:
        for place in ("trainings", "rehearsals", "plans"):
            answer = client.post(f"/api/{place}", content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (200, 400), answer.text
            assert answer.status_code == 400 or answer.json()["mistakes"]
    assert not (home / "odd").exists()


def test_loads_are_shares_of_the_machine() -> None:
    loads = Loads()
    first = loads.of(os.getpid())
    if first is None:
        pytest.skip("this system has no /proc")
    assert 0 <= first["cpu"] <= 1 and first["memory"] > 1 << 20 and first["device"]
    assert loads.of(999_999_999) is None


def test_who_looks_keeps_no_training_out(tmp_path: Path) -> None:
    """A studio that looks whether a lock is held holds it for a moment itself."""
    holder = {"process": os.getpid(), "host": os.uname().nodename, "since": "2020-01-01T00:00:00+00:00"}
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            working(tmp_path)

    (tmp_path / LOCK).write_text(json.dumps(holder))
    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            Lock(tmp_path).release()
            (tmp_path / LOCK).write_text(json.dumps(holder))
    finally:
        over.set()
        looking.join()


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[httpx.Client, "subprocess.Popen[str]"]]:
    """A studio in a process of its own."""
    words = [sys.executable, "-m", "carrara", "serve", "openmoji", "--port", "0"]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"http://\S+", process.stdout.readline())
            assert address is not None
            with httpx.Client(base_url=address[0], timeout=60) as client:
                yield client, process
        finally:
            process.kill()


def begun(client: Any, name: str, **changes: str) -> str:
    said = {"data": "digits", "name": name, "changes": {**CHANGES, **changes}}
    answer = client.post("/api/trainings", json=said)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@POSIX
@pytest.mark.slow
def test_trainings_outlive_the_studio_and_are_found_again(home: Path) -> None:
    """Two begin side by side; the studio is killed; another one finds them, saves, stops, and goes on."""
    with served(home.parent) as (client, process):
        begun(client, "one")
        begun(client, "two", **{"checkpoint.every": "2"})
        assert "trained already" in message(client.post("/api/trainings/one/resume"))
        for name in ("one", "two"):
            until(client, name, lambda shown: shown["state"] == "running" and shown["step"] >= 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    workers = {name: worker_of(home / name) for name in ("one", "two")}
    assert all(workers.values())
    with asked(home.parent) as client:
        assert {one["id"]: one["state"] for one in client.get("/api/trainings").json()["trainings"]} == {
            "one": "running",
            "two": "running",
        }
        saved_now(client, home / "one")
        os.kill(workers["two"].process, signal.SIGKILL)
        stopped_and_resumed(client, home / "one", workers["one"].process)
        shown = until(client, "two", lambda shown: shown["state"] == "stopped")
        steps = sorted(int(path.name[5:]) for path in (home / "two" / "checkpoints").glob("step-*"))
        assert shown["step"] > 0 and shown["load"] is None
        assert shown["message"] is None or f"from step {steps[-1]}" in shown["message"], shown


def saved_now(client: Any, folder: Path) -> None:
    before = set((folder / "checkpoints").glob("step-*"))
    answer = client.post(f"/api/trainings/{folder.name}/save")
    assert (answer.status_code, answer.json()["state"]) in ((202, "saving"), (202, "running"))
    for _ in range(600):
        new = [path for path in set((folder / "checkpoints").glob("step-*")) - before if int(path.name[5:]) % 50]
        if new:
            break
        time.sleep(0.05)
    assert new, "nothing was saved"
    shown = until(client, folder.name, lambda shown: shown["state"] == "running")
    assert shown["step"] >= int(new[0].name[5:])


def stopped_and_resumed(client: Any, folder: Path, process: int) -> None:
    name = folder.name
    assert client.post(f"/api/trainings/{name}/stop").json()["state"] == "stopping"
    stopped = until(client, name, lambda shown: shown["state"] == "stopped" and shown["model"] == name)
    assert stopped["message"] is None  # it was saved; and it is on the shelf
    assert (folder / "checkpoints" / f"step-{stopped['step']}").is_dir()
    assert client.get(f"/api/trainings/{name}/output").json()["lines"][-1].startswith("Stopped and saved")
    assert client.post(f"/api/trainings/{name}/resume").json()["state"] == "starting"
    again = until(client, name, lambda shown: shown["state"] == "running" and shown["step"] > stopped["step"])
    worker = worker_of(folder)
    assert worker is not None and worker.process != process
    client.post(f"/api/trainings/{name}/stop")
    until(client, name, lambda shown: shown["state"] == "stopped")
    said = {"data": "digits", "name": name, "changes": {"train.steps": str(again["step"] + 200)}}
    planned = client.post("/api/plans", json=said).json()
    assert planned["resumes"] and planned["mistakes"] == [], planned["mistakes"]
    assert client.post("/api/trainings", json=said).status_code == 201
    finished = until(client, name, lambda shown: shown["state"] == "finished")
    assert (finished["step"], finished["progress"], finished["model"]) == (again["step"] + 200, 1.0, name)
    assert f"going on from step {stopped['step']}" in str(client.get(f"/api/trainings/{name}/output").json())


def test_what_goes_wrong_in_the_process_is_shown(home: Path, photos: Path) -> None:
    """The data are gone when the process opens them."""
    folder = run_in(home)
    (folder / "log.jsonl").unlink()
    gone = plan(str(photos), "pixel", home / "gone", ["train.steps=5", "data.size=8"])
    gone.write()
    for path in sorted(photos.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    photos.rmdir()
    with asked(home.parent) as client:
        assert client.post("/api/trainings/gone/resume").status_code == 202
        failed = until(client, "gone", lambda shown: shown["state"] not in ("starting", "running"))
    assert failed["state"] == "failed" and "there is no folder" in failed["message"], failed


def test_a_recipe_may_be_written_while_it_is_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = run_in(home) / "recipe.yaml"

    def changing(path: Path) -> Any:
        recipe.write_text(recipe.read_text().replace("seed: 0", "seed: 7"))
        return last_lines(path)

    monkeypatch.setattr(watched, "last_lines", changing)
    with asked(home.parent) as client:
        assert client.get("/api/trainings/mine").status_code == 200 and "seed: 7" in recipe.read_text()


def test_events_come_as_long_as_somebody_listens(home: Path) -> None:
    run_in(home)
    with live(settings_in(home.parent)) as (client, _), client.stream("GET", "/api/trainings/mine/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: training"
        assert json.loads(next(lines).removeprefix("data: "))["id"] == "mine"
