"""Two hosts with addresses of their own train together, over a slow link; one is cut off, and the other one goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_sharded import ENVIRONMENT, assert_same

from carrara.train import read_log
from carrara.train.heartbeat import VARIABLE

RECIPE = """
data: {size: 8, channels: 3, flip: true}
model:
  backbone: {kind: unet, channels: 8, multipliers: [1], blocks: 1, attention_levels: []}
train: {steps: 60, batch: 4, precision: float32, warmup: 10}
checkpoint: {every: 5}
preview: {every: 0}
"""
LINK, PORT = "veth0", 29500
QUICKLY = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3,read_timeout=5"


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


class Host:
    """A network namespace with one link, and a name."""

    def __init__(self, number: int) -> None:
        self.name, self.address = f"carrara-{os.getpid()}-{number}", f"10.99.0.{number}"
        self.process: subprocess.Popen[str] | None = None
        run("ip", "netns", "add", self.name)

    def connect(self) -> None:
        run("ip", "-n", self.name, "addr", "add", f"{self.address}/24", "dev", LINK)
        for device in ("lo", LINK):
            run("ip", "-n", self.name, "link", "set", device, "up")

    def slow_down(self) -> None:
        queue = ["ip", "netns", "exec", self.name, "tc", "qdisc", "add", "dev", LINK, "root"]
        try:
            run(*queue, "netem", "delay", "20ms")
        except OSError:  # not every kernel has it
            run(*queue, "tbf", "rate", "1mbit", "burst", "8kb", "latency", "1s")

    def cut_off(self) -> None:
        """No connection is closed; nothing arrives any more."""
        run("ip", "-n", self.name, "link", "set", LINK, "down")

    def train(self, meeting: "Host", folder: Path, *words: str) -> None:
        """torchrun, which restarts processes three times, of one or two hosts."""
        torchrun = ["--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "3", "--monitor-interval", "0.2"]
        torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{meeting.address}:{PORT}", "--rdzv-id", "job"]
        torchrun += ["--rdzv-conf", f"is_host={int(self is meeting)},{QUICKLY}", "--local-addr", self.address]
        own = ["ip", "netns", "exec", self.name, "unshare", "--uts", "sh", "-c", f'hostname {self.name} && exec "$@"']
        launcher = [sys.executable, str(Path(__file__).with_name("forked_ranks.py")), str(folder), "torchrun"]
        here = {"GLOO_SOCKET_IFNAME": LINK, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", VARIABLE: "5"}
        self.process = subprocess.Popen(
            [*own, "sh", *launcher, *torchrun, "-m", "--", "carrara", "train", *words],
            env={**ENVIRONMENT, **here},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, seconds: float) -> tuple[int, str]:
        """The exit code of torchrun, and what was said."""
        assert self.process is not None
        said, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, said

    def remove(self) -> None:
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split()
        for process in map(int, found):
            os.kill(process, signal.SIGKILL)
        if self.process is not None:
            self.process.communicate()
        run("ip", "netns", "del", self.name)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Two, with a link between them."""
    if not all(map(shutil.which, ("ip", "tc", "unshare", "hostname"))):
        pytest.skip("ip, tc, unshare and hostname are not all here, so no hosts can be made")
    made = list[Host]()
    try:
        try:
            made += [Host(1)]
            made += [Host(2)]
            one, two = (host.name for host in made)
            run("ip", "link", "add", LINK, "netns", one, "type", "veth", "peer", "name", LINK, "netns", two)
            for host in made:
                host.connect()
        except OSError as error:
            pytest.skip(f"no network namespaces may be made here, so there are no two hosts ({error})")
        yield made
    finally:
        for host in made:
            host.remove()


def taken(folder: Path, steps: int) -> tuple[list[int], list[str]]:
    """The positions and the names of what each step has learned from, as it was done for the last time."""
    lines: list[Any] = list(map(json.loads, (folder / "batches.jsonl").read_text().splitlines()))
    positions, names = list[int](), list[str]()
    for step in range(1, steps + 1):
        mine = [line for line in lines if line["step"] == step]
        last = {line["rank"]: line for line in mine if len(line["positions"]) == len(mine[-1]["positions"])}
        for _, line in sorted(last.items()):
            positions += line["positions"]
            names += line["names"]
    return positions, names


@pytest.mark.slow
def test_a_host_that_is_cut_off_costs_no_sample(
    hosts: list[Host], photos: Path, tmp_path: Path, carrara: Callable[..., tuple[int, str]]
) -> None:
    """And a slow link costs nothing but time."""
    recipe, together, alone = tmp_path / "recipe.yaml", tmp_path / "together", tmp_path / "alone"
    recipe.write_text(RECIPE)
    words = [str(photos), "--preset", str(recipe), "--run"]
    for host in hosts:
        host.train(hosts[0], tmp_path / "has", *words, str(together))
    for steps, disturb in ((12, hosts[0].slow_down), (20, hosts[1].cut_off)):
        end = time.monotonic() + 90
        while not (together / "log.jsonl").exists() or len((together / "log.jsonl").read_text().splitlines()) < steps:
            assert time.monotonic() < end, "the hosts do not train"
            time.sleep(0.01)
        disturb()
    code, said = hosts[0].end(90)
    assert code == 0 and "nothing was heard of process 1" in said and "going on from step" in said, said
    assert hosts[1].process is not None
    hosts[1].process.terminate()  # torchrun waits there for its connection, a quarter of an hour at most
    assert "nothing was heard of process 0" in (said := hosts[1].end(40)[1]), said
    assert len((tmp_path / "has" / "ranks.txt").read_text().splitlines()) == 3, "the lost host has gone on alone"

    assert carrara("train", *words, str(alone))[0] == 0
    ours, theirs = (list(read_log(folder / "log.jsonl")) for folder in (together, alone))
    assert [(line["step"], line["images"]) for line in ours] == [(step, 4 * step) for step in range(1, 61)]
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], rel=0, abs=1e-6)
    assert_same(alone, together, 1e-5)
    quick, slow = (ours[last - 1]["seconds"] - ours[last - 6]["seconds"] for last in (12, 19))
    assert slow > quick
    positions, names = taken(tmp_path / "has", 60)
    assert positions == list(range(240))
    assert {Counter(names[first : first + 15]).most_common(1)[0][1] for first in range(0, 240, 15)} == {1}
