"""What the studio draws: the same pictures as the command, alone or among others, and every way to ask for them."""

import json
import time
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from studios import CPU, bytes_of, ended, events, live, made, posted, settings_of

from carrara import pixels
from carrara.draw import Ask, Progress, collect, request
from carrara.medium import read_about
from carrara.sample import SampleStep
from carrara.serve.batching import Share, joined, key_of, shares
from carrara.serve.gallery import Galleries
from carrara.serve.jobs import Job, Jobs, Turns
from carrara.serve.said import Busy
from carrara.serve.shelf import Shelf
from carrara.serve.work import Sampling
from carrara.store import Store


def test_the_models_are_listed_and_described(client: httpx.Client) -> None:
    listed = client.get("/api/models").json()["models"]
    assert [one["id"] for one in listed] == ["pixels", "latents", "lowres", "map", "masked", "vae", "autoencoder"]
    assert listed[0] == {
        "id": "pixels", "title": "pixels", "medium": "pictures", "size": [8, 8], "step": None, "kind": "diffusion",
    }  # fmt: skip
    about = client.get("/api/models/pixels").json()
    assert (about["classes"], about["prompt"], about["fast"]) == (["cat", "dog"], "labels", False)
    options = {one["name"]: one for one in about["options"]}
    assert options["steps"]["default"] == 3 and options["steps"]["type"] == "int" and options["steps"]["main"]
    assert options["sampler"]["choices"] == [
        "ddpm",
        "ddim",
        "euler",
        "euler_a",
        "heun",
        "dpmpp",
        "dpmpp_sde",
        "unipc",
        "lms",
    ]
    assert options["interval"]["type"] == "pair" and options["clip"] == {
        **options["clip"],
        "type": "bool",
        "default": True,
    }
    assert not {"fast", "classifier", "prompts"} & options.keys()
    assert options["weak"]["choices"] == ["latents", "lowres", "map", "masked"]
    vae = client.get("/api/models/vae").json()
    assert [one["name"] for one in vae["options"]] == ["count", "seed"] and vae["prompt"] is None
    autoencoder = client.get("/api/models/autoencoder").json()
    assert not autoencoder["options"] and [one["name"] for one in autoencoder["verbs"]] == [
        "reconstruct",
        "interpolate",
    ]
    assert client.get("/api/models/nothing").status_code == 404


def test_a_job_makes_what_the_command_would(client: httpx.Client, runs: Path) -> None:
    pictures = made(client, model="pixels", ask={"prompts": ["dog"], "count": 3, "seed": 5, "guidance": 2})
    opened = Store(CPU).open(runs / "pixels")
    alone = collect(opened, request(opened, Ask(prompts=("dog",), count=3, seed=5, guidance=2.0))).values
    assert [one["seed"] for one in pictures] == [5, 6, 7]
    for picture, x in zip(pictures, alone, strict=True):
        path = runs / "pixels" / "samples" / "studio" / f"{picture['id']}.png"
        assert np.array_equal(np.asarray(pixels.read_picture(path)), pixels.to_uint8(x[None])[0])
        assert path.read_bytes() == bytes_of(client, picture)
        assert read_about(path)["picture"] == "sample"
        assert picture == {**picture, "prompt": "dog", "model": "pixels", "width": 8, "height": 8, "starred": False}


def test_events_are_numbered_and_go_on_after_the_last(client: httpx.Client) -> None:
    name = posted(client, model="pixels", ask={"steps": 30, "count": 2})
    seen = events(client, name)
    numbers, names = [number for number, _, _ in seen], [event for _, event, _ in seen]
    assert numbers == sorted(numbers) and names[-1] == "done" and set(names[:-1]) == {"progress"}
    last = [data for _, event, data in seen if event == "progress"][-1]
    assert (last["step"], last["total"], last["done"], last["count"]) == (30, 30, 2, 2)
    assert len(seen[-1][2]["pictures"]) == 2
    assert events(client, name, **{"Last-Event-ID": str(numbers[-2])}) == seen[-1:]
    assert events(client, name, **{"Last-Event-ID": "nonsense"})[-1] == seen[-1]


def test_who_watches_sees_a_preview(client: httpx.Client) -> None:
    first = posted(client, model="pixels", ask={"steps": 200})
    seen = [data["preview"] for _, name, data in events(client, first) if name == "progress"]
    shown = [one for one in seen if one]
    assert shown and all(one.startswith("data:image/webp;base64,") for one in shown)
    assert len(shown) < len(seen) or len(seen) < 5


def test_a_batch_changes_no_picture(served: tuple[httpx.Client, Any], runs: Path) -> None:
    client, studio = served
    asks = [
        {"prompts": [wish], "seed": seed, "count": 1 + seed % 3}
        for seed, wish in enumerate(["cat", "dog", "cat:0.5+dog:0.5", "cat"])
    ]
    alone = [[bytes_of(client, one) for one in made(client, model="latents", ask=ask)] for ask in asks]
    blocking = posted(client, model="pixels", ask={"steps": 300, "count": 8})
    names = [posted(client, model="latents", ask=ask, client=str(k)) for k, ask in enumerate(asks)]
    works = [studio.jobs.get(name).work for name in names]
    assert len({work.key for work in works}) == 1
    ended(client, blocking)
    together = [[bytes_of(client, one) for one in ended(client, name)["pictures"]] for name in names]
    assert together == alone


def test_requests_are_joined_and_shared_out(runs: Path) -> None:
    opened = Store(CPU).open(runs / "pixels")
    asks = [Ask(prompts=("cat",), count=2), Ask(prompts=("dog",), count=3, seed=9), Ask(count=1)]
    requests = [request(opened, ask) for ask in asks]
    whole = joined(requests)
    assert whole.seeds == (0, 1, 9, 10, 11, 0) and whole.wishes == ("cat", "cat", "dog", "dog", "dog", "cat")
    assert [(share.first, share.count) for share in shares(requests)] == [(0, 2), (2, 3), (5, 1)]
    assert len({key_of(one) for one in requests}) == 1
    others = [Ask(steps=4), Ask(size=16), Ask(guidance=2.0), Ask(sampler="ddim"), Ask(negative="cat", guidance=2.0)]
    assert len({key_of(request(opened, ask)) for ask in others} | {key_of(requests[0])}) == 6


def at(first: int, size: int) -> Progress:
    """A step of a batch of ``size`` samples whose first has this number."""
    x = torch.arange(first, first + size, dtype=torch.float32)[:, None]
    return Progress(first=first, count=9, step=SampleStep(index=0, total=1, t=0.0, x=x, x0=x), pixels=x)


def test_a_share_takes_its_own_samples_from_each_batch() -> None:
    share = Share(3, 5)
    assert [share.rows(at(first, 4)) for first in (0, 4, 8)] == [slice(3, 4), slice(0, 4), None]
    for first in (0, 4, 8):
        share.take(at(first, 4))
    assert share.values[:, 0].tolist() == [3, 4, 5, 6, 7] and share.done == 5


def test_a_sheet_of_two_settings(client: httpx.Client, runs: Path) -> None:
    (picture,) = made(client, model="pixels", ask={"prompts": ["cat"]}, vary=["guidance=1,3,5", "seed=0,1"])
    about = client.get(f"/api/pictures/{picture['id']}").json()["record"]
    assert about["vary"] == ["guidance=1,3,5", "seed=0,1"]
    assert picture["width"] > 3 * 96 and picture["height"] > 2 * 96
    assert client.post("/api/jobs", json={"model": "pixels", "vary": ["guidance=a"]}).status_code == 400
    assert client.post("/api/jobs", json={"model": "pixels", "vary": ["seed=1", "seed=2"]}).status_code == 400
    assert client.post("/api/jobs", json={"model": "pixels", "vary": ["steps=1,2,3000"]}).status_code == 400


def test_cancelling_stops_within_a_step(served: tuple[httpx.Client, Any]) -> None:
    client, studio = served
    name = posted(client, model="pixels", ask={"steps": 1000, "count": 16})
    while client.get(f"/api/jobs/{name}").json()["step"] < 2:
        time.sleep(0.005)
    job = studio.jobs.get(name)
    assert client.delete(f"/api/jobs/{name}").json()["state"] == "cancelled"
    step = job.step
    began = time.monotonic()
    made(client, model="pixels", ask={"count": 1})
    assert time.monotonic() - began < 5 and job.step <= step + 1 and not job.pictures
    assert events(client, name)[-1][1] == "cancelled"


def test_a_job_that_waits_is_cancelled_before_it_begins(client: httpx.Client) -> None:
    first = posted(client, model="pixels", ask={"steps": 500, "count": 8})
    second = posted(client, model="pixels", ask={"steps": 7})
    shown = client.get(f"/api/jobs/{second}").json()
    assert shown["state"] == "queued" and shown["position"] == 1
    client.delete(f"/api/jobs/{second}")
    client.delete(f"/api/jobs/{first}")
    assert ended(client, second, "cancelled")["step"] == 0


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({"model": "nothing"}, 404, "there is no model 'nothing'"),
        ({"model": "pixels", "ask": {"stepz": 3}}, 400, "Did you mean 'steps'"),
        ({"model": "pixels", "ask": {"steps": "many"}}, 400, '"steps" cannot be'),
        ({"model": "pixels", "ask": {"steps": 0}}, 400, "at least 1 step"),
        ({"model": "pixels", "ask": {"steps": 1001}}, 400, "at most 1000"),
        ({"model": "pixels", "ask": {"count": 65}}, 400, "at most 64"),
        ({"model": "pixels", "ask": {"prompts": ["cat"] * 20, "count": 4}}, 400, "at most 64"),
        ({"model": "pixels", "ask": {"size": "4096x4096"}}, 400, "pixels that a request may have"),
        ({"model": "pixels", "ask": {"size": "1024x1024", "count": 5}}, 400, "pixels that a request may have"),
        ({"model": "pixels", "ask": {"prompts": ["x" * 3000]}}, 400, "at most 2000 characters"),
        ({"model": "pixels", "ask": {"prompts": ["bird"]}}, 400, "unknown label"),
        ({"model": "pixels", "ask": {"seed": 1 << 70}}, 400, "too large"),
        ({"model": "pixels", "ask": {"weak": "/etc/passwd"}}, 404, "there is no model"),
        ({"model": "pixels", "ask": {"weak": "../latents"}}, 404, "there is no model"),
        ({"model": "pixels", "ask": {"lora": ["/etc/passwd:0.5"]}}, 404, "there is no model"),
        ({"model": "pixels", "ask": {"lora": ["latents"]}}, 400, "'latents' is no adapter"),
        ({"model": "pixels", "ask": {"lora": ["latents:much"]}}, 400, "'latents:much' is no adapter"),
        ({"model": "pixels", "ask": {"lora": "latents"}}, 400, "is a list of models' ids"),
        ({"model": "pixels", "ask": {"lora": [3]}}, 400, "is a list of models' ids"),
        ({"model": "pixels", "ask": {"classifier": ["a"], "label": "cat"}}, 404, "there is no model"),
        ({"model": "pixels", "verb": "melt"}, 400, "unknown edit"),
        ({"model": "pixels", "verb": "img2img", "images": ["/etc/passwd"]}, 404, "send it again"),
        ({"model": "pixels", "verb": "img2img", "options": {"images": ["/etc/passwd"]}}, 400, "unknown option"),
        ({"model": "pixels", "verb": "inpaint", "options": {"mask": "/etc/passwd"}}, 400, "unknown option"),
        ({"model": "autoencoder"}, 400, "without a prior"),
        ({"model": "lowres"}, 400, "this model"),
        ({"model": "pixels", "unknown": 1}, 400, "unknown"),
        ({}, 400, '"model" is wrong'),
        ([], 400, "valid dictionary"),
    ],
)  # fmt: skip
def test_mistakes_are_a_sentence(client: httpx.Client, said: Any, status: int, words: str) -> None:
    answer = client.post("/api/jobs", json=said)
    error = answer.json()["error"]
    assert answer.status_code == status and words in error["message"], answer.text
    assert "\n" not in error["message"] and "Traceback" not in answer.text and "\ue000" not in answer.text
    assert error.keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"model":NaN}', b"[" * 5000, b"\xff", b'{"model":"\\ud800"}', b'{"a":' + b"1" * 99 + b"}"]
)
def test_what_is_no_json_is_refused(client: httpx.Client, raw: bytes) -> None:
    answer = client.post("/api/jobs", content=raw)
    assert answer.status_code == 400 and answer.json()["error"]["message"]


def test_the_queue_is_bounded_and_says_so_at_once(runs: Path) -> None:
    with live(settings_of(runs / "pixels", queue=2)) as (client, _):
        first = posted(client, model="pixels", ask={"steps": 1000, "count": 32})
        while client.get(f"/api/jobs/{first}").json()["state"] != "running":
            time.sleep(0.005)
        waiting = [posted(client, model="pixels", ask={"steps": 2 + k}) for k in range(2)]
        began = time.monotonic()
        answer = client.post("/api/jobs", json={"model": "pixels"})
        assert answer.status_code == 429 and 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.json()["error"]["type"] == "rate_limit_error" and time.monotonic() - began < 1
        assert client.get("/healthz").json() == {"status": "ok"}
        for name in (first, *waiting):
            client.delete(f"/api/jobs/{name}")


def job_of(runs: Path, client: str, **asked: Any) -> Job:
    opened = Store(CPU).open(runs / "pixels")
    return Job(Sampling(model="pixels", request=request(opened, Ask(**asked))), client, {})


def test_clients_take_turns(runs: Path) -> None:
    turns = Turns(10)
    many = [job_of(runs, "many", steps=2 + k) for k in range(4)]
    for job in [*many, one := job_of(runs, "one", steps=9), other := job_of(runs, "other", steps=10)]:
        turns.put(job)
    assert turns.order() == [many[0], one, other, *many[1:]]
    taken = [turns.take(64) for _ in range(6)]
    assert taken == [[many[0]], [one], [other], [many[1]], [many[2]], [many[3]]]


def test_those_that_fit_are_taken_together_up_to_a_bound(runs: Path) -> None:
    turns = Turns(10)
    alike = [job_of(runs, str(k), count=10, seed=k) for k in range(4)]
    for job in [alike[0], apart := job_of(runs, "a", steps=7), *alike[1:]]:
        turns.put(job)
    alike[1].cancel()
    assert turns.take(25) == [alike[0], alike[2]]
    assert turns.take(25) == [apart] and turns.take(25) == [alike[3]]
    with pytest.raises(Busy):
        for k in range(11):
            turns.put(job_of(runs, str(k)))


def test_health_is_told_while_it_draws(client: httpx.Client) -> None:
    name = posted(client, model="latents", ask={"steps": 400, "count": 32, "size": 32})
    slowest = 0.0
    for _ in range(30):
        began = time.monotonic()
        assert client.get("/healthz").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    assert client.get("/readyz").status_code == 200
    assert b"carrara_jobs_waiting 0.0" in client.get("/metrics").content
    client.delete(f"/api/jobs/{name}")
    assert slowest < 1  # 0.05 is what is promised on a machine that does nothing else; see benchmarks


def test_each_request_gets_one_answer(runs: Path) -> None:
    answers = list[int]()
    with live(settings_of(runs / "pixels", queue=100)) as (client, _):
        start = Barrier(8)

        def ask(k: int) -> None:
            start.wait()
            with httpx.Client(base_url=client.base_url, timeout=60) as own:
                for j in range(5):
                    ask = {"seed": 100 * k + j, "steps": 2 if j else 0}
                    answer = own.post("/api/jobs", json={"model": "pixels", "ask": ask, "client": str(k)})
                    answers.append(answer.status_code)
                    if answer.status_code == 202:
                        assert ended(own, answer.json()["id"])["pictures"]

        threads = [Thread(target=ask, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [202] * 32 + [400] * 8


def test_time_is_bounded(runs: Path) -> None:
    with live(settings_of(runs / "pixels", seconds=0.2)) as (client, _):
        job = ended(client, posted(client, model="pixels", ask={"steps": 1000, "count": 32}), "failed")
        assert "takes longer than 0.2 seconds" in job["message"]
        assert made(client, model="pixels", ask={"steps": 1})


def test_models_are_closed_when_memory_is_short(runs: Path) -> None:
    shelf = Shelf(settings_of(runs / "pixels", runs / "latents", runs / "vae", memory=1), CPU)
    first = shelf.open("pixels")
    assert shelf.open("pixels").model is first.model
    shelf.open("latents")
    assert shelf.opened_ids() == ["latents"] and shelf.open("pixels").model is not first.model
    large = Shelf(settings_of(runs / "pixels", runs / "latents"), CPU)
    large.open("pixels"), large.open("latents"), large.open("pixels")
    assert large.opened_ids() == ["latents", "pixels"]


def test_finished_jobs_are_forgotten(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrara.serve.jobs.KEPT", 3)
    jobs = Jobs(10)
    for k in range(6):
        job = jobs.add(job_of(runs, "a", steps=k + 1))
        job.end("done")
    assert len(jobs.newest()) <= 4 and jobs.newest()[0] is job


def test_ids_are_unique_and_safe(tmp_path: Path, runs: Path) -> None:
    from small_models import saved

    for name in ("A model", "a-model", "<b>ünï"):
        saved("pixels", tmp_path / name)
    shelf = Shelf(settings_of(*(tmp_path / name for name in ("A model", "a-model", "<b>ünï"))), CPU)
    assert list(shelf.entries()) == ["a-model", "a-model-2", "b-n"]
    assert Galleries(shelf).of(shelf.entry("a-model")).folder.parent.parent == tmp_path / "A model"
    assert json.dumps(shelf.entry("b-n").listed["title"])
