"""What a studio does under load: whether each request gets its one answer, how memory grows, and what batching gains.

    python benchmarks/studio.py

A server in a process of its own serves a model of the size of the preset ``digits``, with random weights: what it
draws is nothing, and takes as long. Requests come from this process, and the looks at ``/healthz`` from a third one.
``tests/serve/test_load.py`` has the same in small.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from machine import described

from carrara.backbone import UNetConfig
from carrara.conditioning import LabelsConfig
from carrara.model import DiffusionModel, ModelConfig
from carrara.noise import Cosine, V
from carrara.sample import SampleSettings
from carrara.sample.catalogue import DpmPp
from carrara.seeds import torch_generator

CLASSES = tuple(str(k) for k in range(10))
SERVE = """
import json, sys
from pathlib import Path
from carrara.memory import remember_few_layers, share_arena
from carrara.threads import rest
rest()
share_arena()
remember_few_layers()
from carrara.serve.running import run
from carrara.serve.settings import ServeSettings
run(ServeSettings(port=0, runs=(Path(sys.argv[1]),), **json.loads(sys.argv[2])))
"""
BETWEEN = 0.02
"""Seconds between two looks at ``/healthz``."""


def model(folder: Path, small: bool = False) -> Path:
    """The folder, with a model in it: of the size of ``digits``, or a tiny one."""
    unet = UNetConfig(
        channels=32, multipliers=(1,) if small else (1, 2, 2), blocks=1,
        attention_levels=() if small else (2,), head_width=32, modulation="scale_shift",
    )  # fmt: skip
    sample = SampleSettings(sampler=DpmPp(), steps=4 if small else 20, guidance=1.5, clip=True)
    config = ModelConfig(
        shape=(1, 16, 16), backbone=unet, schedule=Cosine(), parameterization=V(),
        conditioner=LabelsConfig(classes=CLASSES), sample=sample,
    )  # fmt: skip
    with torch_generator(0):
        DiffusionModel(config).save(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server: its address, and its process."""

    address: str
    process: subprocess.Popen[str]

    @property
    def memory(self) -> int:
        """Bytes of it that are in memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]


@contextmanager
def serving(run: Path, **settings: Any) -> Iterator[Served]:
    """A server of a run, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(run), json.dumps(settings)],
        stdout=subprocess.PIPE, text=True, cwd=run.parent, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None, "the server did not begin"
        yield Served(address=found[0], process=process)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@dataclass(kw_only=True)
class Health:
    """How long ``/healthz`` took, in milliseconds, look by look; and beside each look, one at a server that does
    nothing, over the same libraries: what it takes is the machine's own share."""

    studio: list[float] = field(default_factory=list[float])
    idle: list[float] = field(default_factory=list[float])


@contextmanager
def watched(address: str) -> Iterator[Health]:
    """Looks from another process until the end, and fills in how long they took then."""
    health = Health()
    idle = subprocess.Popen([sys.executable, "-c", IDLE], stdout=subprocess.PIPE, text=True)
    assert idle.stdout is not None
    other = f"http://127.0.0.1:{idle.stdout.readline().strip()}"
    looking = [sys.executable, "-S", "-c", LOOK, str(BETWEEN), address, other]
    process = subprocess.Popen(looking, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield health
    finally:
        health.studio, health.idle = json.loads(process.communicate("")[0])
        idle.terminate()
        idle.wait()
        idle.stdout.close()


IDLE = """
import socket, uvicorn
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"15")]})
    await send({"type": "http.response.body", "body": b'{"status":"ok"}'})
listening = socket.socket()
listening.bind(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")).run(sockets=[listening])
"""
LOOK = """
import http.client, json, select, sys, time
hosts = [address.removeprefix("http://") for address in sys.argv[2:]]
times = [[] for _ in hosts]
while not select.select([sys.stdin], [], [], float(sys.argv[1]))[0]:
    for host, own in zip(hosts, times):
        begun = time.perf_counter()
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        connection.close()
        own.append(1000 * (time.perf_counter() - begun))
print(json.dumps(times))
"""


def quantile(times: list[float], share: float) -> float:
    """The time that so many of them do not exceed."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


@dataclass(kw_only=True)
class Load:
    """What came of many requests.

    Attributes:
        asked, answered: how many requests of each kind were sent, and got one whole answer.
        wrong: sentences on answers that were others than they should be.
        left: how many clients left before their answer.
        memory: bytes of the server after each hundred of requests, when nothing is drawn: what is being drawn at one
            moment comes and goes.
    """

    asked: Counter[str] = field(default_factory=Counter[str])
    answered: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    left: int = 0
    memory: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    health: Health = field(default_factory=Health)
    seconds: float = 0.0

    @property
    def growth(self) -> float:
        """Of the server's memory after the first hundred requests, relatively."""
        return self.memory[-1][1] / self.memory[0][1] - 1


INVALID: tuple[tuple[str, str, Any, int], ...] = (
    ("POST", "/api/jobs", {"model": "no-such"}, 404),
    ("POST", "/api/jobs", {"model": "run", "ask": {"steps": "many"}}, 400),
    ("POST", "/api/jobs", {"model": "run", "ask": {"stepz": 3}}, 400),
    ("POST", "/api/jobs", b"{", 400),
    ("POST", "/v1/images/generations", {"prompt": "bird"}, 400),
    ("POST", "/v1/images/generations", {"prompt": "3", "n": 0}, 400),
    ("POST", "/v1/images/generations", {"prompt": "3", "size": "large"}, 400),
    ("GET", "/api/pictures?limit=none", None, 400),
    ("GET", "/pictures/0000000000000000000000.png", None, 404),
    ("POST", "/api/uploads", b"no form", 400),
)
READS = ("/api/models", "/api/models/run", "/api/jobs", "/api/pictures?limit=12", "/v1/models", "/metrics", "/readyz")


def kinds(count: int, seed: int) -> list[str]:
    """What to ask, shuffled: a tenth leaves, a tenth is invalid, the rest draws or reads."""
    tenth = count // 10
    made = ["leave"] * tenth + ["invalid"] * tenth + ["job"] * (3 * tenth) + ["openai"] * (2 * tenth)
    made += ["stream"] * tenth + ["read"] * (count - len(made) - tenth)
    random.Random(seed).shuffle(made)
    return made


async def loaded(served: Served, count: int = 1000, clients: int = 16, seed: int = 0) -> Load:
    """So many mixed requests from so many clients, each of which asks for the next when it has its answer."""
    load, later = Load(), list(enumerate(kinds(count, seed)))
    todo = list[tuple[int, str]]()
    begun = time.perf_counter()

    async def client(name: int) -> None:
        async with httpx.AsyncClient(base_url=served.address, timeout=120) as http:
            while todo:
                k, kind = todo.pop()
                load.asked[kind] += 1
                try:
                    await ASK[kind](http, load, k, f"client-{name}")
                    load.answered[kind] += 1
                except (httpx.HTTPError, AssertionError) as error:
                    load.wrong.append(f"{kind} {k}: {error!r}")

    while later:
        todo, later = later[-100:], later[:-100]
        await asyncio.gather(*(client(name) for name in range(clients)))
        await waiting(served)
        load.memory.append((load.asked.total(), served.memory))
    load.seconds = time.perf_counter() - begun
    return load


async def _job(http: httpx.AsyncClient, load: Load, k: int, client: str) -> None:
    ask = {"prompts": [CLASSES[k % 10]], "seed": k, "count": 1 + k % 3}
    answer = await http.post("/api/jobs", json={"model": "run", "ask": ask, "client": client})
    assert answer.status_code == 202, answer.text
    ends = 0
    async with http.stream("GET", f"/api/jobs/{answer.json()['id']}/events") as stream:
        async for line in stream.aiter_lines():
            ends += line in ("event: done", "event: failed", "event: cancelled")
    job = (await http.get(f"/api/jobs/{answer.json()['id']}")).json()
    assert ends == 1 and job["state"] == "done" and len(job["pictures"]) == ask["count"], job
    assert [one["seed"] for one in job["pictures"]] == [k + j for j in range(ask["count"])]


async def _openai(http: httpx.AsyncClient, load: Load, k: int, client: str) -> None:
    body = {"model": "run", "prompt": CLASSES[k % 10], "seed": k, "n": 1 + k % 2, "user": client}
    answer = await http.post("/v1/images/generations", json=body)
    assert answer.status_code == 200, answer.text
    assert [one["seed"] for one in answer.json()["data"]] == [k + j for j in range(body["n"])]


async def _stream(http: httpx.AsyncClient, load: Load, k: int, client: str) -> None:
    body = {"model": "run", "prompt": "7", "seed": k, "stream": True, "partial_images": 2, "user": client}
    names = Counter[str]()
    async with http.stream("POST", "/v1/images/generations", json=body) as stream:
        async for line in stream.aiter_lines():
            names[line.removeprefix("event: ")] += line.startswith("event: ")
    assert names["image_generation.completed"] == 1 and names["error"] == 0, names


async def _invalid(http: httpx.AsyncClient, load: Load, k: int, client: str) -> None:
    method, path, body, status = INVALID[k % len(INVALID)]
    said = {"content": body} if isinstance(body, bytes) else {} if body is None else {"json": body}
    answer = await http.request(method, path, **said)
    assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
    assert answer.json()["error"]["message"], answer.text


async def _read(http: httpx.AsyncClient, load: Load, k: int, client: str) -> None:
    answer = await http.get(READS[k % len(READS)])
    assert answer.status_code == 200, answer.text


async def _leave(http: httpx.AsyncClient, load: Load, k: int, client: str) -> None:
    """Goes away before the answer, in the middle of one or at its beginning."""
    body = {
        "model": "run",
        "prompt": "1",
        "seed": k,
        "n": 2,
        "stream": bool(k % 2),
        "partial_images": 1,
        "user": client,
    }
    try:
        async with asyncio.timeout(0.005 * (1 + k % 20)):
            async with http.stream("POST", "/v1/images/generations", json=body) as stream:
                async for _ in stream.aiter_lines():
                    pass
    except TimeoutError:
        load.left += 1


ASK: dict[str, Callable[[httpx.AsyncClient, Load, int, str], Awaitable[None]]] = {
    "job": _job, "openai": _openai, "stream": _stream, "invalid": _invalid, "read": _read, "leave": _leave,
}  # fmt: skip


async def waiting(served: Served) -> int:
    """How many jobs are not over, a little after the last request."""
    async with httpx.AsyncClient(base_url=served.address, timeout=60) as http:
        for _ in range(100):
            jobs = (await http.get("/api/jobs")).json()["jobs"]
            left = sum(job["state"] in ("queued", "running") for job in jobs)
            if not left:
                return 0
            await asyncio.sleep(0.1)
    return left


async def refused(served: Served, queue: int, more: int = 60) -> list[float]:
    """How long it takes to be refused, in milliseconds, where the queue is full.

    Raises:
        AssertionError: an answer is neither 202 nor 429 with ``Retry-After``.
    """
    times = list[float]()
    async with httpx.AsyncClient(base_url=served.address, timeout=60) as http:
        for k in range(queue + 2 + more):
            body = {"model": "run", "ask": {"count": 64, "steps": 100, "seed": k, "guidance": 1 + k / 1000}}
            begun = time.perf_counter()
            answer = await http.post("/api/jobs", json=body)
            if answer.status_code == 429:
                times.append(1000 * (time.perf_counter() - begun))
                assert int(answer.headers["Retry-After"]) >= 1
            else:
                assert answer.status_code == 202, answer.text
        for job in (await http.get("/api/jobs")).json()["jobs"]:
            await http.delete(f"/api/jobs/{job['id']}")
    return times


async def throughput(served: Served, each: int = 12, clients: int = 8) -> float:
    """Pictures a second of clients that ask for one after the other."""

    async def client(name: int) -> None:
        async with httpx.AsyncClient(base_url=served.address, timeout=120) as http:
            for k in range(each):
                body = {"model": "run", "prompt": CLASSES[k % 10], "seed": 1000 * name + k, "user": str(name)}
                (await http.post("/v1/images/generations", json=body)).raise_for_status()

    begun = time.perf_counter()
    await asyncio.gather(*(client(name) for name in range(clients)))
    return each * clients / (time.perf_counter() - begun)


def under_load(run: Path, count: int = 1000) -> tuple[Load, int]:
    """The load, and how many jobs were not over in the end."""
    with serving(run, warm=True) as served:
        asyncio.run(throughput(served, 1, 1))
        with watched(served.address) as health:
            load = asyncio.run(loaded(served, count))
        load.health = health
        return load, asyncio.run(waiting(served))


def batching(run: Path, rounds: int = 3) -> tuple[list[float], list[float]]:
    """Pictures a second with requests drawn together, and each by itself, in turns."""
    with serving(run) as joined, serving(run, together=1) as alone:
        both = joined, alone
        for served in both:
            asyncio.run(throughput(served, 2))
        found = [[asyncio.run(throughput(served)) for served in both] for _ in range(rounds)]
    return [one[0] for one in found], [one[1] for one in found]


def main() -> None:
    """Prints the table, and writes it to results/."""
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:
        run = model(Path(place, "run"))
        load, unfinished = under_load(run)
        with serving(run, queue=16) as served:
            asyncio.run(throughput(served, 1, 1))
            refusals = asyncio.run(refused(served, 16))
        joined, alone = batching(run)
    health, idle = load.health.studio, load.health.idle
    first, last = (size / 2**20 for size in (load.memory[0][1], load.memory[-1][1]))
    lines = [
        "# The studio under load",
        "",
        "`python benchmarks/studio.py`",
        "",
        f"{described()}; other work on the machine at the beginning: load average {busy:.1f}.",
        "",
        f"{load.asked.total()} requests from 16 clients in {load.seconds:.0f} s: "
        + ", ".join(f"{n} {kind}" for kind, n in sorted(load.asked.items()))
        + f"; {load.left} clients left before their answer.",
        "",
        "| | measured | asked |",
        "|---|---|---|",
        f"| requests without their one right answer | {len(load.wrong)} | 0 |",
        f"| jobs that are not over in the end | {unfinished} | 0 |",
        f"| memory of the server, first to last | {first:.0f} to {last:.0f} MiB | |",
        f"| its growth after the first hundred requests | {load.growth:.1%} | < 5 % |",
        f"| `/healthz` during it, {len(health)} looks: median | {quantile(health, 0.5):.1f} ms | |",
        f"| 99 % | {quantile(health, 0.99):.1f} ms | |",
        f"| slowest | {max(health):.1f} ms | < 50 ms |",
        f"| beside it, a server that does nothing: median | {quantile(idle, 0.5):.1f} ms | |",
        f"| 99 % | {quantile(idle, 0.99):.1f} ms | |",
        f"| slowest | {max(idle):.1f} ms | |",
        f"| refusal where the queue is full, {len(refusals)} times: median | {quantile(refusals, 0.5):.1f} ms | |",
        f"| slowest | {max(refusals):.1f} ms | < 50 ms |",
        f"| pictures a second of 8 clients, drawn together | {max(joined):.1f} | |",
        f"| each by itself | {max(alone):.1f} | |",
        f"| ratio | {max(joined) / max(alone):.2f} | >= 1.5 |",
        *(f"\n{one}" for one in load.wrong[:10]),
    ]
    (Path(__file__).parent / "results" / "studio.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
