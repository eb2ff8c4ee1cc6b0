"""The texts that lie beside pictures: captions, in any of the usual ways, and classes.

A file of text is UTF-8 or UTF-16, with or without a byte order mark. In it are lines, each of which is a caption; or
tags, which are one caption; or JSON, with captions or tags under one of the usual names.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from carrara.data.folder.columns import Line, line_of, texts_of
from carrara.data.folder.listing import CLASS, FOLDERS_OF_TEXTS, TEXTS, Listing, ending_of, stem
from carrara.data.folder.reading import Reading
from carrara.errors import UserError
from carrara.files import BadFile, Malformed, parse_json, read_bytes

CAPTION = 1 << 16
"""The largest file of a caption, in bytes."""
_FOLDERS_OF_IMAGES = frozenset({"images", "image", "imgs", "img", "pictures", "photos", "jpg", "png", "jpegimages"})
_TAGS = (".tags", ".tag")
_NUMBERS = re.compile(r"[-+\d.eE,;\s]*\d[-+\d.eE,;\s]*")


@dataclass(kw_only=True)
class Beside:
    """What was read from the files beside pictures.

    Attributes:
        captions: of each picture that has such a file.
        labels: the class of each picture that has a file of it.
        used: how many files of each ending hold a caption or a class.
        unused: how many lie beside a picture, and were not needed.
        apart: how many lie beside no picture.
        empty: files with nothing in them.
        numbers: how many of each ending hold numbers alone, such as boxes, which are no captions.
        several: how many have more than one line.
        faults: what is wrong with files, by their names.
    """

    captions: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    labels: dict[str, str] = field(default_factory=dict[str, str])
    used: Counter[str] = field(default_factory=Counter[str])
    unused: Counter[str] = field(default_factory=Counter[str])
    apart: Counter[str] = field(default_factory=Counter[str])
    empty: list[str] = field(default_factory=list[str])
    numbers: Counter[str] = field(default_factory=Counter[str])
    several: int = 0
    faults: dict[str, str] = field(default_factory=dict[str, str])


def read_beside(folder: Path, listing: Listing, reading: Reading, told: Mapping[str, Line]) -> Beside:
    """Reads the captions beside the pictures of a folder.

    Args:
        told: what tables say of pictures; those that they give captions need no file.
    """
    found, files = Beside(), FilesBeside(listing, reading)
    for picture in listing.pictures if listing.texts else ():
        names = files(picture)
        for name in [name for name in names if ending_of(name) == CLASS]:
            _read_class(folder, picture, name, found)
        texts = [name for name in names if ending_of(name) != CLASS]
        line = told.get(picture)
        if line is not None and line.texts is not None and reading.captions == "auto":
            found.unused.update(map(ending_of, texts))
        elif texts:
            found.unused.update(map(ending_of, texts[1:]))
            _read_captions(folder, picture, texts[0], reading, found)
    found.apart = Counter(map(ending_of, listing.texts.values()))
    found.apart -= found.used + found.unused + found.numbers
    return found


class FilesBeside:
    """Finds the texts of a picture, the one that counts first.

    Args:
        listing: of the folder.
    """

    def __init__(self, listing: Listing, reading: Reading) -> None:
        self._texts = listing.texts
        usual = TEXTS if reading.captions[:1] != "." else (reading.captions.lower(),)
        present = {ending_of(key) for key in listing.texts}
        self._endings = [ending for ending in (*usual, CLASS) if ending in present]
        self._elsewhere: defaultdict[str, list[str]] = defaultdict(list)
        for key, file in listing.texts.items():
            if (bare := _without(stem(key), FOLDERS_OF_TEXTS)) != stem(key) and ending_of(key) in self._endings:
                self._elsewhere[bare].append(file)

    def __call__(self, picture: str) -> list[str]:
        bare, texts = stem(picture), self._texts
        found = [texts[key] for ending in self._endings for key in (bare + ending, picture + ending) if key in texts]
        if found or not self._elsewhere:
            return found
        return self._elsewhere.get(_without(bare, _FOLDERS_OF_IMAGES), []) or self._elsewhere.get(bare, [])


def _without(file: str, folders: frozenset[str]) -> str:
    """A name without those of its folders that say what kind of files is in them."""
    *above, name = file.split("/")
    return "/".join([*(part for part in above if part.lower() not in folders), name])


def decoded(content: bytes) -> str:
    """A text in UTF-8 or UTF-16, with or without a byte order mark.

    Raises:
        Malformed: it is neither.
    """
    try:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        head = content[:256]
        if 3 * head.count(0) > len(head):  # most letters of UTF-16 have a byte that is zero
            return content.decode("utf-16-le" if 2 * head[1::2].count(0) >= head.count(0) else "utf-16-be")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"is neither UTF-8 nor UTF-16 (byte {error.start}): save it as UTF-8") from None


def _read_captions(folder: Path, picture: str, name: str, reading: Reading, found: Beside) -> None:
    try:
        text = decoded(read_bytes(folder / name, CAPTION))
        captions = captions_in(text, ending_of(name), reading)
    except (BadFile, Malformed, UserError) as error:
        found.faults[name] = error.why if isinstance(error, BadFile) else str(error)
        return
    if captions and all(_NUMBERS.fullmatch(caption) for caption in captions):
        found.numbers[ending_of(name)] += 1
        return
    found.used[ending_of(name)] += 1
    captions = tuple(caption for caption in captions if caption != picture.rpartition("/")[2])  # as albums have it
    if not captions:
        found.empty.append(name)
        return
    found.several += len(captions) > 1
    found.captions[picture] = captions


def captions_in(text: str, ending: str, reading: Reading) -> tuple[str, ...]:
    """The captions that the text of a file holds.

    Args:
        ending: of the file.

    Raises:
        Malformed: it should be JSON, and is none, or has no caption.
    """
    text = text.strip()
    if ending == ".json" or text[:1] in ("{", "["):
        try:
            return _in_json(parse_json(text)) if text else ()
        except Malformed:
            if ending == ".json":
                raise
    lines = tuple(filter(None, map(str.strip, text.splitlines())))
    if ending in _TAGS and lines:
        return (", ".join(line.strip(", ") for line in lines),)
    return lines if reading.lines == "each" else (text,) if text else ()


def _in_json(value: Any) -> tuple[str, ...]:
    if not isinstance(value, dict):
        return texts_of(value)
    texts = line_of(value).texts
    if texts is None:
        named = ", ".join(list(value)[:4])
        raise Malformed(f"has no caption under one of the usual names, such as 'caption' or 'text' (it has {named})")
    return texts


def _read_class(folder: Path, picture: str, name: str, found: Beside) -> None:
    try:
        label = decoded(read_bytes(folder / name, CAPTION)).strip()
    except (BadFile, Malformed) as error:
        found.faults[name] = error.why if isinstance(error, BadFile) else str(error)
        return
    found.used[CLASS] += 1
    if label:
        found.labels[picture] = label


def names_as_captions(pictures: list[str]) -> Iterator[tuple[str, str]]:
    """What pictures' own file names say, as captions: without numbers at their ends."""
    for picture in pictures:
        words = stem(picture).rpartition("/")[2].replace("_", " ").split()
        while len(words) > 1 and words[-1].strip("()-").isdigit():
            words.pop()
        yield picture, " ".join(words)
