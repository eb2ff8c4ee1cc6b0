"""What the folders of pictures mean: parts of a split, classes, or nothing.

Only the names of folders are looked at, and how many pictures lie where, so a million pictures cost little. What is
recognised is said in a remark, with the key that says otherwise.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from carrara.data.folder.reading import Reading
from carrara.files import shown

Part = str
"""Of a split: ``train``, ``val`` or ``test``; empty where the data do not say, ``out`` for what is left out."""
Parts = tuple[str, ...]
"""The folders that a picture lies in."""

PART_NAMES: Mapping[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev", "eval", "evaluation", "valset"), "val"),
    **dict.fromkeys(("holdout", "hold_out", "heldout", "held_out", "val_set", "validation_set"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "test_set"), "test"),
}
"""What folders and columns call the parts of a split, in small letters."""
_REGULAR = frozenset({"reg", "regs", "regularization", "regularisation", "reg_images", "class_images"})
_MASKS = frozenset({
    "mask", "masks", "segmentation", "segmentations", "seg", "labels", "label", "annotations", "annotation", "depth",
    "conditioning", "conditioning_images", "control", "edges", "log", "logs", "model", "models", "samples",
})  # fmt: skip
_COMPANIONS = _REGULAR | _MASKS
_IMAGES = frozenset({
    "images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "jpg", "jpegs", "png", "data", "dataset",
})  # fmt: skip
_REPEATS = re.compile(r"(\d{1,3})_(?=\S)")
_HEAP = re.compile(
    r"\d{4,}|\d{4}([-_.]?\d{2}){1,2}([-_ ].*)?|(.*[-_ ])?(shard|part|batch|chunk|folder|dir)[-_ ]?\d+"
    r"|(ph|f)otos (from|von|de|del) \d{4}"  # as Google has it
    r"|[1-9]\d\d([a-z][a-z\d_]{4}|_pana|_fuji)"  # as cameras have it: 100APPLE, 101MSDCF
)
_ARCHIVE = re.compile(r"[-_ .(]*\d*\)?\.zip$", re.IGNORECASE)
_ROWS = re.compile(r"(-\d+-of-\d+)?\.parquet$", re.IGNORECASE)
_STRAYS = 4  # times as many lie in sub-folders
_NAMED = 4


@dataclass(kw_only=True)
class Layout:
    """What is known of pictures from the folders that they lie in.

    Attributes:
        parts: of the split, by folder; those that are not there are of none.
        labels: the class, by folder.
        left_out: folders whose pictures are not taken.
        remarks: what was recognised, a line each.
    """

    parts: dict[str, Part] = field(default_factory=dict[str, Part])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    left_out: set[str] = field(default_factory=set[str])
    remarks: list[str] = field(default_factory=list[str])


def laid_out(files: Sequence[str], reading: Reading) -> Layout:
    """Recognises the layout of a folder.

    Args:
        files: the pictures' names within it.
    """
    counts = Counter(file.rpartition("/")[0] for file in files)
    places: dict[str, Parts] = {name: tuple(_folders(name)) if name else () for name in counts}
    found = Layout()
    if reading.only == "all":  # whoever lists pictures wants these
        _leave_out_companions(places, counts, found)
    if reading.split == "auto":
        places = _split(places, counts, found)
    if reading.classes != "none":
        _classify(places, counts, reading, found)
    return found


def _folders(place: str) -> Iterator[str]:
    """The folders of a place; a Parquet file is one if it is called as a part of a split is."""
    for name in place.split("/"):
        bare = _ROWS.sub("", name)
        if bare == name or part_of(bare):
            yield bare


def _leave_out_companions(places: dict[str, Parts], counts: Counter[str], found: Layout) -> None:
    """Folders beside the pictures' that hold what belongs to these: pictures for regularization, masks, samples."""
    heads = {(*parts[:k], parts[k].lower()) for parts in places.values() for k in range(len(parts))}
    gone: defaultdict[str, list[str]] = defaultdict(list)
    for name, parts in places.items():
        for k, part in enumerate(parts):
            beside = ((*parts[:k], image) for image in _IMAGES)
            if part.lower() in _COMPANIONS and any(head in heads for head in beside):
                gone[part].append(name)
                break
    for part, names in sorted(gone.items()):
        count = sum(counts[name] for name in names)
        what = "pictures for regularization" if part.lower() in _REGULAR else "no pictures to learn from"
        found.remarks.append(
            f"{_folder(part)} is taken as {what}: {_pictures(count)} left out; a list in data.source.only takes them"
        )
        found.left_out.update(names)
        for name in names:
            del places[name]


def _level(places: Mapping[str, Parts]) -> int:
    """How many folders lie around all pictures."""
    level = 0
    while (
        places
        and len({parts[: level + 1] for parts in places.values()}) == 1
        and all(len(parts) > level for parts in places.values())
    ):
        level += 1
    return level


def part_of(name: object) -> Part:
    """The part of a split that a name is of: ``train2017`` and ``Train Set`` are ``train``."""
    plain = re.sub(r"[\s\-]+", "_", str(name).strip().lower())
    return PART_NAMES.get(plain) or PART_NAMES.get(re.sub(r"[\d_.]+$", "", plain), "")


def held_part(parts: Collection[Part]) -> Part:
    """Which part is held out, where a split has these; none if it has no part to train on, or no other."""
    if "train" not in parts:
        return ""
    return "val" if "val" in parts else "test" if "test" in parts else ""


def _split(places: dict[str, Parts], counts: Counter[str], found: Layout) -> dict[str, Parts]:
    """The places within the parts of the split, if there is one."""
    first = _level(places)
    for level, ending in ((first, ""), (first + 1, ""), (first, ".zip")):
        part = {
            name: part_of(parts[level].lower().removesuffix(ending)) if len(parts) > level else ""
            for name, parts in places.items()
        }
        held = held_part(set(part.values()))
        whole = all(part.values()) or level == first
        if held and whole:
            return _divided(places, counts, part, held, level, found)
    return places


def _divided(
    places: Mapping[str, Parts],
    counts: Counter[str],
    part: Mapping[str, Part],
    held: Part,
    level: int,
    found: Layout,
) -> dict[str, Parts]:
    """Notes the part of each place, and gives the places within these."""
    named: defaultdict[Part, set[str]] = defaultdict(set)
    kept, gone = dict[str, Parts](), Counter[str]()
    for name, parts in places.items():
        if part[name] in ("train", held):
            found.parts[name] = part[name]
            named[part[name]].add(parts[level])
            above = tuple(part for part in parts[:level] if not _ARCHIVE.search(part))  # train.zip/train/
            kept[name] = above + parts[level + 1 :]
        else:
            found.left_out.add(name)
            gone[_folder(parts[level]) if len(parts) > level else "beside them"] += counts[name]
    trained, other = (_folder(" and ".join(sorted(named[one]))) for one in ("train", held))
    text = f"{trained} and {other} are taken as split: {other} is held out"
    for where, count in sorted(gone.items()):
        if where == "beside them":
            text += f", and {counted(count, 'picture')} beside them left out"
        else:
            text += f", and {where} ({counted(count, 'picture')}) left out"
    found.remarks.append(f"{text}; data.source.split=none takes all as one")
    return kept


def _classify(places: Mapping[str, Parts], counts: Counter[str], reading: Reading, found: Layout) -> None:
    """Takes the first folders that divide the pictures as classes, if nothing speaks against it."""
    asked, level, strays = reading.classes != "auto", 0, list[str]()
    while True:
        here = [name for name, parts in places.items() if len(parts) == level]
        heads = {parts[level] for parts in places.values() if len(parts) > level}
        if here and not strays:
            strays = here
        if len(heads) != 1:
            break
        if here:
            strays = sorted({*strays, *here})
        level += 1
    if not heads:
        _say_repeats(places, found)
        return
    below = {name: parts for name, parts in places.items() if len(parts) > level}
    if not asked and (why := _no_classes(below, strays, heads, counts, found)):
        found.remarks.append(f"{why}; data.source.classes=first makes classes of them")
        return
    for name, parts in below.items():
        found.labels[name] = "/".join(parts[level:]) if reading.classes == "deep" else parts[level]
    _name_classes(found, reading)
    _say_classes(below, strays, level, counts, reading, found)


def _say_repeats(places: Mapping[str, Parts], found: Layout) -> None:
    """Says that the repeats of the one folder that all pictures are in mean nothing here."""
    marks = {match[0] for parts in places.values() for part in parts if (match := _REPEATS.match(part))}
    if marks:
        found.remarks.append(f"{', '.join(sorted(marks))} is taken as repeats of another trainer: ignored")


def _no_classes(
    below: Mapping[str, Parts], strays: Sequence[str], heads: set[str], counts: Counter[str], found: Layout
) -> str:
    """Why sub-folders are not taken as classes; nothing if they are."""
    held = {name for name, part in found.parts.items() if part != "train"}
    inside, beside = (sum(counts[name] for name in part if name not in held) for part in (below, strays))
    if all(part_of(head) for head in heads):
        names = " and ".join(map(_folder, sorted(heads)))
        return f"{names} are called as parts of a split are, and are no classes"
    if len(heads) > 1 and len({_ARCHIVE.sub("", head) for head in heads}) == 1:
        return f"{len(heads)} zip files with the same name, such as {min(heads)}, are no classes"
    if all(_HEAP.fullmatch(head.lower()) for head in heads) and len({len(head) for head in heads}) == 1:
        return f"{len(heads)} folders with numbers or dates as names, such as {_folder(min(heads))}, are no classes"
    if beside > 1 and beside * (_STRAYS - 1) > inside:
        return f"no classes: {inside} of {inside + beside} pictures lie in {len(heads)} folders, the others beside"
    return ""


def _name_classes(found: Layout, reading: Reading) -> None:
    """What classes are called: without another trainer's repeats, and without the ending of a zip file."""
    names = {label.partition("/")[0] for label in found.labels.values()}
    tidy = {name: re.sub(r"\.zip$", "", name, flags=re.IGNORECASE) for name in names}
    repeats = sorted({match[0] for name in names if (match := _REPEATS.match(name))})
    if reading.repeats == "ignore" and all(_REPEATS.match(name) for name in names):
        tidy = {name: _REPEATS.sub("", name, count=1) for name in names}
        found.remarks.append(
            f"{', '.join(repeats[:_NAMED])} {'is' if len(repeats) == 1 else 'are'} taken as repeats of another "
            "trainer: ignored; data.source.repeats=keep leaves it in the names"
        )
    for place, label in found.labels.items():
        head, slash, rest = label.partition("/")
        found.labels[place] = shown(tidy[head] + slash + rest)


def _say_classes(
    below: Mapping[str, Parts],
    strays: Sequence[str],
    level: int,
    counts: Counter[str],
    reading: Reading,
    found: Layout,
) -> None:
    classes = sorted(set(found.labels.values()))
    folders = len({parts[level] for parts in below.values()}) if reading.classes != "deep" else len(classes)
    text = f"classes from {counted(folders, 'folder')} ({some(classes, _NAMED)})"
    if strays:
        count = sum(counts[name] for name in strays)
        text += f"; {counted(count, 'picture')} beside them {'is' if count == 1 else 'are'} left out"
        found.left_out.update(strays)
        held = [name for name, part in found.parts.items() if part != "train"]
        if held and found.left_out.issuperset(held):
            text += ", so that nothing is left of what was to be held out, and a part of the others is"
    trained = {label for name, label in found.labels.items() if found.parts.get(name, "train") == "train"}
    if only := sorted(set(classes) - trained):
        text += f"; of {some(only, _NAMED)} there is none to train on"
    deeper = {parts[: level + 2] for parts in below.values() if len(parts) > level + 1}
    if reading.classes != "deep" and len(deeper) > 1:
        text += f"; the {len(deeper)} folders in them are not told apart (data.source.classes=deep does)"
    found.remarks.append(f"{text}; data.source.classes=none takes all without classes")


def _folder(name: str) -> str:
    return f"{shown(name)}/"


def counted(count: int, what: str) -> str:
    """So many of something: ``1 picture``, ``2 pictures``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _pictures(count: int) -> str:
    return f"{counted(count, 'picture')} {'is' if count == 1 else 'are'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
