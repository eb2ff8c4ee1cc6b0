"""What was recorded, and how far something made anew is from it.

On the machine of the recording, or one like it, everything is equal to the bit. Elsewhere sums are rounded otherwise:
there pictures, numbers and norms may differ a little, and what identifies bits is not looked at.
"""

import importlib.metadata
import json
import math
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from reading import Item, Made, sha256

RECORDED = Path(__file__).with_name("recorded") / "corpus.json"

LEVELS = 2.0
"""Elsewhere: how far a picture's pixels may be off in the mean, of 255 levels."""
RELATIVE = 1e-2
"""Elsewhere: how far a number may be off, in parts of itself."""
ABSOLUTE = 1e-2
"""Elsewhere: how far it may be off in any case."""
PACKAGES = ("torch", "numpy", "pillow", "safetensors")
"""On whose versions bits depend."""
DIGEST = re.compile(r"\b[0-9a-f]{16,64}\b")
DIGITS = re.compile(r"[\d.e+-]*\d[\d.e+-]*")
VERDICT = re.compile(r": (every pixel is the same|it differs: .*?made it)")

Entry = dict[str, Any]
"""A run or an output as it is recorded: ``files``, the full ``records`` of some, and what was ``said``."""


def environment() -> dict[str, Any]:
    """What bits depend on."""
    return {name: importlib.metadata.version(name).partition("+")[0] for name in PACKAGES} | {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "vendor": _vendor(),
        "avx512_bf16": bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()),
        "threads": torch.get_num_threads(),
    }


def _vendor() -> str:
    """Who made the processor: the library that multiplies matrices takes other ways on Intel's."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


@dataclass
class Corpus:
    """Everything that was made, in a form that can be written.

    Attributes:
        header: of which commit it is, and its ``environment``.
        entries: ``run/NAME`` and ``out/NAME``.
        shown: of each picture some pixels, by the SHA-256 of all of them.
    """

    header: dict[str, Any]
    entries: dict[str, Entry] = field(default_factory=dict)
    shown: dict[str, NDArray[np.uint8]] = field(default_factory=dict)

    def add(self, name: str, made: Made) -> None:
        """Takes something in."""
        self.entries[name] = entry(made)
        self.shown |= shown(made)

    def save(self, path: Path) -> None:
        """Writes two files: the pixels beside the JSON, as an array of bytes in the order of their digests."""
        path.parent.mkdir(parents=True, exist_ok=True)
        order = sorted(self.shown)
        shapes = {key: list(self.shown[key].shape) for key in order}
        parts = [f"{json.dumps(name)}: {_compact(self.entries[name])}" for name in sorted(self.entries)]
        entries = ",\n".join(parts)
        path.write_text(
            f'{{"header": {json.dumps(self.header)},\n"entries": {{\n{entries}\n}},\n"shown": {_compact(shapes)}}}\n',
            encoding="utf-8",
        )
        values = [self.shown[key].ravel() for key in order] or [np.zeros(0, np.uint8)]
        np.savez_compressed(path.with_suffix(".npz"), pixels=np.concatenate(values))

    @classmethod
    def load(cls, path: Path = RECORDED) -> "Corpus":
        """Reads them."""
        read = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz")) as file:
            values = file["pixels"]
        corpus, at = cls(header=read["header"], entries=read["entries"]), 0
        for key, shape in read["shown"].items():
            corpus.shown[key] = values[at : at + math.prod(shape)].reshape(shape)
            at += math.prod(shape)
        return corpus

    def exact(self) -> bool:
        """Whether this machine makes the bits that were recorded."""
        return self.header["environment"] == environment()

    def differences(self, name: str, made: Made) -> list[str]:
        """How something made anew differs from what was recorded; nothing, if it is the same."""
        if name not in self.entries:
            return ["was never recorded"]
        if self.exact():
            return list(_differing(self.entries[name], entry(made), self.shown, shown(made)))
        return list(_far(self.entries[name], entry(made), self.shown, shown(made)))


def entry(made: Made) -> Entry:
    """As it is recorded: of the pictures' records the first one in full, of all others the digests."""
    files, records = dict[str, Item](), dict[str, Any]()
    for name in sorted(made.files):
        item = {key: value for key, value in made.files[name].items() if key != "shown"}
        if "record" in item:
            if not records:
                records[name] = item["record"]
            item["record"] = sha256(_compact(item["record"]).encode())[:16]
        if "marks" in item:
            item["marks"] = sha256(_compact(item["marks"]).encode())[:16]
        files[name] = item
    return json.loads(json.dumps({"files": files, "records": records, "said": made.words}))


def shown(made: Made) -> dict[str, NDArray[np.uint8]]:
    """The pixels of its pictures that are kept."""
    return {item["pixels"]: item["shown"] for item in made.files.values() if "shown" in item}


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


Pixels = Mapping[str, NDArray[np.uint8]]


def _differing(old: Entry, new: Entry, before: Pixels, after: Pixels) -> Iterator[str]:
    """All that is not equal to the bit."""
    for name, one, other in _pairs(old, new):
        for key in sorted(one.keys() | other.keys()):
            a, b = one.get(key), other.get(key)
            if a == b:
                continue
            if key == "pixels" and one["kind"] == "picture":
                yield f"{name}: {_levels(before[a], after[b])}"
            elif key in ("values", "norms"):
                yield from (f"{name}: {text}" for text in _unequal(a, b))
            elif isinstance(a, str) and isinstance(b, str) and len(a) > 64:
                yield f"{name}: {_words(a, b)}"
            else:
                yield f"{name}: {key} was {a}, and is {b}"
    yield from (f"record of {text}" for text in _unequal(old["records"], new["records"]))
    yield from (f"said: {_words(a, b)}" for a, b in zip(old["said"], new["said"], strict=False) if a != b)


def _far(old: Entry, new: Entry, before: Pixels, after: Pixels) -> Iterator[str]:
    """All that is not alike."""
    for name, one, other in _pairs(old, new):
        match one["kind"]:
            case "picture":
                if one["shape"] != other["shape"] or one.get("record") != other.get("record"):
                    yield f"{name}: another shape or record"
                elif _off(before[one["pixels"]], after[other["pixels"]]) > LEVELS:
                    yield f"{name}: {_levels(before[one['pixels']], after[other['pixels']])}"
            case "array" | "numbers":
                yield from (f"{name}: {text}" for text in _unequal(one["values"], other["values"], near=True))
            case "weights":
                yield from (f"{name}: {text}" for text in _unequal(one["norms"], other["norms"], near=True))
            case "text" if _plain(one["text"]) != _plain(other["text"]):
                yield f"{name}: {_words(_plain(one['text']), _plain(other['text']))}"
            case _:
                pass
    yield from (f"record of {text}" for text in _unequal(old["records"], new["records"], near=True))
    for a, b in zip(map(_plain, old["said"]), map(_plain, new["said"]), strict=False):
        if a != b:
            yield f"said: {_words(a, b)}"


def _pairs(old: Entry, new: Entry) -> Iterator[tuple[str, Item, Item]]:
    names = sorted(old["files"].keys() | new["files"].keys())
    for name in names:
        one, other = old["files"].get(name), new["files"].get(name)
        if one is None or other is None or one["kind"] != other["kind"]:
            kinds = ["nothing" if item is None else item["kind"] for item in (one, other)]
            yield name, {"kind": "file", "is": kinds[0]}, {"kind": "file", "is": kinds[1]}
        else:
            yield name, one, other


def _unequal(a: Any, b: Any, at: str = "", *, near: bool = False) -> Iterator[str]:
    """The places at which two values differ, and by how much."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *(key for key in b if key not in a)]:
            yield from _unequal(a.get(key), b.get(key), f"{at}.{key}" if at else key, near=near)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for k, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _unequal(one, other, f"{at}[{k}]", near=near)
    elif near and _is_number(a) and _is_number(b):
        if not math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            yield f"{at} was {a!r}, and is {b!r}"
    elif a != b and not (near and isinstance(a, str) and isinstance(b, str) and _plain(a) == _plain(b)):
        yield f"{at} was {a!r}, and is {b!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _off(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean()) if a.shape == b.shape else math.inf


def _levels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> str:
    if a.shape != b.shape:
        return f"of shape {a.shape}, and now {b.shape}"
    far = np.abs(a.astype(int) - b.astype(int))
    return f"{(far > 0).mean():.0%} of the values differ, by {far.mean():.3g} levels in the mean, {far.max()} at most"


def _plain(text: str) -> str:
    """A text without its numbers and digests, and without the verdict on a picture that was made again."""
    return DIGITS.sub("N", DIGEST.sub("D", VERDICT.sub("", text)))


def _words(a: str, b: str) -> str:
    """Where two texts part."""
    k = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"...{a[max(0, k - 40) : k + 60]!r}... and now ...{b[max(0, k - 40) : k + 60]!r}..."


def summary(differences: Sequence[str]) -> str:
    """One line."""
    if not differences:
        return "equal"
    more = f"; and {len(differences) - 2} more" if len(differences) > 2 else ""
    return f"differs: {'; '.join(differences[:2])}{more}"
