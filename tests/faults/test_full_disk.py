"""Every command on a disk that is full, or refuses: a sentence, exit code 2, and what was there is as it was."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusing import Disk, refusing
from safetensors.numpy import load_file

from carrara.files.refusals import REFUSALS
from small_models import saved
from thorough import EACH

RUNS = Path(__file__).parents[1] / "golden" / "runs"
Command = Callable[..., tuple[int, str]]
TRAIN = ("train", "swissroll", "train.steps=2", "data.points=200", "model.backbone.width=8", "preview.every=1")
TRAIN += ("model.backbone.depth=1", "preview.best=loss", "checkpoint.every=1", "train.precision=float32", "seed=1")
TRAIN += ("sample.steps=2", "preview.count=4", "preview.held_out=4", "train.compile=false", "train.batch=4")
COMMANDS: dict[str, tuple[str, ...]] = {
    "sample": ("sample", "runs/digits", "-n", "2", "--strip"),
    "sample elsewhere": ("sample", "runs/digits", "-n", "1", "--out", "out/samples"),
    "sample points": ("sample", "runs/points", "-n", "2", "--out", "out/points"),
    "vary": ("sample", "runs/digits", "3", "-n", "1", "--vary", "guidance=1,2"),
    "img2img": ("edit", "runs/pixels", "img2img", "inputs/a.png", "--prompt", "cat"),
    "inpaint": ("edit", "runs/pixels", "inpaint", "inputs/a.png", "--box", "0,0,4,4", "--prompt", "cat"),
    "interpolate": (
        "edit",
        "runs/pixels",
        "interpolate",
        "inputs/a.png",
        "inputs/b.png",
        "--frames",
        "3",
        "--steps",
        "2",
    ),
    "reconstruct": ("edit", "runs/autoencoder", "reconstruct", "inputs/a.png"),
    "evaluate": ("evaluate", "runs/points", "--metrics", "nll"),
    "report": ("evaluate", "runs/points", "--report"),
    "compare": ("compare", "runs/points", "runs/points-2", "--out", "out/comparison.html"),
    "schedule": ("inspect", "schedule", "linear", "--steps", "20"),
    "schedule elsewhere": ("inspect", "schedule", "linear", "--steps", "20", "--out", "out/schedule"),
    "replay": ("replay", "drawn/grid.png", "--run", "runs/digits"),
    "inspect": ("inspect", "runs/points"),
    "data": ("inspect", "data", "inputs", "--out", "out/sheet"),
    "presets": ("presets",),
}
TRAININGS: dict[str, tuple[str, ...]] = {
    "train": (*TRAIN, "--run", "runs/new"),
    "go on": ("train", "--run", "runs/points", "train.steps=8", "preview.every=1"),
    "distill": (
        "distill",
        "runs/digits",
        "--steps",
        "2",
        "train.steps=1",
        "objective.trajectories=4",
        "preview.count=2",
    ),
}
"""These are tried at fewer moments, because they take longer."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs and pictures, which is the working folder."""
    for name in ("digits", "points"):
        shutil.copytree(RUNS / name, tmp_path / "runs" / name)
    shutil.copytree(RUNS / "points", tmp_path / "runs/points-2")
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
    assert len(re.findall("could not be written|cannot be read or written", said)) == 1, said


def check_left(folder: Path, before: dict[str, bytes], training: bool = False) -> None:
    """Earlier files are as they were, and all others are whole and have a name of their own."""
    after = contents(folder)
    for name, content in before.items():
        if not (training and (Path(name).name in TRAINED or "/checkpoints/" in name or "/model/" in name)):
            assert after[name] == content, name
    for name in after.keys() - before.keys():
        assert not Path(name).name.startswith("."), f"{name} was left"
        check_whole(folder / name)


def moments(run: Callable[[Disk], tuple[int, str]], every: bool, growth: int = 1) -> Iterator[tuple[int, int, str]]:
    """Runs something with a disk that is full from a moment on, until that is after its end.

    Args:
        every: tries moments from all of the time, and not fewer and fewer of them.
        growth: how much wider each gap is then.
    """
    moment, step = 0, 1
    while True:
        disk = Disk(moment)
        code, said = run(disk)
        if not disk.refused:
            assert code == 0, said
            return
        yield moment, code, said
        moment, step = moment + step, EACH if every else step + growth


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
    assert tried >= (0 if name in ("inspect", "presets") else 2)


@EVERY
@pytest.mark.parametrize("name", ["train", "go on", pytest.param("distill", marks=pytest.mark.slow)])
def test_a_training_on_a_full_disk_goes_on_as_if_it_had_not_been(name, every, here, carrara, tmp_path_factory):
    undisturbed = Path(shutil.copytree(here, tmp_path_factory.mktemp("undisturbed") / "whole"))
    with pytest.MonkeyPatch.context() as there:
        there.chdir(undisturbed)
        assert carrara(*TRAININGS[name])[0] == 0
    whole, before = learned(undisturbed), contents(here)
    for moment, code, said in moments(started(here, carrara, TRAININGS[name]), every and name != "distill", 5):
        check_told(code, said)
        check_left(here, before, training=True)
        if every or moment == 18:
            code, said = carrara(*TRAININGS[name])
            assert code == 0, said
            assert learned(here) == whole, moment
        shutil.rmtree(here / "runs")
        restore(here, before)


def restore(folder: Path, files: dict[str, bytes]) -> None:
    """Makes all files again."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def learned(folder: Path) -> dict[str, bytes]:
    """The weights of the models that trainings made."""
    return {
        name: content for name, content in contents(folder / "runs").items() if re.search(r"(model|best)/.*safet", name)
    }


@pytest.fixture
def forbidden(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a run that can only be read, whoever one is; and so is the cache folder."""
    places = (here / "runs", here / "cache", here / "drawn", here / "inputs")
    make, replace, opened, access = Path.mkdir, Path.replace, Path.open, os.access

    def check(path: Path) -> None:
        if any(path.absolute().is_relative_to(place) for place in places):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def checking(do):
        def checked(path, *given, **more):
            check(Path(path))
            return do(path, *given, **more)

        return checked

    def open_path(path: Path, mode: str = "r", *given, **more):
        if set(mode) & set("wax+"):
            check(path)
        return opened(path, mode, *given, **more)

    def may(path, mode, **more) -> bool:
        return access(path, mode, **more) and not (
            mode & os.W_OK and Path(path).absolute().is_relative_to(here / "runs")
        )

    monkeypatch.setattr(Path, "mkdir", checking(make))
    monkeypatch.setattr(Path, "replace", checking(replace))
    monkeypatch.setattr(Path, "open", open_path)
    monkeypatch.setattr(os, "access", may)
    yield here


ELSEWHERE = {
    name: (*(part for part in arguments if part != "--out" and not part.startswith("out/")), "--out", out)
    for name, arguments in COMMANDS.items()
    if name not in ("inspect", "data", "presets")  # a place among the pictures is refused in its own words
    for out in ["out/file.html" if name == "compare" else "out/file.png" if name == "replay" else "out"]
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_only_reads_a_run_needs_no_leave_to_write_there(name, forbidden, carrara):
    before = contents(forbidden)
    code, said = carrara(*ELSEWHERE[name])
    assert code == 0, said
    check_left(forbidden, before)
    made = contents(forbidden).keys() - before.keys()
    assert made and all(path.startswith("out/") for path in made)


@pytest.mark.parametrize("name", ["sample", "img2img", "evaluate", "report", "replay"])
def test_a_run_that_can_only_be_read_is_told_of(name, forbidden, carrara):
    before = contents(forbidden)
    code, said = carrara(*COMMANDS[name])
    assert code == 2 and "could not be written: " in said.splitlines()[-1] and "Traceback" not in said
    assert "name another place" in said
    assert contents(forbidden) == before


def test_what_was_measured_is_told_even_if_it_cannot_be_written(forbidden, carrara):
    code, said = carrara(*COMMANDS["evaluate"])
    assert code == 2 and "bits/point" in said and "Written" not in said
    assert "--out FOLDER names another folder" in said


@pytest.mark.parametrize("name", ["sample", "img2img", "evaluate", "inspect"])
def test_no_home_and_no_cache_folder_are_needed(name, here, carrara, monkeypatch):
    monkeypatch.setenv("CARRARA_CACHE", os.devnull + "/cache")
    monkeypatch.delenv("HOME", raising=False)
    assert carrara(*COMMANDS[name])[0] == 0


PLACES = {
    "a file": ("inputs/a.png", "there is a file where a folder should be"),
    "in a file": ("inputs/a.png/out", "there is a file where a folder should be"),
    "a long name": ("x" * 300, "the name is too long"),
    "a long name below": ("out/" + "x" * 300 + "/a.png", "the name is too long"),
    "a circle": ("circle", "there is a file where a folder should be"),
    "a pipe": ("pipe", "there is a file where a folder should be"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_place_that_is_none_is_told_of(name, place, here, carrara):
    (here / "circle").symlink_to("circle")
    os.mkfifo(here / "pipe")
    out, why = PLACES[place]
    if name in ("compare", "replay") and place in ("a file", "a circle", "a pipe"):
        pytest.skip("a file: a free name beside it is taken")
    before = contents(here)
    code, said = carrara(*ELSEWHERE[name][:-1], out)
    check_told(code, said)
    assert why in said and len(said.splitlines()[-1]) < 400
    assert contents(here) == before


@pytest.mark.parametrize("name", ["compare", "replay"])
def test_a_folder_where_a_file_should_be_is_told_of(name, here, carrara):
    before = contents(here)
    code, said = carrara(*ELSEWHERE[name][:-1], "inputs")
    check_told(code, said)
    assert "there is a folder where a file should be" in said and contents(here) == before


@pytest.mark.parametrize("run", ["inputs/a.png", "inputs/a.png/run", "x" * 300, "pipe"])
def test_a_new_run_in_no_place_is_told_of(run, here, carrara):
    os.mkfifo(here / "pipe")
    before = contents(here)
    code, said = carrara(*TRAIN, "--run", run)
    check_told(code, said)
    assert contents(here) == before


@pytest.mark.parametrize("number", sorted(REFUSALS))
def test_whatever_the_system_says_is_one_sentence(number, here, carrara):
    disk = Disk(2, number)
    code, said = started(here, carrara, COMMANDS["sample"])(disk)
    check_told(code, said)
    assert REFUSALS[number] in said


def test_a_mistake_of_the_system_elsewhere_is_one_sentence_too(here, carrara, monkeypatch):
    def broken(*given, **more):
        raise OSError(errno.EIO, "Input/output error", "the/file")

    monkeypatch.setattr("carrara.recipe.presets", broken)
    code, said = carrara("presets")
    assert code == 2 and said.startswith("'the/file' cannot be read or written: the disk reports a fault")
    monkeypatch.setattr("carrara.recipe.presets", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        carrara("presets")
