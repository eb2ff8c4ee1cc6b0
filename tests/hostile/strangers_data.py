"""Data and recipes of strangers: captions, metadata.jsonl, folders that lead elsewhere, YAML."""

import json
from collections.abc import Iterator
from pathlib import Path

from strangers import TERMINAL, Command, Place, fifo, harmless, hole, link, refused, stranger

from tiny import TINY

REHEARSE = ("train", "photos", "--preset", "pixel", "--dry-run", *TINY)


def described(place: Place, *lines: object) -> Path:
    """Good pictures with a ``metadata.jsonl``."""
    path = place.copy("photos") / "metadata.jsonl"
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def learned(*more: str) -> tuple[object, ...]:
    """A rehearsal that reads captions."""
    network = "model.backbone={kind: unet, channels: 8, multipliers: [1, 2], attention_levels: [1], head_width: 8, "
    network += "context_width: 0, transformer_depths: [0, 1]}"
    return (*REHEARSE, network, "model.conditioner=text", "objective.drop=0.1", *more)


@stranger("a caption of a gigabyte")
def _(place: Place) -> Iterator[Command]:
    hole(place.copy("photos") / "red" / "0.txt", 1 << 30)
    yield harmless("inspect", "data", "photos")
    yield harmless(*learned())


@stranger("captions that are a pipe and a device")
def _(place: Place) -> Iterator[Command]:
    photos = place.copy("photos")
    fifo(photos / "red" / "0.txt")
    link(photos / "red" / "1.txt", "/dev/zero")
    link(photos / "red" / "2.txt", "/proc/self/environ")
    yield harmless("inspect", "data", "photos")
    yield harmless(*learned())


@stranger("captions in markup, escapes and other bytes")
def _(place: Place) -> Iterator[Command]:
    photos = place.copy("photos")
    (photos / "red" / "0.txt").write_text(TERMINAL * 100)
    (photos / "red" / "1.txt").write_bytes(b"\xff\xfe\0\0\x80" * 100)
    (photos / "red" / "2.txt").write_text("(a:nan) ((((" * 50)
    yield harmless("inspect", "data", "photos")
    yield harmless(*learned())


@stranger("metadata of a file above the folder")
def _(place: Place) -> Iterator[Command]:
    described(place, {"file_name": f"../../{place.outside.name}/secret.png", "text": "x"})
    yield refused("inspect", "data", "photos")
    yield refused(*REHEARSE)


@stranger("metadata of an absolute name")
def _(place: Place) -> Iterator[Command]:
    described(place, {"file_name": str(place.outside / "secret.png"), "text": "x"})
    yield refused("inspect", "data", "photos")


@stranger("metadata with a map above the folder")
def _(place: Place) -> Iterator[Command]:
    described(place, {"file_name": "red/0.png", "map": f"../../{place.outside.name}/secret.png"})
    yield refused("inspect", "data", "photos")


@stranger("metadata that are a pipe")
def _(place: Place) -> Iterator[Command]:
    fifo(described(place))
    yield refused("inspect", "data", "photos")
    yield refused(*REHEARSE)


@stranger("metadata that are a device")
def _(place: Place) -> Iterator[Command]:
    link(described(place), "/dev/zero")
    yield refused("inspect", "data", "photos")


@stranger("metadata of one line of 2 GB")
def _(place: Place) -> Iterator[Command]:
    hole(described(place), 2 << 30, b'{"file_name": "')
    yield refused("inspect", "data", "photos")


@stranger("metadata nested 100,000 deep")
def _(place: Place) -> Iterator[Command]:
    described(place, '{"file_name": "red/0.png", "text": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    yield refused("inspect", "data", "photos")


@stranger("metadata with a vector of 10^30 and classes of escapes")
def _(place: Place) -> Iterator[Command]:
    described(place, {"file_name": "red/0.png", "vector": [10**30, 1e308], "label": [TERMINAL, "[/]"]})
    yield refused("inspect", "data", "photos")


@stranger("metadata with classes of escapes")
def _(place: Place) -> Iterator[Command]:
    described(place, {"file_name": "red/0.png", "label": [TERMINAL, "[/]"]}, {"file_name": "red/1.png", "label": "b"})
    yield harmless("inspect", "data", "photos")
    yield harmless(*REHEARSE)


@stranger("metadata with text that is no text")
def _(place: Place) -> Iterator[Command]:
    described(place, '{"file_name": "red/0.png", "text": "\\ud800"}\n')
    yield refused("inspect", "data", "photos")


@stranger("metadata of a file whose name is none")
def _(place: Place) -> Iterator[Command]:
    described(place, {"file_name": "red/\x000.png"})
    yield refused("inspect", "data", "photos")


@stranger("a folder that leads to the system, to all and to itself")
def _(place: Place) -> Iterator[Command]:
    photos = place.copy("photos")
    for name, target in {"a": "/proc", "b": "/", "c": ".", "d": "..", "e": "/sys", "f": "/dev"}.items():
        link(photos / name, target)
    yield harmless("inspect", "data", "photos")
    yield harmless(*REHEARSE)


def recipe(place: Place, text: str) -> Command:
    """A recipe file is refused."""
    place.copy("photos")
    (place.folder / "strange.yaml").write_text(text)
    return refused("train", "--preset", "strange.yaml", "--dry-run")


@stranger("a recipe of aliases that are a billion")
def _(place: Place) -> Iterator[Command]:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    yield recipe(place, "\n".join(lines))


@stranger("a recipe that merges a billion mappings")
def _(place: Place) -> Iterator[Command]:
    lines = ["a: &a {x: 1}"]
    lines += [f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    yield recipe(place, "\n".join(lines))


@stranger("a recipe that holds itself")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, "train: &t\n  batch: *t\n")


@stranger("a recipe with Python objects")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, f"train: !!python/object/apply:os.system ['touch {place.marker}']\n")


@stranger("a recipe with a Python module")
def _(place: Place) -> Iterator[Command]:
    (place.folder / "own.py").write_text(place.payload)
    yield recipe(place, "train: !!python/module:own\ndata: !!python/name:own.x\n")


@stranger("a recipe of 100 MB")
def _(place: Place) -> Iterator[Command]:
    command = recipe(place, "")
    hole(place.folder / "strange.yaml", 100 << 20, b"train:\n")
    yield command


@stranger("a recipe nested 10,000 deep")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, "train: " + "[" * 10_000 + "]" * 10_000)


@stranger("a recipe of 60,000 opening brackets")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, "{" * 60_000)
    yield recipe(place.__class__(place.folder / "b", place.outside, place.material, place.marker), "- " * 60_000)


@stranger("a recipe with a number of 100,000 digits")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, "train: {batch: " + "9" * 100_000 + "}\n")


@stranger("a recipe with a number to base 60")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, "train: {batch: 1" + ":59" * 30_000 + "}\n")


@stranger("a recipe that is a pipe")
def _(place: Place) -> Iterator[Command]:
    command = recipe(place, "")
    fifo(place.folder / "strange.yaml")
    yield command


@stranger("a recipe that is a device")
def _(place: Place) -> Iterator[Command]:
    command = recipe(place, "")
    link(place.folder / "strange.yaml", "/dev/zero")
    yield command


@stranger("a recipe in markup and escapes")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, 'preset: digits\n"\\e]0;owned\\a[/]": 1\n')


@stranger("a recipe whose values are escapes")
def _(place: Place) -> Iterator[Command]:
    yield recipe(place, 'data: {source: "\\e]0;owned\\a[/]\\n"}\n')


@stranger("a recipe with a batch of 10^12 and pictures of 10^6")
def _(place: Place) -> Iterator[Command]:
    place.copy("photos")
    yield refused(*REHEARSE, "data.size=1000000")
    yield refused(*REHEARSE, "train.batch=1000000000000")


@stranger("a run's recipe whose data are a pipe, a device, a secret")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "recipe.yaml"
    text = path.read_text()
    fifo(place.folder / "pipe")
    for source in ("pipe", "/dev/zero", str(place.outside / "secret.txt")):
        path.write_text(text.replace(str(place.folder / "photos"), source))
        yield refused("evaluate", "run", "--metrics", "nll")
        yield harmless("evaluate", "run", "--report")


@stranger("a run's recipe that is no recipe")
def _(place: Place) -> Iterator[Command]:
    path = place.run() / "recipe.yaml"
    for text in (
        "[]",
        "a: &a [*a]",
        "preset: digits\ndata: 1",
        "{preset: 1, train: {steps: 1}}",
        "\0",
        "preset: " + "x" * 5000,
    ):
        path.write_text(text)
        yield refused("evaluate", "run", "--report")
