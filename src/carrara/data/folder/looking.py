"""What is known of a folder of pictures before any of them is opened.

What is said of a picture comes from tables (``metadata``), from the texts beside it (``beside``), and from where it
lies (``layout``), in this order.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from carrara.data.folder.beside import Beside, FilesBeside, names_as_captions, read_beside
from carrara.data.folder.columns import Line, texts_in
from carrara.data.folder.layout import Layout, Part, counted, held_part, laid_out, some
from carrara.data.folder.listing import CLASS, ENDINGS, Listing, ending_of, find, stem
from carrara.data.folder.lists import restricted
from carrara.data.folder.metadata import Told, read_metadata, report
from carrara.data.folder.reading import AS_IT_COMES, Reading
from carrara.data.folder.tables import rows_of
from carrara.data.formats import advice, is_picture
from carrara.errors import UserError
from carrara.files import is_archive, is_folder, is_regular, shown

NAMED = 3
_PICTURE = re.compile(r"(?<![\w'/.-])picture(?=s?(?![\w'/.-]))")
_OTHER_MASKS = ("-masklabel", "-condlabel", "_mask", "-mask")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a folder has.

    Attributes:
        pictures: to learn from, by their names within the folder, in order.
        maps: pictures that are the maps of others.
        lines: what is said of each picture of which anything is said.
        parts: of the split, for the pictures that are of any.
        remarks: what was recognised, a line each, with the key that says otherwise.
        warnings: what could not be used.
        passed_over: how many files have each ending, or no ending and this name, and are used for nothing.
        unused: tables that tell of nothing, with the reason.
        empty: captions with nothing in them.
        left_out: pictures that are not taken.
    """

    pictures: Sequence[str]
    maps: Collection[str]
    lines: Mapping[str, Line]
    parts: Mapping[str, Part]
    remarks: tuple[str, ...]
    warnings: tuple[str, ...]
    passed_over: Counter[str]
    unused: Mapping[str, str]
    empty: Sequence[str]
    left_out: Collection[str]


def look(path: Path, reading: Reading = AS_IT_COMES) -> Found:
    """Finds the pictures of a folder or of a zip file, and what is said of them.

    Raises:
        UserError: there is no such folder, no picture in it, or its metadata are wrong; with all that is.
    """
    if not is_folder(path) and not is_archive(path):
        if is_regular(path):
            raise UserError(
                f"'{shown(path)}' is a file: give the folder with the {reading.noun}s, or a zip file of them"
            )
        raise UserError(f"there is no folder '{shown(path)}'")
    listing = find(path, reading.captions if reading.captions[:1] == "." else "", reading.endings)
    if "" in listing.closed:
        raise UserError(f"'{shown(path)}' cannot be looked into: get leave to read it, or name another folder")
    listing, listed_only = restricted(listing, reading)
    told = read_metadata(path, listing, reading)
    report(told)
    masks = _other_masks(listing.pictures) if reading.only == "all" else set[str]()
    maps = maps_beside(listing.pictures) | {line.map for line in told.lines.values() if line.map is not None}
    pictures = [file for file in listing.pictures if file not in maps and file not in masks]
    if not pictures:
        raise _no_pictures(path, listing, reading)
    has_classes = any(line.labels for line in told.lines.values()) or any(key.endswith(CLASS) for key in listing.texts)
    layout = laid_out(pictures, replace(reading, classes="none") if has_classes else reading)
    layout.remarks[:0] = listed_only
    found = _together(path, replace(listing, pictures=pictures), told, layout, reading, maps, masks)
    remarks, warnings = (tuple(called(text, reading.noun) for text in said) for said in (found.remarks, found.warnings))
    return replace(found, remarks=remarks, warnings=warnings)


def called(text: str, noun: str) -> str:
    """What is said of pictures, said of other files; what stands in quotes, or is a path, is a name."""
    return text if noun == "picture" else _PICTURE.sub(noun, text)


def looks_captioned(path: Path, reading: Reading = AS_IT_COMES) -> bool:
    """Whether a folder seems to have captions, without reading any picture."""
    if reading.captions == "none":
        return False
    try:
        listing = find(path, reading.captions if reading.captions[:1] == "." else "", reading.endings)
        if reading.captions == "names":
            return bool(listing.pictures)
        if reading.captions != "metadata":
            files = FilesBeside(listing, reading)
            if any(ending_of(name) != CLASS for file in listing.pictures if listing.texts for name in files(file)):
                return True
        tables = listing.tables if reading.metadata == "auto" else []
        return reading.captions in ("auto", "metadata") and any(_has_captions(path / table) for table in tables)
    except UserError:  # whoever opens the folder says so
        return False


def _has_captions(table: Path) -> bool:
    try:
        return any(texts_in(row.values) for row in rows_of(table))
    except UserError:
        return False


def maps_beside(pictures: Sequence[str]) -> set[str]:
    """Which ones are the map of another one beside them."""
    named = [(file, bare.removesuffix(".map")) for file in pictures if (bare := stem(file)).endswith(".map")]
    known = set(pictures) if named else set[str]()
    return {file for file, bare in named if any(bare + ending in known for ending in ENDINGS)}


def _other_masks(pictures: Sequence[str]) -> set[str]:
    """Which ones are called as the mask of another one beside them, by other programs."""
    named = [(file, bare, end) for file in pictures for end in _OTHER_MASKS if (bare := stem(file)).endswith(end)]
    known = set(map(stem, pictures)) if named else set[str]()
    return {file for file, bare, end in named if bare.removesuffix(end) in known}


def _no_pictures(path: Path, listing: Listing, reading: Reading) -> UserError:
    others = listing.others + Counter(map(ending_of, (*listing.texts.values(), *listing.tables, *listing.archives)))
    said = {kind: "unpack it" if kind == ".zip" else advice(kind) for kind in sorted(others)[:5]}
    kinds = ", ".join(shown(f"{kind}: {words}" if words else kind) for kind, words in said.items())
    found = f"found {sum(others.values())} files with other endings ({kinds})" if others else "it is empty"
    endings = " ".join(ENDINGS if reading.endings == frozenset(ENDINGS) else sorted(reading.endings))
    none = f"no {reading.noun}s in '{shown(path)}': {found}"
    return UserError(f"{none}; Carrara reads {endings}: put some there, or name another folder")


def _together(
    path: Path,
    listing: Listing,
    told: Told,
    layout: Layout,
    reading: Reading,
    maps: set[str],
    masks: set[str],
) -> Found:
    parts, remarks = _parts(listing.pictures, told, layout, reading)
    gone = {file for file in listing.pictures if file.rpartition("/")[0] in layout.left_out or parts.get(file) == "out"}
    kept = replace(listing, pictures=[file for file in listing.pictures if file not in gone])
    beside = _texts(path, kept, reading, told)
    masks_said = f"{counted(len(masks), 'picture')} called as the mask of another one (such as a_mask): left out"
    masks_said += "; a list in data.source.only takes them"
    said = [
        *([f"{shown(path)} is read as it is, without unpacking it"] if is_archive(path) else _zips(listing)),
        *([f"{some(listing.runs)}: run of Carrara's, whose pictures are left out"] if listing.runs else []),
        *layout.remarks,
        *remarks,
        *_few(told.remarks, "tables are read too"),
        *_few([f"{shown(table)} is passed over: {why}" for table, why in told.unused.items()], "files are passed over"),
        *_said_beside(beside, reading),
        *([masks_said] if masks else []),
    ]
    passed = listing.others + beside.apart + beside.unused + beside.numbers
    passed += Counter(ending_of(table) for table in told.unused)
    if listing.pictures and not _read_archives(listing):
        passed += Counter(map(ending_of, listing.archives))
    lines = _lines(kept.pictures, told, beside, layout, reading)
    said += _without_class(kept.pictures, lines)
    return Found(
        pictures=kept.pictures,
        maps=maps,
        lines=lines,
        parts={file: part for file, part in parts.items() if file not in gone},
        remarks=tuple(said) or (() if maps else ("pictures alone, without classes and captions",)),
        warnings=tuple(_warnings(listing, told, beside)),
        passed_over=passed,
        unused=told.unused,
        empty=beside.empty,
        left_out=gone | masks,
    )


def _parts(pictures: Sequence[str], told: Told, layout: Layout, reading: Reading) -> tuple[dict[str, Part], list[str]]:
    """The part of the split that each picture is of, and what to say of it; what tables say goes before folders."""
    said = {file: told.lines[file].part for file in pictures if file in told.lines and told.lines[file].part}
    held = held_part(set(said.values())) if reading.split == "auto" else ""
    if not held:
        folders = {file: layout.parts.get(file.rpartition("/")[0], "") for file in pictures} if layout.parts else {}
        return {file: part for file, part in folders.items() if part}, []
    out = [file for file, part in said.items() if part not in ("train", held)]
    text = f"what the metadata say is taken as split: '{held}' is held out"
    text += f", and {counted(len(out), 'picture')} of other parts left out" if out else ""
    parts: dict[str, Part] = {**said, **dict.fromkeys(out, "out")}
    return parts, [f"{text}; data.source.split=none takes all as one"]


def _texts(path: Path, listing: Listing, reading: Reading, told: Told) -> Beside:
    if reading.captions == "names":
        return Beside(captions={file: (name,) for file, name in names_as_captions(listing.pictures) if name})
    if reading.captions in ("none", "metadata"):
        classes = {key: file for key, file in listing.texts.items() if key.endswith(CLASS)}
        found = read_beside(path, replace(listing, texts=classes), reading, told.lines)
        found.apart += Counter(ending_of(key) for key in listing.texts if not key.endswith(CLASS))
        return found
    return read_beside(path, listing, reading, told.lines)


def _few(remarks: Sequence[str], others: str) -> list[str]:
    """The first few."""
    more = len(remarks) - NAMED
    return [*remarks[:NAMED], *([f"{more} more {others}"] if more > 0 else [])]


def _without_class(pictures: Sequence[str], lines: Mapping[str, Line]) -> list[str]:
    """Says how many pictures have no class where others have one."""
    with_class = sum(bool(line.labels) for line in lines.values())
    missing = len(pictures) - with_class
    return [f"{counted(missing, 'picture')} without a class, {with_class} with one"] if with_class and missing else []


def _read_archives(listing: Listing) -> list[str]:
    """Those of which pictures are taken."""
    return [name for name in listing.archives if any(file.startswith(f"{name}/") for file in listing.pictures)]


def _zips(listing: Listing) -> list[str]:
    if read := _read_archives(listing):
        return [f"{some(read)}: read as {'it is' if len(read) == 1 else 'they are'}, without unpacking"]
    if listing.archives:
        how = "is passed over: give it" if len(listing.archives) == 1 else "are passed over: give each"
        return [f"{some(listing.archives)} beside the pictures {how} by itself to use it"]
    return []


def _said_beside(beside: Beside, reading: Reading) -> list[str]:
    said: list[str] = []
    if beside.captions and reading.captions == "names":
        said.append("file names are taken as captions; data.source.captions=auto does not")
    elif beside.captions:
        endings = ", ".join(sorted(set(beside.used) - {CLASS}))
        text = f"captions of {counted(len(beside.captions), 'picture')} from the {endings} beside them"
        if beside.empty:
            text += f"; {counted(len(beside.empty), 'file')} with nothing in it"
        if beside.several and reading.lines == "each":
            where = counted(beside.several, "file")
            text += f"; in {where} each line is a caption (data.source.lines=one takes a file as one)"
        for ending, count in sorted(beside.unused.items()):
            text += f"; {count} {ending} beside them are not needed (data.source.captions={ending} takes them)"
        said.append(f"{text}; data.source.captions=none leaves them out")
    elif beside.empty:
        said.append(f"no caption is in {counted(len(beside.empty), 'file')} beside pictures")
    elif beside.unused:
        said += [
            f"{count} {ending} beside pictures are not read, because tables have their captions; "
            "data.source.captions=files takes these"
            for ending, count in sorted(beside.unused.items())
        ]
    for ending, count in sorted(beside.numbers.items()):
        said.append(f"{count} {ending} beside pictures hold numbers alone, and these are no captions")
    if beside.labels:
        said.append(f"classes of {counted(len(beside.labels), 'picture')} from the {CLASS} beside them")
    return said


def _warnings(listing: Listing, told: Told, beside: Beside) -> list[str]:
    said: list[str] = []
    if listing.closed:
        named = some([f"'{shown(name)}'" for name in listing.closed])
        said.append(f"left out {len(listing.closed)} folders that may not be looked into: {named}")
    for table, rows in told.missing.items():
        said.append(f"left out {counted(len(rows), 'row')} of {shown(table)}: {some(rows)}")
    for ending, count in sorted(listing.others.items()):
        if is_picture(ending):
            said.append(f"left out {count} {ending}: {advice(ending)}")
    if beside.faults:
        named = some([f"'{shown(name)}' {why}" for name, why in beside.faults.items()])
        said.append(f"left out {counted(len(beside.faults), 'caption')} that cannot be read: {named}")
    return said


def _lines(pictures: Sequence[str], told: Told, beside: Beside, layout: Layout, reading: Reading) -> dict[str, Line]:
    """All that is said of each picture."""
    known = told.lines
    if reading.captions not in ("auto", "metadata"):
        known = {file: replace(line, texts=None) for file, line in known.items()}
    lines: dict[str, Line] = {}
    for file in pictures:
        label = beside.labels.get(file) or layout.labels.get(file.rpartition("/")[0])
        texts, line = beside.captions.get(file), known.get(file)
        if line is None:
            if texts or label:
                lines[file] = Line(texts=texts, labels=(label,) if label else ())
            continue
        labels = line.labels or ((label,) if label else ())
        lines[file] = replace(line, texts=texts if line.texts is None else line.texts, labels=labels)
    return lines
