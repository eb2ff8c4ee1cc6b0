"""The corpus of hostile things: what a stranger may send, and what must come of it.

Each is a function that makes something in a folder and yields the commands that a user would run on it, each with how
it must end: ``refused`` is exit code 2 and one sentence, ``harmless`` is a normal end.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, PngImagePlugin

from carrara.files import sealed

End = Literal["refused", "harmless"]
SCRIPT = '<script>alert(1)</script>"><img src=x onerror=alert(1)>&amp;'
"""A text that becomes part of a page which does not escape it."""
TERMINAL = "\x1b]0;owned\x07\x1b[31m[bold red][/]\r"
"""A text that changes the title and the colours of a terminal which prints it."""


@dataclass(frozen=True)
class Command:
    """What a user runs, and how it must end."""

    arguments: Sequence[str]
    end: End


@dataclass(frozen=True)
class Place:
    """Where a case is made.

    Attributes:
        folder: of the case, the current one: what is in it may be read, and written.
        outside: a folder with secrets, which nobody may read.
        material: good things, to be copied and spoilt.
        marker: whoever runs what is hostile makes a file of this name.
    """

    folder: Path
    outside: Path
    material: Path
    marker: Path

    def copy(self, name: str, target: str | None = None) -> Path:
        """A copy of something good."""
        path = self.folder / (target or name)
        shutil.copytree(self.material / name, path)
        return path

    def run(self, target: str = "run") -> Path:
        """A good run with its data, which are where its recipe says."""
        if not (self.folder / "photos").exists():
            self.copy("photos")
        run = self.copy("run", target)
        recipe = run / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace(str(self.material), str(self.folder)))
        return run

    def model(self, spoil: Callable[[dict[str, Any]], object]) -> Path:
        """A run whose model's configuration is another one, and sealed as that."""
        run = self.run()
        rewrite(run / "model" / "config.json", spoil)
        sealed.seal(run / "model")
        return run

    def drawn(self) -> Path:
        """A picture that the good run drew; the run is beside it."""
        self.run()
        return self.folder / "run" / "samples" / "sample" / "0000.png"

    @property
    def payload(self) -> str:
        """Python that leaves the marker."""
        return f"open({str(self.marker)!r}, 'w').write('executed')\n"


Make = Callable[[Place], Iterator[Command]]
CASES: dict[str, Make] = {}


def stranger(name: str) -> Callable[[Make], Make]:
    """Enters a function into the corpus."""

    def enter(make: Make) -> Make:
        assert name not in CASES, name
        CASES[name] = make
        return make

    return enter


def refused(*arguments: object) -> Command:
    """A command that ends with exit code 2 and one sentence."""
    return Command([str(argument) for argument in arguments], "refused")


def harmless(*arguments: object) -> Command:
    """A command that ends well: what is hostile is passed over, or does nothing."""
    return Command([str(argument) for argument in arguments], "harmless")


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    """Changes the value of a JSON file; what ``change`` returns takes its place, unless it is None."""
    value = json.loads(path.read_text())
    made = change(value)
    path.write_text(json.dumps(value if made is None else made))


def hole(path: Path, size: int, begins: bytes = b"") -> Path:
    """A file that says that it is large, and has no blocks on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(begins)
        file.truncate(size)
    return path


def fifo(path: Path) -> Path:
    """A pipe, from which reading waits for ever."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def link(path: Path, target: str | Path) -> Path:
    """A link, in the place of what there is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
    return path


def picture(path: Path, size: int = 20) -> Path:
    """A good picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)).save(path)
    return path


def spoilt_record(image: Path, spoil: Callable[[dict[str, Any]], object], target: Path | None = None) -> Path:
    """A copy of a picture whose record is another one."""
    with Image.open(image) as opened:
        opened.load()
        about = json.loads(opened.info["carrara"])
        made = spoil(about)
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("carrara", made if isinstance(made, str) else json.dumps(about if made is None else made))
        path = target or image.with_name("hostile.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        opened.save(path, pnginfo=chunks)
    return path


def tensors(path: Path, header: Mapping[str, Any] | bytes, body: bytes = b"") -> Path:
    """A safetensors file that says what one likes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path
