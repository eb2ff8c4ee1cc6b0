"""A picture of a user's, or another file of samples, as a value: what is in it, and what a record says of its file."""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Annotated, Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from carrara import pixels
from carrara.data import Transform, Unreadable
from carrara.data.files import decode, decode_array, decode_image, read_header
from carrara.errors import UserError, close_match, option
from carrara.files import Malformed, as_kind, in_words, is_folder, is_regular, stamp_of
from carrara.files.sealed import sha256
from carrara.medium.size import Size
from carrara.pixels import Pictures, Pixels

OTHERS = (".mid", ".midi", ".kar", ".wav", ".flac", ".ogg", ".mp3", ".npz")
"""Endings of files that are samples of other kinds, which their models read."""
LARGEST_GIVEN = 1 << 30
"""Bytes of such a file."""


@final
@dataclass(frozen=True, eq=False)
class Picture:
    """A picture of a user's, or a file that a model of something else can read, such as a sound.

    Attributes:
        decoded: (H, W, C) uint8, uint16, or float32 in [0, 1]; None of a file that is no picture.
        path: its file's, or a name of its own.
        sha256: of the file's bytes, or of the pixels', in hexadecimal digits.
        why: it is no picture, as it follows after its name.
    """

    decoded: Pixels | None
    path: Path
    sha256: str
    why: str = "is no picture, and one is needed here: name a picture"

    @property
    def pixels(self) -> Pixels:
        """``decoded``.

        Raises:
            UserError: it is no picture.
        """
        if self.decoded is None:
            raise UserError(f"'{self.path}' {self.why}")
        return self.decoded

    @staticmethod
    def read(path: Path) -> "Picture":
        """Reads a file, whose size is known to be sane before it is decoded.

        Raises:
            UserError: it is missing, broken or too large.
        """
        if is_folder(path):
            raise UserError(f"'{path}' is a folder: name a picture in it")
        if not is_regular(path):
            names = [str(other) for other in path.parent.glob("*")]
            near = close_match(str(path), names) or " Name one that is there."
            raise UserError(f"there is no picture '{path}'.{near}")
        if path.suffix.lower() in OTHERS:
            return Picture(None, path, _sha256(path))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the header's limit is the rule here
                if problem := read_header(path).problem:
                    raise problem
            return Picture(decode(path), path, sha256(path))
        except Unreadable as error:
            why = f"cannot be used ({error}): save it again as PNG, or name another picture"
            if path.suffix.lower() == ".npy" and error.fault == "corrupt":  # a volume, perhaps, or in units of its own
                return Picture(None, path, _sha256(path), why)
            raise UserError(f"'{path}' {why}") from None

    @staticmethod
    def of(value: "Picture | Path | str | Image.Image | NDArray[Any]") -> "Picture":
        """A picture from a path, from Pillow's, which is taken as its file would be, or from an array (H, W) or
        (H, W, C) as ``pixels`` are, or of bool.

        Raises:
            UserError: it cannot be used.
        """
        match value:
            case Picture():
                return value
            case str() | Path():
                return Picture.read(Path(value))
            case _:
                try:
                    array = decode_image(value) if isinstance(value, Image.Image) else decode_array(_numbers(value))
                except (Unreadable, OSError) as error:
                    raise UserError(f"this cannot be used as a picture ({error}): give another one") from None
                return Picture(array, Path("picture"), hashlib.sha256(array.tobytes()).hexdigest())

    @property
    def name(self) -> str:
        """What results of it are called after."""
        return self.path.stem

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def record(self) -> dict[str, str]:
        """What a record says of it: its name, without the folder, and the hash."""
        return {"file": self.path.name, "sha256": self.sha256}

    def tensor(self, channels: int, size: Size | None = None) -> Pictures:
        """(1, C, H, W) in [-1, 1].

        Args:
            size: it is scaled to cover this, and its middle is taken; None leaves it as it is.

        Raises:
            UserError: its channels are others.
        """
        try:
            array = self.pixels if size is None else Transform(size=size, channels=channels).prepare(self.pixels)
            return pixels.to_tensor(pixels.with_channels(array, channels))[None]
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"'{self.path}' cannot be used: {error}") from None


def _sha256(path: Path) -> str:
    """Of a file that is not too large to be read whole.

    Raises:
        UserError: it is.
    """
    if (size := stamp_of(path)[0]) > LARGEST_GIVEN:
        most = in_words(LARGEST_GIVEN)
        raise UserError(f"'{path}' has {in_words(size)}, and a file that is edited at most {most}: name a smaller one")
    return sha256(path)


def _numbers(value: Any) -> NDArray[Any]:
    """An array of a caller's; what is true is white."""
    array = np.asarray(value)
    return array * np.uint8(255) if array.dtype == np.bool_ else array


@dataclass(frozen=True, kw_only=True)
class PictureRecord:
    """What a record says of a picture: its name, without the folder, and the hash."""

    file: Annotated[str, Field(min_length=1, max_length=255)]
    sha256: Annotated[str, Field(min_length=64, max_length=64)]


def find_picture(record: Mapping[str, str], folder: Path) -> Picture:
    """The picture in ``folder``, or in a folder within, of which a record says this.

    Raises:
        UserError: it is not there, or has changed.
        Malformed: that is no record of a picture.
    """
    said = as_kind(record, PictureRecord)
    file = Path(said.file).name
    if not file or file == ".." or "\0" in file:
        raise Malformed(f"has the name '{said.file}' of a picture, which is none")
    others = list[Path]()
    for path in (folder / file, *folder.rglob(escape(file))):
        if is_regular(path):
            if sha256(path) == said.sha256:
                return Picture.read(path)
            others.append(path)
    where = option("pictures", "DIR")
    if not others:
        raise UserError(f"the picture '{file}' is not in '{folder}': say where it is, as in {where}")
    raise UserError(f"'{others[0]}' is another picture than the one of that time: say where that is, by {where}")
