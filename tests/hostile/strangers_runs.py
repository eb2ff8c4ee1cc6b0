"""Run folders of strangers: configurations, manifests, weights, logs, locks and measurements."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from strangers import SCRIPT, Command, Place, fifo, harmless, hole, link, picture, refused, rewrite, stranger, tensors
from tiny import TINY

from carrara.files import sealed


class Payload:
    """Runs Python where it is unpickled."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (self.code,)


def pickled(place: Place) -> bytes:
    """A pickle of torch's that runs something."""
    file = io.BytesIO()
    torch.save({"weight": Payload(place.payload)}, file)
    return file.getvalue()


def weights(place: Place) -> Path:
    """The file of a run's network."""
    return place.run() / "model" / "denoiser.safetensors"


def opened(place: Place, path: Path) -> Iterator[Command]:
    """Seals the folder of a spoilt file, and uses the run."""
    sealed.seal(path.parent)
    yield refused("inspect", "run")
    yield refused("sample", "run", "-n", 1, "--out", "out")


@stranger("nothing at all: training, sampling, editing and measuring")
def _(place: Place) -> Iterator[Command]:
    place.run()
    small = (*TINY, "train.minutes=null", "train.steps=2", "data.held_out=0.3")
    yield harmless("train", "photos", "--preset", "pixel", "--run", "own", *small)
    yield harmless("sample", "own", "red", "-n", 1, "--out", "out")
    yield harmless("edit", "own", "img2img", "photos/red/0.png", "-n", 1, "--out", "edited")
    yield harmless("evaluate", "own", "--metrics", "nll", "--report")
    yield harmless("evaluate", "own", "--metrics", "kid,memorisation", "--samples", 4)
    yield harmless("replay", "out/0000.png")
    yield harmless("compare", "own", "run", "--out", "comparison.html")


@stranger("a network of 10^12 numbers")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"]["backbone"].update(channels=1 << 18, multipliers=[1, 2, 4, 8]))
    yield refused("inspect", "run")
    yield refused("sample", "run", "-n", 1)
    yield refused("evaluate", "run")


@stranger("a network of a million blocks")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"]["backbone"].update(blocks=1_000_000))
    yield refused("sample", "run", "-n", 1)


@stranger("a network with 100,000 levels")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"]["backbone"].update(multipliers=[1] * 100_000))
    yield refused("sample", "run", "-n", 1)


@stranger("samples of 10^9 pixels an edge")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"].update(shape=[3, 10**9, 10**9]))
    yield refused("inspect", "run")


@stranger("a schedule of 10^12 steps")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"].update(schedule={"kind": "linear", "steps": 10**12}))
    yield refused("sample", "run", "-n", 1)


@stranger("a million classes")
def _(place: Place) -> Iterator[Command]:
    classes = [f"class {k}" for k in range(300_000)]
    place.model(lambda config: config["model"].update(conditioner={"kind": "labels", "classes": classes}))
    yield refused("sample", "run", "-n", 1)


@stranger("a sampler of 10^15 steps")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"]["sample"].update(steps=10**15))
    yield refused("sample", "run", "-n", 1)


@stranger("a configuration nested 10,000 deep")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "model" / "config.json"
    path.write_text('{"format": 1, "model": ' + "[" * 10_000 + "]" * 10_000 + "}")
    yield from opened(place, path)


@stranger("a configuration with a number of 100,000 digits")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "model" / "config.json"
    path.write_text('{"format": 1, "model": {"shape": [' + "9" * 100_000 + "]}}")
    yield from opened(place, path)


@stranger("a configuration of 2 GB")
def _(place: Place) -> Iterator[Command]:
    hole(place.run() / "model" / "config.json", 1 << 31)
    yield refused("inspect", "run")


@stranger("a configuration that is a pipe")
def _(place: Place) -> Iterator[Command]:
    fifo(place.run() / "model" / "config.json")
    yield harmless("inspect", "run")  # the checkpoint is taken
    yield refused("inspect", "run/model")


@stranger("a configuration that leads to somebody's secret")
def _(place: Place) -> Iterator[Command]:
    link(place.run() / "model" / "config.json", place.outside / "secret.json")
    yield refused("inspect", "run")
    yield refused("inspect", "run/model")


@stranger("weights that lead out of the folder")
def _(place: Place) -> Iterator[Command]:
    link(weights(place), place.outside / "secret.txt")
    yield refused("sample", "run", "-n", 1)


@stranger("a model that leads to another folder")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    (run / "model").rename(place.outside / "model")
    link(run / "model", place.outside / "model")
    yield refused("sample", "run", "-n", 1)


@stranger("weights that are a device")
def _(place: Place) -> Iterator[Command]:
    link(weights(place), "/dev/zero")
    yield refused("sample", "run", "-n", 1)


@stranger("weights that are a pickle")
def _(place: Place) -> Iterator[Command]:
    path = weights(place)
    path.write_bytes(pickled(place))
    yield from opened(place, path)


@stranger("weights that are a pickle, without a manifest")
def _(place: Place) -> Iterator[Command]:
    path = weights(place)
    path.write_bytes(pickled(place))
    (path.parent / "manifest.json").unlink()
    rewrite(path.parent / "config.json", lambda config: config.pop("sealed") and None)
    yield refused("--no-verify", "sample", "run/model", "-n", 1)
    yield refused("sample", "run/model", "-n", 1)


@stranger("tensors that lie over each other")
def _(place: Place) -> Iterator[Command]:
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    yield from opened(place, tensors(weights(place), {"a": one, "b": {**one, "data_offsets": [8, 24]}}, bytes(24)))


@stranger("a tensor that declares 10^15 numbers")
def _(place: Place) -> Iterator[Command]:
    one = {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4 * 10**15]}
    yield from opened(place, tensors(weights(place), {"a": one}, bytes(16)))


@stranger("a tensor with negative edges")
def _(place: Place) -> Iterator[Command]:
    one = {"dtype": "F32", "shape": [-4, -4], "data_offsets": [0, 64]}
    yield from opened(place, tensors(weights(place), {"a": one}, bytes(64)))


@stranger("a header of tensors of 100 MB")
def _(place: Place) -> Iterator[Command]:
    path = weights(place)
    hole(path, (100 << 20) + 8, (100 << 20).to_bytes(8, "little") + b"{")
    yield from opened(place, path)


@stranger("a header of tensors that is longer than its file")
def _(place: Place) -> Iterator[Command]:
    path = weights(place)
    path.write_bytes(((1 << 63) - 1).to_bytes(8, "little") + b"{}")
    yield from opened(place, path)


@stranger("a header of tensors nested 100,000 deep")
def _(place: Place) -> Iterator[Command]:
    yield from opened(place, tensors(weights(place), b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))


@stranger("a manifest with names outside its folder")
def _(place: Place) -> Iterator[Command]:
    path, name = place.run() / "model" / "manifest.json", f"../../../{place.outside.name}/secret.txt"
    rewrite(path, lambda manifest: manifest["files"].update({name: {"bytes": 8, "sha256": "0" * 64}}))
    yield refused("inspect", "run")


@stranger("a manifest with an absolute name")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "model" / "manifest.json"
    rewrite(path, lambda manifest: manifest["files"].update({"/etc/passwd": {"bytes": 8, "sha256": "0" * 64}}))
    yield refused("inspect", "run")


@stranger("a manifest of 150,000 files")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "model" / "manifest.json"
    more = {f"{k}": {"bytes": 8, "sha256": "0" * 64} for k in range(150_000)}
    rewrite(path, lambda manifest: manifest["files"].update(more))
    yield refused("inspect", "run")


@stranger("a manifest of a million files")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "model" / "manifest.json"
    path.write_text('{"files": {' + ",".join(f'"{k}": {{"bytes": 8, "sha256": ""}}' for k in range(10**6)) + "}}")
    yield refused("inspect", "run")


@stranger("a manifest with a name of half a character and an escape")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "model" / "manifest.json"
    rewrite(path, lambda manifest: manifest["files"].update({"\x1b]0;owned\x07": {"bytes": 8, "sha256": "0" * 64}}))
    yield refused("inspect", "run")


@stranger("checkpoints with absurd numbers")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    for name in ("step-" + "9" * 200, "step-²", "step--1", "step-1e9"):
        (run / "checkpoints" / name).mkdir(parents=True)
    yield refused("sample", "run", "-n", 1)


@stranger("a checkpoint that is a pickle")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    newest = max((run / "checkpoints").glob("step-*"), key=lambda path: path.name)
    newest = newest.rename(newest.with_name("step-1000"))
    (newest / "ema.safetensors").write_bytes(pickled(place))
    sealed.seal(newest)
    yield refused("sample", "run", "-n", 1)
    yield refused("train", "photos", "--run", "run")


@stranger("a checkpoint's state with other types")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    for step in (run / "checkpoints").glob("step-*"):
        rewrite(step / "state.json", lambda state: {name: [[]] for name in state})
        sealed.seal(step)
    yield refused("train", "photos", "--run", "run", "train.steps=4")


@stranger("a log of 10 million lines")
def _(place: Place) -> Iterator[Command]:
    (place.run() / "log.jsonl").write_bytes(b'{"a": 1}\n' * 10_000_000)
    yield harmless("inspect", "run")


@stranger("a log of 2 million steps")
def _(place: Place) -> Iterator[Command]:
    line = b'{"step": 1, "images": 1, "seconds": 1, "loss": 1}\n'
    (place.run() / "log.jsonl").write_bytes(line * 2_000_000)
    yield harmless("inspect", "run")


@stranger("a log that is one line of 500 MB")
def _(place: Place) -> Iterator[Command]:
    hole(place.run() / "log.jsonl", 500 << 20, b"{")
    yield harmless("inspect", "run")


@stranger("logs that are a pipe and a device")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    fifo(run / "log.jsonl")
    link(run / "held_out.jsonl", "/dev/zero")
    yield harmless("inspect", "run")
    yield harmless("evaluate", "run", "--report")


@stranger("a log of numbers that are none")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    bad = ("NaN", "1e999", "-Infinity", "null", "[]", "true", "9" * 4000, '"\\ud800"', "1e308", "-1e308", "{}")
    lines = [f'{{"step": {k}, "images": {b}, "seconds": {b}, "loss": {b}, "loss@t=0.5": {b}}}' for k, b in enumerate(bad)]
    (run / "log.jsonl").write_text("\n".join(lines))
    (run / "held_out.jsonl").write_text("\n".join(lines))
    yield harmless("inspect", "run")
    yield harmless("evaluate", "run", "--report")


@stranger("a lock that leads to somebody's file")
def _(place: Place) -> Iterator[Command]:
    link(place.run() / ".lock", place.outside / "secret.txt")
    yield refused("train", "photos", "--run", "run", "train.steps=3")


@stranger("a lock that is a pipe")
def _(place: Place) -> Iterator[Command]:
    fifo(place.run() / ".lock")
    yield refused("train", "photos", "--run", "run", "train.steps=3")


@stranger("a lock of 10 GB with another holder")
def _(place: Place) -> Iterator[Command]:
    hole(place.run() / ".lock", 10 << 30, b'{"process": 1, "host": "x", "since": "y"}')
    yield harmless("inspect", "run")


@stranger("a lock that is held by a name of escapes")
def _(place: Place) -> Iterator[Command]:
    holder = {"process": 10**30, "host": "\x1b]0;owned\x07[/]" * 50, "since": "\x1b[31m"}
    (place.run() / ".lock").write_text(json.dumps(holder))
    yield harmless("inspect", "run")
    yield refused("train", "photos", "--run", "run", "train.steps=3")


@stranger("a preview that is a pipe")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    for k in range(3):
        fifo(run / "samples" / f"step-{k}.png")
    fifo(run / "samples" / "other" / "grid.png")
    yield harmless("evaluate", "run", "--report")


@stranger("measurements that are none")
def _(place: Place) -> Iterator[Command]:
    (place.run() / "evaluation").mkdir(exist_ok=True)
    (place.folder / "run" / "evaluation" / "nll.json").write_text("[" * 5000 + "]" * 5000)
    yield refused("evaluate", "run", "--report")


@stranger("measurements that are pipes")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    fifo(run / "evaluation" / "nll.json")
    yield refused("evaluate", "run", "--report")
    (run / "evaluation" / "nll.json").unlink()
    (run / "evaluation" / "kid.json").write_text("{}")
    fifo(run / "evaluation" / "kid.png")
    yield harmless("evaluate", "run", "--report")


@stranger("measurements that write a page")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    (run / "evaluation").mkdir(exist_ok=True)
    (run / "evaluation" / "nll.json").write_text(json.dumps({SCRIPT: SCRIPT, "[/]": "[/]", "\x1b]0;x\x07": 1}))
    place.run("other")
    yield harmless("evaluate", "run", "--report")
    yield harmless("compare", "run", "other", "--out", "comparison.html")


@stranger("the picture of a measurement, which leads to somebody's")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    (run / "evaluation").mkdir(exist_ok=True)
    (run / "evaluation" / "kid.json").write_text("{}")
    link(run / "evaluation" / "kid.png", place.outside / "secret.png")
    yield refused("evaluate", "run", "--report")


@stranger("a page that leads to somebody's file")
def _(place: Place) -> Iterator[Command]:
    (place.run() / "evaluation").mkdir(exist_ok=True)
    link(place.folder / "run" / "evaluation" / "report.html", place.outside / "secret.txt")
    yield harmless("evaluate", "run", "--report")  # a link's place is taken, not what it leads to


@stranger("an evaluation folder that leads elsewhere")
def _(place: Place) -> Iterator[Command]:
    link(place.run() / "evaluation", place.outside)
    yield refused("evaluate", "run", "--report")


@stranger("a run's name that is markup, an option and an escape")
def _(place: Place) -> Iterator[Command]:
    for name in ("[/][bold]x", "\x1b]0;owned\x07", "a\nb"):
        place.run(name)
        yield harmless("inspect", f"./{name}")
        yield harmless("evaluate", f"./{name}", "--report")
        yield refused("sample", f"./{name}/nothing")


@stranger("what is known about a model, in markup and escapes")
def _(place: Place) -> Iterator[Command]:
    strange = {"data": "[/]\x1b]0;x\x07", "examples": "\x1b[31m", "fingerprint": "[red]\nx"}
    place.model(lambda config: config["about"].update(strange))
    yield harmless("inspect", "run")
    yield harmless("sample", "run", "-n", 1, "--out", "out")
    yield harmless("evaluate", "run", "--report")


@stranger("classes in markup and escapes")
def _(place: Place) -> Iterator[Command]:
    place.model(lambda config: config["model"]["conditioner"].update(classes=["[/]\x1b]0;x\x07", SCRIPT]))
    yield harmless("inspect", "run")
    yield refused("sample", "run", "nothing")
    yield harmless("evaluate", "run", "--report")


@stranger("a run in a folder that leads to itself")
def _(place: Place) -> Iterator[Command]:
    run = place.run()
    (run / "samples" / "deep").mkdir(parents=True)
    os.symlink("..", run / "samples" / "deep" / "again")
    picture(run / "samples" / "deep" / "grid.png")
    yield harmless("evaluate", "run", "--report")
