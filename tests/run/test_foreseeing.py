"""``--plan``: the numbers of a step without numbers are those of arithmetic, and of a training."""

import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch.distributed as dist

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import plan as benchmark

from carrara.errors import UserError
from carrara.measure.messages import GLOO, Message, sent_by_rank
from carrara.recipe.loading import load
from carrara.recipe.schema import Recipe
from carrara.run.cluster import Cluster
from carrara.run.foreseeing import foresee
from carrara.run.foreseen import Foreseen, Step
from carrara.train import TrainSettings

DIT = "model.backbone={kind: dit, width: 32, depth: 2, heads: 2, patch: 4}"
UNET = "model.backbone={kind: unet, channels: 16, multipliers: [1, 2], blocks: 1, attention_levels: [1]}"
TWO = Cluster(gpus=2)
NUMBER = 4  # bytes
LOSS, CLOCK = 1, 2  # numbers that all ranks agree on, of 4 bytes and of 8


def recipe(photos: Path, *changes: str) -> Recipe:
    source = f"data.source={{kind: folder, path: {photos}, classes: none}}"
    common = ("data.size=16", "data.channels=3", "model.conditioner=none", "train.precision=float32")
    return load("pixel", [source, *common, "train.batch=4", "train.optimizer=adamw", *changes])


def messages(step: Step) -> Counter[str]:
    """Bytes of each kind."""
    sizes = Counter[str]()
    for one in step.messages:
        sizes[one.collective] += one.size
    return sizes


@pytest.mark.parametrize("network", [DIT, pytest.param(UNET, marks=pytest.mark.slow)])
def test_ddp_adds_each_gradient_once(photos: Path, network: str) -> None:
    step = foresee(recipe(photos, network), TWO).step
    assert step.parameters > 10_000 and not dist.is_initialized()
    found = messages(step)
    assert found["all-reduce"] == NUMBER * (step.parameters + LOSS)
    assert found["broadcast"] < NUMBER * step.parameters / 10 and "all-gather" not in found
    assert step.state["averages"] == NUMBER * step.parameters
    assert step.state["weights"] == NUMBER * step.parameters + found["broadcast"] - CLOCK * NUMBER  # buffers
    assert step.state["moments"] == pytest.approx(2 * NUMBER * step.parameters, rel=0.02)
    assert step.peak["the rest"] >= NUMBER * step.parameters  # DDP's buckets


@pytest.mark.slow
def test_fsdp_puts_blocks_together_twice(photos: Path) -> None:
    """The blocks for the forward and for the backward pass, and all else once; each gradient is parted once."""
    own = recipe(photos, DIT, "train.shard=full")
    step, whole = foresee(own, TWO).step, foresee(recipe(photos, DIT), TWO).step
    depth, block = 2, _block(32)
    assert messages(step)["reduce-scatter"] == NUMBER * step.parameters == NUMBER * whole.parameters
    assert messages(step)["all-gather"] == NUMBER * (step.parameters + depth * block)
    for part in ("moments", "averages"):
        assert step.state[part] == pytest.approx(whole.state[part] / 2, rel=0.01)
    assert sum(step.peak.values()) < sum(whole.peak.values())


def _block(width: int) -> int:
    """The parameters of a block of DiT: queries, keys and values; what mixes them; two layers; six modulations."""
    layers = ((1, 3), (1, 1), (1, 4), (4, 1), (1, 6))
    return sum((inside * width + 1) * outside * width for inside, outside in layers)


@pytest.mark.slow
def test_hybrid_adds_parts_between_hosts(photos: Path) -> None:
    step = foresee(recipe(photos, DIT, "train.shard=hybrid"), Cluster(gpus=4, per_host=2)).step
    large = [one for one in step.messages if one.size > 1000]
    assert {one.ranks for one in large if one.collective == "all-reduce"} == {(0, 2)}
    assert {one.ranks for one in large if one.collective == "reduce-scatter"} == {(0, 1)}
    added = sum(one.size for one in large if one.collective == "all-reduce")
    assert added == pytest.approx(NUMBER * step.parameters / 2, rel=0.01)
    assert sum(one.between(2) for one in large) == pytest.approx(NUMBER * step.parameters, rel=0.01)


@pytest.mark.slow
def test_a_training_takes_what_was_planned(tmp_path: Path) -> None:
    """Two processes with gloo: the bytes that they give to it are the plan's, those on the loopback are within 10 % (as
    root, where nothing else is sent), and the memory of tensors within 15 %."""
    case = benchmark.Case(network="small U-Net", shard="full", optimizer="muon", processes=2, per_host=2)
    benchmark.pictures(tmp_path)
    step, found = foresee(case.recipe(tmp_path), TWO).step, benchmark.measured(case, tmp_path)
    for one in found:
        assert one["given"] == sum(message.size for message in step.messages)
        assert one["state"] <= sum(step.state.values())  # of the first process, whose parts are the greatest
        assert one["allocated"] == pytest.approx(sum(step.peak.values()), rel=0.15)
    assert found[0]["state"] == sum(step.state.values())
    if benchmark.is_alone():
        assert found[0]["sent"] == pytest.approx(2 * sent_by_rank(step.messages, GLOO), rel=0.1)


@pytest.mark.slow
def test_large_networks_are_planned_in_little_memory(
    photos: Path, tmp_path: Path, carrara: Callable[..., tuple[int, str]]
) -> None:
    """A fifth of DiT-XL/2, whose weights, gradients, moments and averages are 2.4 GB: here they are nothing."""
    network = "model.backbone={kind: dit, width: 1152, depth: 5, heads: 16, patch: 2}"
    before = benchmark.highest()
    words = ("train", photos, network, "data.size=32", "train.batch=128", "--run", tmp_path / "run")
    code, said = carrara(*words, "--plan", "gpus=128,memory=80,link=400,price=2")
    assert code == 0 and "128 GPUs on 16 hosts" in said and "it fits into" in said, said
    assert re.search(r"with 12\d,\d{3},\d{3} parameters that learn", said), said
    assert benchmark.highest() - before < 5e8 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gpus=a", "gpus is a whole number above 0, and is 'a'"),
        ("gpus=2.5", "gpus is a whole number above 0, and is '2.5'"),
        ("gpus", "gpus is a whole number above 0, and is ''"),
        ("gpus=4,speed=2", "'speed' is none of its keys, which are gpus, memory, link"),
        ("memory=80", "how many GPUs there are is not said"),
        ("", "how many GPUs there are is not said"),
        ("gpus=4,link=-3", "link is a number above 0, and is '-3'"),
        ("gpus=4,memory=nan", "memory is a number above 0, and is 'nan'"),
        ("gpus=4,gpus=5", "gpus is said twice"),
        ("gpus=10,per_host=4", "10 GPUs are not hosts of 4 each"),
        ("gpus=4,utilisation=2", "utilisation is a part, at most 1, and is 2"),
        ("gpus=1e9", "of at most 131,072 GPUs"),
    ],
)
def test_machines_that_are_none_are_refused(text: str, why: str) -> None:
    with pytest.raises(UserError, match=re.escape(why)):
        Cluster.read(text)


def test_machines() -> None:
    cluster = Cluster.read(" gpus=16, memory=40,link=100 ")
    assert (cluster.gpus, cluster.memory, cluster.link, cluster.per_host, cluster.hosts) == (16, 40, 100, 8, 2)
    assert Cluster.read("gpus=2").per_host == 2


def test_what_cannot_be_planned_is_one_sentence(
    photos: Path, carrara: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"train\.batch=4 cannot be shared equally by 3 processes: set it to 3 or 6"):
        foresee(recipe(photos, DIT), Cluster(gpus=3))
    code, said = carrara("train", photos, "--plan", "gpus=2", "--launch", 2)
    assert code == 2 and "--plan trains nothing: leave --launch and --dry-run out" in " ".join(said.split())
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="start one alone, without torchrun"):
        foresee(recipe(photos, DIT), TWO)


def test_arithmetic_of_batches_memory_time_and_costs() -> None:
    """2 hosts of 4 GPUs: 1 s of computing, and 2 GB that take 0.5 s to be sent by all to all."""
    step = Step(
        parameters=10,
        state={},
        peak={"weights": 2 * 10**9, "the rest": 10**9},
        preview=4 * 10**9,
        messages=(Message("all-reduce", 2 * 10**9, tuple(range(8))),),
        flops=5 * 10**11,
    )
    cluster = Cluster(gpus=8, per_host=4, memory=5.0, link=56.0, inner=1e6, flops=1.0, utilisation=0.5, price=2.0)
    foreseen = Foreseen(cluster=cluster, settings=TrainSettings(steps=3600, batch=24, accumulate=2), step=step)
    assert foreseen.computing == 1 and foreseen.sending == pytest.approx(0.5) and foreseen.seconds == (1, 1.5)
    assert foreseen.memory == 4 * 10**9 and foreseen.fits
    said = foreseen.text()
    assert "24 samples = 8 processes x 3, in 2 micro-batches of 2, the last of 1" in said
    assert "60.0 minutes to 1.50 hours, 8.00 to 12.0 GPU hours, which cost 16.0 to 24.0 at 2 an hour" in said
    small = replace(foreseen, cluster=replace(cluster, memory=4.0))
    assert not small.fits and "train.shard=full parts all but the activations" in small.text()
