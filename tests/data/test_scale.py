"""docs/scale.md: its tables are those of the script, and the script's numbers those of files that the code writes."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import scale

from carrara.data import Folder, loader, split
from carrara.data.base import Subset, Without
from carrara.data.order import WINDOWS
from carrara.data.shards import Sharding, Shards, layout, shard

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
TIMES = Path(__file__).parents[2] / "benchmarks" / "results" / "shards.md"


def test_the_page_has_the_scripts_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert scale.table() in page and scale.assumptions() in page


def test_sizes_are_those_of_files(photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.png"):
        path.with_suffix(".txt").write_text("x" * 60)
    for path in photos.rglob("*.png"):
        path.write_bytes(path.read_bytes() + bytes(3000 - path.stat().st_size))
        path.rename(path.with_name(f"{path.parent.name:_>4}{path.stem:0>5}.png"))
    for path in photos.rglob("*.txt"):
        path.rename(path.with_name(f"{path.parent.name:_>4}{path.stem:0>5}.txt"))
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in photos.rglob("*.*"):
        path.rename(flat / path.name)
    assumed = scale.Assumed(picture=3000)
    settings = Sharding(most_bytes=20_000 + 5 * 8192, workers=1)
    folder = Folder(flat)
    list(shard(folder, tmp_path / "out", settings))
    shards = Shards(str(tmp_path / "out"))
    counts = np.diff([*shards._first.tolist(), len(shards)])
    assert counts[0] == scale.examples_of_a_shard(assumed, settings) > 2
    lines = sum(path.stat().st_size for path in (tmp_path / "out").glob("*.jsonl"))
    assert lines == len(folder) * scale.line_bytes(assumed)
    for number, count in enumerate(counts.tolist()):
        size = (tmp_path / "out" / layout.tar_name(number)).stat().st_size
        assert size == scale.ended(count * scale.tar_bytes(assumed))


def test_a_row_has_the_bytes_of_the_index(photos: Path, tmp_path: Path) -> None:
    list(shard(Folder(photos), tmp_path / "out", Sharding(workers=1)))
    columns = Shards(str(tmp_path / "out"))._rows
    assert sum(columns[name][0].nbytes for name in layout.EXAMPLES) == layout.ROW
    whole = (tmp_path / "out" / layout.ROWS).stat().st_size
    assert whole - len(layout.EXAMPLES | layout.SHARDS) * 400 < 16 * layout.ROW + 48 < whole


def test_memory_of_what_is_held_out(photos: Path, tmp_path: Path) -> None:
    list(shard(Folder(photos), tmp_path / "out", Sharding(workers=1)))
    training, held = split(Shards(str(tmp_path / "out")), 0.5)
    assert isinstance(training, Without) and isinstance(held, Subset)
    assert training._others.nbytes + training._before.nbytes + held._indices.nbytes == scale.HELD * len(held)
    assert loader._WORKERS <= scale.WORKERS and scale.Assumed().requests == scale.WORKERS * scale.Assumed().host
    assert WINDOWS == 256


def test_networks_are_those_of_the_papers() -> None:
    assert scale.network_parameters() == 859_520_964
    attention = 4 * 512 * (64**4 - 4 * 32**4)  # of the middle, whose places look at each other
    assert scale.encoding_flops(512) == 4 * scale.encoding_flops(256) + attention


def test_a_checkpoint_has_sixteen_bytes_a_parameter(photos: Path, tmp_path: Path, carrara, monkeypatch) -> None:
    from safetensors import safe_open

    from tiny import TINY

    monkeypatch.chdir(tmp_path)
    options = ("train.steps=2", "checkpoint.every=2", "preview.every=0", "train.optimizer=adamw")
    assert carrara("train", photos, "--preset", "pixel", *TINY, *options, "--run", "run")[0] == 0
    (folder,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    sizes = dict[str, int]()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            sizes[path.stem] = sum(file.get_tensor(name).nbytes for name in list(file.keys()))
    with safe_open(folder / "ema.safetensors", "np") as file:
        parameters = sum(file.get_tensor(name).size for name in list(file.keys()))
    assert sum(sizes.values()) == pytest.approx(16 * parameters, rel=0.05), sizes


def test_the_pace_of_a_pass_is_the_measured_one() -> None:
    line = next(line for line in TIMES.read_text(encoding="utf-8").splitlines() if line.startswith("| seek |"))
    used, examples = float(line.split("(")[1].split(")")[0]), 10_000_000
    assert "10,000,000 examples" in TIMES.read_text(encoding="utf-8")
    assert used / examples * 1e9 == pytest.approx(scale.NANOSECONDS, rel=0.5)
