"""Run folders of strangers: logs, locks, measurements, previews and names."""

import json
from collections.abc import Iterator

from strangers import SCRIPT, Command, Place, fifo, harmless, hole, link, picture, refused, stranger


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
    lines = [
        f'{{"step": {k}, "images": {b}, "seconds": {b}, "loss": {b}, "loss@t=0.5": {b}}}' for k, b in enumerate(bad)
    ]
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
    holder = {"process": 12, "host": "\x1b]0;owned\x07[/]" * 50, "since": "\x1b[31m"}
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
    yield harmless("evaluate", "run", "--report")


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
    for name in ("[bold]x[red]", "\x1b]0;owned\x07", "--run"):
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
    link(run / "samples" / "deep" / "again", "..")
    picture(run / "samples" / "deep" / "grid.png")
    yield harmless("evaluate", "run", "--report")
