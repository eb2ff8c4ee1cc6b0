"""Every command on a disk that is full, or refuses: a sentence, exit code 2, and what was there is as it was."""

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusing import Disk, refusing
from safetensors.numpy import load_file
from small_models import saved

from carrara.files import writing

RUNS = Path(__file__).parents[1] / "golden" / "runs"
Command = Callable[..., tuple[int, str]]
TRAIN = ("train", "swissroll", "train.steps=2", "data.points=200", "model.backbone.width=8", "preview.every=1")
TRAIN += ("model.backbone.depth=1", "preview.best=loss", "checkpoint.every=1", "train.precision=float32", "seed=1")
COMMANDS: dict[str, tuple[str, ...]] = {
    "sample": ("sample", "runs/digits", "-n", "2", "--strip"),
    "sample elsewhere": ("sample", "runs/digits", "-n", "1", "--out", "out/samples"),
    "sample points": ("sample", "runs/points", "-n", "2", "--out", "out/points"),
    "vary": ("sample", "runs/digits", "3", "-n", "1", "--vary", "guidance=1,2"),
    "img2img": ("edit", "runs/pixels", "img2img", "inputs/a.png", "--prompt", "cat"),
    "inpaint": ("edit", "runs/pixels", "inpaint", "inputs/a.png", "--box", "0,0,4,4", "--prompt", "cat"),
    "interpolate": ("edit", "runs/pixels", "interpolate", "inputs/a.png", "inputs/b.png", "--frames", "3"),
    "reconstruct": ("edit", "runs/autoencoder", "reconstruct", "inputs/a.png"),
    "evaluate": ("evaluate", "runs/points", "--metrics", "nll"),
    "report": ("evaluate", "runs/points", "--report"),
    "compare": ("compare", "runs/points", "runs/points-2", "--out", "out/comparison.html"),
    "schedule": ("inspect", "schedule", "cosine"),
    "schedule elsewhere": ("inspect", "schedule", "linear", "--out", "out/schedule"),
    "replay": ("replay", "drawn/grid.png", "--run", "runs/digits"),
    "inspect": ("inspect", "runs/points"),
    "data": ("inspect", "data", "inputs"),
    "presets": ("presets",),
}
TRAININGS: dict[str, tuple[str, ...]] = {
    "train": (*TRAIN, "--run", "runs/new"),
    "go on": ("train", "--run", "runs/points", "train.steps=8", "preview.every=1"),
    "distill": ("distill", "runs/few", "--steps", "2", "train.steps=1", "objective.trajectories=4"),
}
"""These are tried at fewer moments, because they take longer."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs and pictures, which is the working folder."""
    for name in ("digits", "points"):
        shutil.copytree(RUNS / name, tmp_path / "runs" / name)
    shutil.copytree(RUNS / "points", tmp_path / "runs/points-2")
    shutil.copytree(RUNS / "early", tmp_path / "runs/few")
    shutil.copytree(RUNS / "digits/drawn", tmp_path / "drawn")
    for kind in ("pixels", "autoencoder"):
        saved(kind, tmp_path / "runs" / kind)
    (tmp_path / "inputs").mkdir()
    for k, name in enumerate("ab"):
        Image.fromarray(np.full((8, 8, 3), 40 + 90 * k, np.uint8)).save(tmp_path / "inputs" / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARRARA_CACHE", str(tmp_path / "cache"))
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """All files that have a name of their own."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def check_whole(path: Path) -> None:
    """Refuses a file that is half written."""
    match path.suffix:
        case ".png" | ".gif" | ".webp":
            with Image.open(path) as image:
                image.load()
        case ".json":
            json.loads(path.read_text())
        case ".jsonl":
            assert all(json.loads(line) for line in path.read_text().splitlines())
        case ".npy":
            np.load(path)
        case ".safetensors":
            load_file(path)
        case ".html":
            assert path.read_text().endswith("</html>\n")
        case ".yaml":
            assert path.read_text().endswith("\n")
        case other:
            raise AssertionError(f"a file that no command writes: {path} {other}")


LOGS = ("log.jsonl", "held_out.jsonl")
TRAINED = (*LOGS, "recipe.yaml")


def check_told(code: int, said: str) -> None:
    """A sentence and exit code 2."""
    assert code == 2, said
    last = said.rstrip().splitlines()[-1]
    assert "Traceback" not in said and re.search(r"could not be written: |cannot be read or written: ", last), said
    assert said.count("could not be written") == 1, said


def check_left(folder: Path, before: dict[str, bytes], training: bool = False) -> None:
    """Earlier files are as they were, and all others are whole and have a name of their own."""
    after = contents(folder)
    for name, content in before.items():
        if not (training and (Path(name).name in TRAINED or "/checkpoints/" in name or "/model/" in name)):
            assert after[name] == content, name
    for name in after.keys() - before.keys():
        assert not Path(name).name.startswith("."), f"{name} was left"
        check_whole(folder / name)


def moments(run: Callable[[Disk], tuple[int, str]], every: bool) -> Iterator[tuple[int, int, str]]:
    """Runs something with a disk that is full from a moment on, until that is after its end.

    Args:
        every: tries all moments, and not fewer and fewer of them.
    """
    moment, step = 0, 1
    while True:
        disk = Disk(moment)
        code, said = run(disk)
        if not disk.refused:
            assert code == 0, said
            return
        yield moment, code, said
        moment, step = moment + step, 1 if every else step + 1


def started(here: Path, carrara: Command, arguments: Sequence[str]) -> Callable[[Disk], tuple[int, str]]:
    def run(disk: Disk) -> tuple[int, str]:
        with refusing(disk):
            return carrara(*arguments)

    return run


EVERY = pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])


@EVERY
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_a_sentence_at_every_moment(name, every, here, carrara):
    if name in ("report", "compare"):
        carrara(*COMMANDS[name])  # draws what pages show
        for page in here.rglob("*.html"):
            page.unlink()
    before = contents(here)
    tried = 0
    for _, code, said in moments(started(here, carrara, COMMANDS[name]), every):
        tried += 1
        check_told(code, said)
        assert "the disk is full" in said and "free)" in said
        check_left(here, before)
        for path in contents(here).keys() - before.keys():
            (here / path).unlink()
    assert tried >= (0 if name in ("inspect", "data", "presets") else 3)
