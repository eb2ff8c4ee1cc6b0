"""What is in data and what is wrong with it, found out in the background when it is first asked for.

Everything said comes from ``data.inspection``, from what sources describe of their files, or from an opened data set.
"""

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any, Literal, final

from PIL import Image

from carrara.data import FolderSource, Source, as_source, inspect_folder
from carrara.data.inspection import DataReport, contact_rows, sheet_picture
from carrara.errors import UserError
from carrara.files import Stamp, stamp_of
from carrara.medium import sheet_of
from carrara.recipe.loading import load, presets
from carrara.run.plan import preset_for
from carrara.serve.datasets import Datasets, Offered
from carrara.serve.previews import encoded, fitted
from carrara.serve.said import Missing, sentence
from carrara.shapes import by

MOST = 32
"""Data of which it is remembered what is in them."""
EDGE = 1600
"""The longest edge of a sheet, in pixels."""
_EXAMPLES = 6
SAYS: Mapping[str, str] = {
    "corrupt": "cannot be read",
    "truncated": "are cut off",
    "oversized": "are too large to be read",
    "duplicate": "have the same content as others",
    "near copy": "are nearly the same as others",
    "in two classes": "are in several classes at once",
    "turned": "seem to be turned",
    "turned copy": "are turned copies of others",
    "blurred": "are blurred",
    "blank": "are of one colour",
    "no caption": "have no caption, while others do",
    "empty caption": "are captions with nothing in them",
    "empty class": "are folders without a picture",
    "passed over": "are passed over",
}
"""What follows on how many files there are of a finding."""
_DOUBTFUL = ("duplicates", "near copies", "two classes", "turned", "turned copy", "blurred", "blank", "passed over")
_REMARKS = ("taken as", "left out", "suggested")
_TITLE = 15
UNSUITED = ("few-step", "tiny-decoder")
"""Presets of what learns from another model."""


@dataclass(eq=False)
class Inspection:
    """What is known of data until now.

    Attributes:
        sheet: a picture of some of them, as WebP.
    """

    offered: Offered
    stamp: Stamp
    state: Literal["looking", "ready", "failed"] = "looking"
    done: int = 0
    total: int = 0
    message: str | None = None
    facts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    remarks: list[str] = field(default_factory=list[str])
    findings: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sheet: bytes | None = None
    preset: str = ""

    @property
    def shown(self) -> dict[str, Any]:
        """As the page has it."""
        own = {
            "id": self.offered.id,
            "title": self.offered.title,
            "state": self.state,
        }  # the state first: it comes last
        names = ("done", "total", "message", "facts", "remarks", "findings", "preset")
        url = None if self.sheet is None else f"/api/data/{self.offered.id}/sheet?of={self.stamp[1]}"
        offered = [{"name": name, "purpose": purpose} for name, purpose in suited(self.offered.kind).items()]
        return {**own, **{name: getattr(self, name) for name in names}, "sheet": url, "presets": offered}


@final
class Inspections:
    """What was asked for."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets, self._lock = datasets, RLock()
        self._known: OrderedDict[str, Inspection] = OrderedDict()
        self._waiting: list[Inspection] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="carrara-inspection")

    def of(self, name: str) -> Inspection:
        """What is known of data; looking begins with the first asking, and again when they have changed.

        Raises:
            Missing: there are none of this id.
        """
        offered = self._datasets.find(name)
        stamp = (0, 0, 0) if offered.builtin else stamp_of(Path(offered.source))
        with self._lock:
            found = self._known.get(name)
            if found is None or found.offered != offered or (found.stamp != stamp and found.state != "looking"):
                found = self._known[name] = Inspection(offered=offered, stamp=stamp)
                self._waiting.append(found)
                self._pool.submit(self._look_at_one)
            self._known.move_to_end(name)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return found

    def sheet(self, name: str) -> bytes:
        """A picture of some of the data, as WebP.

        Raises:
            Missing: there is none, or not yet.
        """
        if (found := self.of(name).sheet) is None:
            raise Missing("there is no picture of these data yet")
        return found

    def _look_at_one(self) -> None:
        """Looks into what was asked about last: who walks through a list waits for where they stopped."""
        with self._lock:
            asked = {found: place for place, found in enumerate(self._known.values())}
            found = max(self._waiting, key=lambda one: asked.get(one, -1))
            self._waiting.remove(found)
        _look(found)

    def close(self) -> None:
        """Begins nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@cache
def suited(kind: str) -> dict[str, str]:
    """The presets that data of a kind may be trained by, with what each is for, and the usual one first."""
    known = {name: text for name, text in presets().items() if name not in UNSUITED}
    pictures = SIMILAR["folder"]
    fit = [name for name in known if name in SIMILAR.get(kind, pictures) or _source_of(name) == kind]
    return {name: known[name] for name in fit}


def _presets_of(*names: str) -> frozenset[str]:
    return frozenset(names)


_PICTURES = ("pixel", "latent", "autoencoder-kl-f4", "autoencoder-vq-f4", "classifier", "ddpm-cifar", "inpaint")
_SOUNDS = ("sound", "sound-latent", "classifier")
SIMILAR: Mapping[str, frozenset[str]] = {
    "folder": _presets_of(*_PICTURES, "upscale-x4", "segmentation", "sprites"),
    "digits": _presets_of("pixel", "classifier", "inpaint"),
    "openmoji": _presets_of(*_PICTURES, "upscale-x4", "segmentation"),
    "sound": _presets_of(*_SOUNDS),
    "tones": _presets_of(*_SOUNDS),
    "songs": _presets_of("chorales"),
    "chorales": _presets_of("chorales"),
    "array": _presets_of("array", "volume"),
    "table": _presets_of("table"),
    **{name: _presets_of("swissroll") for name in ("moons", "rings", "checkerboard", "swissroll")},
}
"""Presets that suit data of a kind, beside those whose own data they are."""


def _source_of(preset: str) -> str | None:
    source = load(preset).data.source
    return None if source is None else source.kind


def _look(found: Inspection) -> None:
    """Looks into data; whatever goes wrong is said."""
    try:
        source = as_source(found.offered.source)
        found.preset = preset_for(source)[0]
        if isinstance(source, FolderSource):
            _pictures(found, source)
        else:
            _others(found, source)
        found.state = "ready"
    except UserError as error:
        _fail(found, sentence(error))
    except Exception as error:
        _fail(found, f"these data could not be looked at ({type(error).__name__}: {error})")


def _fail(found: Inspection, message: str) -> None:
    """Says why, without where on this machine the data lie."""
    found.message, found.state = message.replace(found.offered.source, found.offered.title), "failed"


def _pictures(found: Inspection, source: FolderSource) -> None:
    def watch(done: int, total: int) -> None:
        found.done, found.total = done, total

    report = inspect_folder(Path(source.path), watch=watch)
    found.done = found.total = report.count
    megabytes = f"{report.bytes / 1e6:.1f} MB"
    found.facts = [("pictures", f"{report.count:,}, {megabytes}; {report.good:,} can be trained on"), *_facts(report)]
    for title, text in _titled(report.lines()):
        if title in _REMARKS:
            found.remarks.append(text if title == "taken as" else f"{title}: {text}")
    found.findings = _grouped(report)
    if rows := contact_rows(Path(source.path), report.by_class):
        found.sheet = encoded(fitted(sheet_picture(rows).convert("RGB"), EDGE))


def _titled(lines: Iterable[str]) -> list[tuple[str, str]]:
    """The lines of a report below its first, each with its title."""
    return [(line[:_TITLE].strip(), line[_TITLE:].strip()) for line in list(lines)[1:]]


def _facts(report: DataReport) -> list[tuple[str, str]]:
    doubtful = {*_DOUBTFUL, *_REMARKS, *report.faults, "no caption", "empty", "empty class"}
    return [(title, text) for title, text in _titled(report.lines()) if title and title not in doubtful]


def _grouped(report: DataReport) -> list[dict[str, Any]]:
    """The findings, of each kind how many, and some."""
    counts, some = Counter[str](), defaultdict[str, list[dict[str, str]]](list)
    for one in report.findings():
        counts[one.finding] += 1
        if len(some[one.finding]) < _EXAMPLES:
            other = {"other": one.other} if one.other else {}
            some[one.finding].append({"file": one.file, "detail": one.detail, **other})
    return [
        {"finding": name, "count": count, "says": SAYS.get(name, name), "examples": some[name]}
        for name, count in counts.most_common()
    ]


def _others(found: Inspection, source: Source) -> None:
    """Of files that are no pictures, and of data that are built in."""
    if (told := source.describe()) is not None:
        found.facts = [(title, text) for title, text in _titled(told.lines) if title]
        found.facts = [("files", _headline(told.lines[0])), *found.facts] if told.lines else found.facts
    dataset = source.open()
    whole, why = source.completed(dataset) if len(dataset) else (source, ())
    info = dataset.info
    if told is None:
        found.facts = [("examples", f"{len(dataset):,}")]
        if info.native is not None:
            found.facts.append(("size", f"{by(info.native)}, {info.channels} channels"))
        if info.classes:
            found.facts.append(("classes", f"{len(info.classes)}: {', '.join(info.classes[:20])}"))
        if info.attribution:
            found.facts.append(("from", info.attribution))
    found.remarks = [*why, *(remark for remark in info.remarks if remark not in why)]
    found.done = found.total = len(dataset)
    sheet = sheet_of(dataset, whole.modality)
    found.sheet = None if sheet is None else encoded(fitted(_plain(sheet), EDGE))


def _headline(line: str) -> str:
    return line.partition(": ")[2] or line


def _plain(image: Image.Image) -> Image.Image:
    return image if image.mode in ("RGB", "RGBA", "L") else image.convert("RGB")
