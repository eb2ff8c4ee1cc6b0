"""Run folders of strangers: configurations, manifests, weights, logs, locks and measurements."""

import io
from collections.abc import Iterator
from pathlib import Path

import torch
from strangers import Command, Place, fifo, harmless, hole, link, refused, rewrite, stranger, tensors

from carrara.files import sealed
from tiny import TINY


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
    yield harmless("evaluate", "own", "--metrics", "memorisation", "--samples", 4)
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
