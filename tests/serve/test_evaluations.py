"""Measurements: which fit, how they go on, and what is shown of them."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from measured_runs import trained
from studios import live, settings_of

from carrara.evaluate import page
from carrara.serve.api.evaluation import POLICY
from carrara.serve.evaluations import Evaluations
from carrara.serve.measuring import Task
from small_models import saved


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A server of two small runs, and of a model without a run."""
    folder = tmp_path_factory.mktemp("measured")
    runs = [trained(folder / "one"), trained(folder / "two", "seed=1"), saved("pixels", folder / "alone")]
    with live(settings_of(*runs)) as (client, _):
        yield client, folder


def begun(client: httpx.Client, /, **said: Any) -> dict[str, Any]:
    answer = client.post("/api/evaluations", json=said)
    assert answer.status_code == 202, answer.text
    return answer.json()


def over(client: httpx.Client, name: str, state: str = "done") -> dict[str, Any]:
    for _ in range(6000):
        one = client.get(f"/api/evaluations/{name}").json()
        if one["state"] not in ("queued", "running"):
            assert one["state"] == state, one
            return one
        time.sleep(0.1)
    raise AssertionError("the measurement does not end")


def test_a_run_is_measured_and_its_report_is_shown(studio: tuple[httpx.Client, Path]) -> None:
    client, folder = studio
    about = client.get("/api/evaluations/models/one").json()
    assert [one["name"] for one in about["metrics"]] == ["nll", "flow", "kid", "fid", "prdc", "memorisation"]
    assert [one["name"] for one in about["metrics"] if one["usual"]] == ["nll"]
    assert all(one["about"] for one in about["metrics"])
    assert (about["measured"], about["report"], about["trouble"]) == ([], None, None)
    one = begun(client, models=["one"], metrics=["nll"])
    assert one["state"] in ("queued", "running") and one["kind"] == "metrics" and one["url"] is None
    assert over(client, one["id"])["measured"] == ["nll"]
    assert client.get("/api/evaluations").json()["evaluations"][0]["id"] == one["id"]
    about = client.get("/api/evaluations/models/one").json()
    (found,) = about["measured"]
    rows = dict(found["rows"])
    assert found["name"] == "nll" and float(rows["total"]) > 0 and rows["split"] == "held-out"
    assert float(rows["total"]) == pytest.approx(
        json.loads((folder / "one/evaluation/nll.json").read_text())["total"], 1e-4
    )
    shown = client.get(about["report"])
    assert "bits/dim" in shown.text and shown.headers["content-type"].startswith("text/html")
    assert shown.headers["content-security-policy"] == POLICY and shown.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.skipif(os.name != "posix", reason="a script of the shell")
def test_what_a_measurement_prints_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no text, a program that is none, and one that says it is over: each has its turn."""
    task = Task(kind="metrics", folders=(), metrics=("nll",))
    script = tmp_path / "python"
    script.write_bytes(b"""#!/bin/sh\nprintf '\\377\\376\\n'\nprintf '{"over": true}\\n'\n""")
    script.chmod(0o755)
    evaluations = Evaluations()
    ends = list[str]()
    for program in (tmp_path / "none", script):
        monkeypatch.setattr("carrara.serve.evaluations.sys.executable", str(program))
        one = evaluations.begin(("a",), task, {})
        while not one.over:
            time.sleep(0.01)
        ends.append(one.state)
    evaluations.close()
    assert ends == ["failed", "done"]


def test_the_policy_of_pages_permits_what_they_have() -> None:
    said = page.page("title", "lead", [])
    own = said.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    assert set(own.split("; ")) <= set(POLICY.split("; ")), "a page is allowed no less than it allows itself"
    assert "script-src" not in POLICY and "sandbox" in POLICY.split("; ") and "frame-ancestors 'self'" in POLICY


def test_a_measurement_can_be_stopped_and_others_wait(studio: tuple[httpx.Client, Path]) -> None:
    client, folder = studio
    first = begun(client, models=["two"], metrics=["kid"], samples=50_000)
    second = begun(client, models=["two"], kind="report")
    for _ in range(3000):
        one = client.get(f"/api/evaluations/{first['id']}").json()
        if one["total"]:
            break
        time.sleep(0.1)
    assert one["state"] == "running" and one["metric"] == "kid" and one["what"]
    assert client.get(f"/api/evaluations/{second['id']}").json()["state"] == "queued"
    assert client.delete(f"/api/evaluations/{first['id']}").json()["state"] == "cancelled"
    assert over(client, second["id"])["message"] is None
    assert not (folder / "two/evaluation/kid.json").exists() and (folder / "two/evaluation/report.html").exists()


def test_runs_are_put_side_by_side(studio: tuple[httpx.Client, Path]) -> None:
    client, _ = studio
    one = over(client, begun(client, models=["one", "two"], kind="comparison")["id"])
    shown = client.get(one["url"])
    assert "Side by side" in shown.text and shown.headers["content-security-policy"] == POLICY
    assert client.get("/evaluations/0123456789abcdef.html").status_code == 404


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"models": ["alone"]}, "without its recipe"),
        ({"models": ["nothing"]}, "there is no model"),
        ({"models": []}, '"models" is wrong'),
        ({"models": ["one"], "metrics": ["music"]}, "cannot be measured of this model"),
        ({"models": ["one"], "metrics": ["beauty"]}, "unknown metric"),
        ({"models": ["one"], "metrics": ["is"]}, "cannot be measured"),
        ({"models": ["one"], "samples": 3}, '"samples" is wrong'),
        ({"models": ["one"], "kind": "comparison"}, "two runs or more"),
        ({"models": ["one", "two"]}, "one run is measured at a time"),
        ({"models": ["one"], "folder": "/etc"}, '"folder" is wrong'),
    ],
)
def test_mistakes_are_one_sentence(studio: tuple[httpx.Client, Path], said: dict[str, Any], words: str) -> None:
    client, folder = studio
    answer = client.post("/api/evaluations", json=said)
    message = answer.json()["error"]["message"]
    assert answer.status_code in (400, 404) and words in message and str(folder) not in message


def test_no_file_but_what_was_measured_is_given_out(studio: tuple[httpx.Client, Path], tmp_path: Path) -> None:
    client, folder = studio
    (tmp_path / "secret.png").write_bytes(b"secret")
    evaluation = folder / "one" / "evaluation"
    evaluation.mkdir(exist_ok=True)
    (evaluation / "kid.png").symlink_to(tmp_path / "secret.png")
    (evaluation / "other.png").write_bytes(b"other")
    for name in ("kid.png", "other.png", "..%2Frecipe.yaml", "flow.png", "recipe.yaml"):
        assert client.get(f"/evaluations/models/one/{name}").status_code == 404, name
    about = client.get("/api/evaluations/models/alone").json()
    assert about["metrics"] == [] and "without its recipe" in about["trouble"]
    assert client.get("/evaluations/models/alone/report.html").status_code == 404


def test_what_fails_says_why_without_a_folder(tmp_path: Path) -> None:
    all_ = Evaluations()
    one = all_.begin(
        ("a",), Task(kind="report", folders=(str(tmp_path / "nothing"),)), {str(tmp_path / "nothing"): "a"}
    )
    for _ in range(3000):
        if one.over:
            break
        time.sleep(0.1)
    assert one.state == "failed" and one.message is not None and str(tmp_path) not in one.message
    all_.close()
