"""What files of runs and outputs are: pixels, numbers, weights, records, words. Nothing here depends on where they lie.

An item says what one file is:

========  ============================================================================================================
picture   the SHA-256 of its pixels, their shape, and some of them; the digests of its record, without what identifies
          weights and files, and of these marks
array     the SHA-256 of its values, and the values
numbers   the values of a log, of a measurement, or of a recipe
weights   the SHA-256 of a model's tensors, and the norm of all of them in each of its files
text      the words of a page, and the digests of its pictures' pixels
names     what caches and checkpoints are called
========  ============================================================================================================
"""

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from safetensors.numpy import load_file

Item = dict[str, Any]

SHOWN = 24
"""Of larger pictures every second, third, ... pixel is kept, so many along an edge at most; digests are of all."""
CACHES = ("checkpoints", "latents", "captions", "reference")
"""Folders of which the names are looked at, since the files in them say nothing that others do not."""
UNSEEN = ("trajectories", "pictures")
"""The same of which the names depend on where the run lies; and lists of data, which came later."""
LATER = {
    "classes": "auto",
    "split": "auto",
    "captions": "auto",
    "lines": "each",
    "repeats": "ignore",
    "metadata": "auto",
    "only": "all",
}
"""Keys of a folder that are not in what was recorded, and the values at which they say what was done before."""
CHANGING = ("seconds", "carrara", "sealed")
"""Fields that say how fast the machine was, or which version it was."""
HASHES = ("manifest.json",)
"""Files that say only what the bits of others are."""
MARKS = ("weights", "sha256", "teacher", "digest")
"""Fields that identify weights and files bit by bit."""
INLINE = re.compile(r"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")
ROWS = re.compile(r'<tr><th scope="row">(images a second|minutes)[^<]*</th>(<td>[^<]*</td>)+</tr>')
LATER_TOLD = re.compile(
    "|".join(
        [rf'<tr><th scope="row">data\.source\.{key}</th>(<td>({told}|—)</td>)+</tr>' for key, told in LATER.items()]
        + [r"\s+".join(f"{key}: {told}," for key, told in LATER.items()) + r"\s+"]
    )
)
TIMES = re.compile(r"\d[\d.,:]*( ?)(minutes?|images/s|images a second|seconds?)")


@dataclass(frozen=True)
class Made:
    """What a run or an output is.

    Attributes:
        files: by their names.
        said: what the calls printed, if that counts.
    """

    files: Mapping[str, Item]
    said: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """What was printed, without times, and however wide the terminal was."""
        return [worded(text) for text in self.said]


def look(folder: Path) -> dict[str, Item]:
    """What the files in a folder are, by their names; nothing, if there is no folder."""
    return dict(_items(folder, folder)) if folder.is_dir() else {}


def _items(root: Path, folder: Path) -> Iterator[tuple[str, Item]]:
    if folder.name in UNSEEN:
        return
    if folder.name in CACHES:
        yield str(folder.relative_to(root)), {"kind": "names", "names": sorted(path.name for path in folder.iterdir())}
        return
    if weights := sorted(folder.glob("*.safetensors")):
        yield str(folder.relative_to(root)), _weights(weights)
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _items(root, path)
        elif path.name not in HASHES and (read := READERS.get(path.suffix)) is not None:
            yield str(path.relative_to(root)), read(path)


def same(a: Item, b: Item | None) -> bool:
    """Whether two items are equal to the bit."""
    return b is not None and stable(a) == stable(b)


def stable(item: Item) -> str:
    """An item as text that two equal ones share."""
    return json.dumps({key: value for key, value in item.items() if key != "shown"}, sort_keys=True)


def sha256(*parts: bytes) -> str:
    """The SHA-256 of all parts, one after the other."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.hexdigest()


def worded(text: str) -> str:
    """Words without times, line breaks, and the folder that one is in."""
    return TIMES.sub(r"N\1\2", " ".join(text.split()).replace(f"{Path.cwd()}/", ""))


def split(value: Any, at: str = "") -> tuple[Any, list[tuple[str, Any]]]:
    """A record without its marks and what changes; and the marks, with their places."""
    marks: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        kept = {}
        for key, one in value.items():
            if key in MARKS and isinstance(one, str):
                marks.append((f"{at}.{key}", _within(one)))
            elif key not in CHANGING:
                kept[key], more = split(one, f"{at}.{key}")
                marks += more
        return kept, marks
    if isinstance(value, list):
        parts = [split(one, f"{at}.{k}") for k, one in enumerate(value)]
        return [part for part, _ in parts], [mark for _, more in parts for mark in more]
    return _within(value), marks


def _within(value: Any) -> Any:
    """A path as one finds it in the folder that one is in; anything else as it is."""
    return value.removeprefix(f"{Path.cwd()}/") if isinstance(value, str) else value


def _picture(path: Path) -> Item:
    with Image.open(path) as image:
        text = image.info.get("carrara")
        frames = np.stack([np.asarray(frame.convert(_mode(frame))) for frame in ImageSequence.Iterator(image)])
    item = _pixels(frames)
    if text is not None:
        record, marks = split(json.loads(text))
        item |= {"record": record, "marks": marks}
    return item


def _mode(image: Image.Image) -> str:
    return image.mode if image.mode in ("L", "RGB", "RGBA") else "RGB"


def _pixels(frames: NDArray[np.uint8]) -> Item:
    every = max(1, -(-max(frames.shape[1:3]) // SHOWN))
    shown = frames[0, every // 2 :: every, every // 2 :: every]
    return {"kind": "picture", "pixels": sha256(frames.tobytes()), "shape": list(frames.shape), "shown": shown}


def _array(path: Path) -> Item:
    values = np.load(path)
    return {"kind": "array", "pixels": sha256(values.tobytes()), "values": values.tolist()}


def _weights(paths: list[Path]) -> Item:
    parts, norms = list[bytes](), dict[str, float]()
    for path in paths:
        tensors = sorted(load_file(path).items())
        parts += [name.encode() + value.tobytes() for name, value in tensors]
        norms[path.stem] = float(np.sqrt(sum(np.square(value.astype(np.float64)).sum() for _, value in tensors)))
    return {"kind": "weights", "digest": sha256(*parts), "norms": norms}


def _lines(path: Path) -> Item:
    """Which step led is told by best/ itself, and stands in the lines since a later version."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [split({name: value for name, value in line.items() if name != "best"}) for line in found]
    return {"kind": "numbers", "values": [line for line, _ in lines], "marks": [m for _, more in lines for m in more]}


def _json(path: Path) -> Item:
    values, marks = split(json.loads(path.read_text(encoding="utf-8")))
    return {"kind": "numbers", "values": values, "marks": marks}


def _yaml(path: Path) -> Item:
    values, marks = split(_as_before(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return {"kind": "numbers", "values": values, "marks": marks}


def _as_before(value: Any) -> Any:
    """A recipe without the keys that came later, where these say what was done before there were any."""
    match value:
        case {"data": {"source": {"kind": "folder", **source} as whole}}:
            later = {key for key, default in LATER.items() if source.get(key) == default}
            kept = {key: told for key, told in whole.items() if key not in later}
            return {**value, "data": {**value["data"], "source": kept}}
        case _:
            return value


def _page(path: Path) -> Item:
    text = LATER_TOLD.sub("", path.read_text(encoding="utf-8"))
    pictures = list[str]()
    for found in INLINE.findall(text):
        with Image.open(io.BytesIO(base64.b64decode(found))) as image:
            pictures.append(sha256(np.asarray(image.convert("RGB")).tobytes()))
    return {"kind": "text", "text": worded(ROWS.sub("", INLINE.sub("", text))), "pictures": pictures}


READERS = {
    ".png": _picture,
    ".gif": _picture,
    ".webp": _picture,
    ".npy": _array,
    ".jsonl": _lines,
    ".json": _json,
    ".yaml": _yaml,
    ".html": _page,
}
