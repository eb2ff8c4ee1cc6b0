"""Does ``carrara train --plan`` say what a training takes: bytes between processes, and memory of each?

    python benchmarks/plan.py [CASE ...]

Each case is planned, and then trained by as many processes of this machine, with gloo, on random pictures. As root on
Linux they run in a network namespace of their own, where nothing else is sent; the loopback's counters say what went
through it in a step, packets' heads and what processes agree on included. Gloo makes a reduce-scatter of an all-reduce,
which the plan for NCCL does not, so the table has the plan's messages as gloo would send them. Tensors' memory is what
torch's allocator counts; the resident memory is what the process has grown by since before there was a model.
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from machine import described
from PIL import Image
from torch.profiler import ProfilerActivity, profile

from carrara import run as runs
from carrara.measure.messages import GLOO, sent_by_rank
from carrara.measure.recording import Recorder, state_of
from carrara.recipe import build
from carrara.recipe.kinds import kind_of
from carrara.recipe.schema import Recipe
from carrara.run.cluster import Cluster
from carrara.run.foreseeing import foresee
from carrara.train import TrainState, launched, sharding, train

NETWORKS = {
    "DiT": "{kind: dit, width: 384, depth: 6, heads: 6, patch: 4}",
    "U-Net": "{kind: unet, channels: 64, multipliers: [1, 2, 4], blocks: 1, attention_levels: [2]}",
    "small DiT": "{kind: dit, width: 32, depth: 1, heads: 1, patch: 4}",
    "small U-Net": "{kind: unet, channels: 32, multipliers: [1], blocks: 1, attention_levels: []}",
}
STEPS = 3
"""Whose bytes are counted, after one that is not."""
PORT = 29611


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training: a network, how it is parted, and the processes, on hosts of ``per_host``."""

    network: str
    shard: str
    optimizer: str
    processes: int
    per_host: int

    @property
    def name(self) -> str:
        """In the table."""
        return f"{self.network}, {self.shard}, {self.optimizer}"

    def recipe(self, folder: Path) -> Recipe:
        """The whole recipe, on the pictures in ``folder``."""
        changes = (
            f"model.backbone={NETWORKS[self.network]}",
            f"train.shard={self.shard}",
            f"train.optimizer={self.optimizer}",
            f"train.batch={4 * self.processes}",
            "data.size=32",
            "train.precision=float32",
            "train.minutes=null",
            f"train.steps={STEPS + 1}",
        )
        return runs.plan(str(folder / "photos"), "pixel", folder / "run", changes).recipe


def _cases() -> list[Case]:
    wanted = (
        ("DiT", "null", "adamw", 2, 2),
        ("DiT", "full", "adamw", 2, 2),
        ("DiT", "null", "adamw", 4, 4),
        ("DiT", "full", "adamw", 4, 4),
        ("DiT", "full", "muon", 4, 4),
        ("DiT", "hybrid", "adamw", 4, 2),
        ("U-Net", "null", "muon", 2, 2),
        ("U-Net", "full", "adamw", 4, 4),
    )
    names = ("network", "shard", "optimizer", "processes", "per_host")
    return [Case(**dict(zip(names, each, strict=True))) for each in wanted]  # pyright: ignore[reportArgumentType]


def work(case: Case, folder: Path) -> dict[str, Any]:
    """What one process of a training sees."""
    recipe = case.recipe(folder)
    with launched():
        recorded(
            replace(case, network=f"small {case.network.removeprefix('small ')}").recipe(folder)
        )  # whose code is in memory then
        gc.collect()
        before = resident()
        Path("/proc/self/clear_refs").write_text("5")  # the highest is the present one
        state = begun(recipe)
        steps = train(state, batches(recipe), recipe.train, seed=0)
        next(steps)
        dist.barrier()
        sent, begin = loopback(), time.perf_counter()
        for _ in range(STEPS):
            next(steps)
        seconds = (time.perf_counter() - begin) / STEPS
        dist.barrier()
        found = {"sent": (loopback() - sent) / STEPS, "resident": highest() - before, "seconds": seconds}
        found["state"] = sum(sharding.own(t).untyped_storage().nbytes() for o in state_of(state).values() for t in o)
        del state, steps
        return {**found, **recorded(recipe), **allocated(recipe, folder)}


def begun(recipe: Recipe) -> TrainState:
    """A training before its first step."""
    kind = kind_of(recipe)
    return TrainState(kind.objective(kind.model()), recipe.train)


def batches(recipe: Recipe) -> Any:
    """This rank's."""
    training, _ = build.parts(recipe, build.dataset(recipe))
    return build.loader(recipe, training, dist.get_rank(), dist.get_world_size()).batches


def recorded(recipe: Recipe) -> dict[str, Any]:
    """Bytes that the second step gives to gloo: before the first, DDP also sends all weights."""
    state, recorder = begun(recipe), Recorder()
    with recorder:
        recorder.watch(state)
        for report in train(state, batches(recipe), replace(recipe.train, steps=2), seed=0):
            given = sum(message.size for message in recorder.messages)
            if report.step == 1:
                recorder.messages.clear()
    return {"given": given, "messages": len(recorder.messages)}


def allocated(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """The most that torch's allocator has given out at a time, from before there was a model to after a step."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        state = begun(recipe)
        for _ in train(state, batches(recipe), replace(recipe.train, steps=1), seed=0):
            pass
    file = folder / f"trace-{dist.get_rank()}.json"
    watched.export_chrome_trace(str(file))
    events = json.loads(file.read_text())["traceEvents"]
    return {"allocated": max(e["args"]["Total Allocated"] for e in events if e.get("name") == "[memory]")}


def loopback() -> int:
    """Bytes that went through it."""
    line = next(one for one in Path("/proc/net/dev").read_text().splitlines() if one.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[0])


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def highest() -> int:
    """The most bytes that it ever had."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def is_alone() -> bool:
    """Whether there can be a network namespace of one's own."""
    return bool(os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip"))


def measured(case: Case, folder: Path) -> list[dict[str, Any]]:
    """What each process saw."""
    alone = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    words = [sys.executable, __file__, "--work", json.dumps(asdict(case)), str(folder)]
    several = f'for rank in $(seq 0 {case.processes - 1}); do RANK=$rank LOCAL_RANK=$rank "$@" & done; wait'
    together = ["sh", "-c", several, "sh", *words]
    count = str(case.processes)
    ranks = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": str(case.per_host), "MASTER_ADDR": "127.0.0.1"}
    environment = {
        **os.environ,
        **ranks,
        "MASTER_PORT": str(PORT),
        "GLOO_SOCKET_IFNAME": "lo",
        "MALLOC_MMAP_THRESHOLD_": "65536",
    }
    subprocess.run([*(alone if is_alone() else []), *together], env=environment, timeout=550, check=True)
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(case.processes)]


def pictures(folder: Path) -> None:
    """Some of random numbers."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(64):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / "photos" / f"{number}.png")


def row(case: Case, folder: Path) -> str:
    """A case's line of the table."""
    recipe = case.recipe(folder)
    step = foresee(recipe, Cluster(gpus=case.processes, per_host=case.per_host)).step
    found = measured(case, folder)
    given = sum(message.size for message in step.messages)
    sent, peak, state = (
        case.processes * sent_by_rank(step.messages, GLOO),
        sum(step.peak.values()),
        sum(step.state.values()),
    )
    columns = (
        case.name,
        str(case.processes),
        f"{step.parameters / 1e6:.1f}",
        compared(given, max(one["given"] for one in found)),
        compared(sent, found[0]["sent"]),
        compared(state, max(one["state"] for one in found)),
        compared(peak, max(one["allocated"] for one in found)),
        compared(peak, max(one["resident"] for one in found)),
    )
    return " | ".join(["", *columns, ""]).strip()


def compared(planned: float, measured: float) -> str:
    """Both in MB, and by how much the plan is more."""
    return f"{planned / 1e6:.1f} / {measured / 1e6:.1f} ({100 * (planned / measured - 1):+.1f} %)"


def main(words: list[str]) -> None:
    if words[:1] == ["--work"]:
        case, folder = Case(**json.loads(words[1])), Path(words[2])
        (folder / f"rank-{os.environ['RANK']}.json").write_text(json.dumps(work(case, folder)))
        return
    print(f"{described()}\n")
    print("MB by the plan / as measured (the plan's error)\n")
    what = ("given to collectives", "on the loopback", "state", "tensors at the peak", "resident at the peak")
    heads = ["case", "processes", "M parameters", *what]
    print(" | ".join(["", *heads, ""]).strip())
    print("|" + "---|" * len(heads))
    for case in _cases():
        if not words or any(word in f"{case.name}, {case.processes}" for word in words):
            with tempfile.TemporaryDirectory() as folder:
                pictures(Path(folder))
                print(row(case, Path(folder)), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
