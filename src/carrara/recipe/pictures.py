"""Pictures of a user's, from files, as models take them, and as records name them."""

import hashlib
import warnings
from collections.abc import Mapping
from glob import escape
from pathlib import Path

from PIL import Image

from carrara import pixels
from carrara.data import Transform, Unreadable
from carrara.data.files import decode, read_header
from carrara.errors import UserError
from carrara.model import AnyModel, DiffusionModel, Size
from carrara.pixels import Pictures, Pixels


def opened(path: Path) -> Pixels:
    """A picture file, (H, W, C), its size known to be sane before it is decoded.

    Raises:
        UserError: it is missing, broken or too large.
    """
    if not path.is_file():
        raise UserError(f"there is no picture '{path}'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the header's limit is the rule here
            if problem := read_header(path).problem:
                raise problem
        return decode(path)
    except Unreadable as error:
        raise UserError(f"'{path}' cannot be used ({error}): save it again as PNG, or name another picture") from None


def picture(model: AnyModel, path: Path, size: Size | None, enlarged: int = 1) -> Pictures:
    """A picture as the model takes it, (1, C, H, W) in [-1, 1].

    Args:
        size: it is scaled to cover this, and its middle is taken; None leaves it as it is.
        enlarged: how many times larger than it is what the model will make.

    Raises:
        UserError: it cannot be read, has other channels, or the model cannot make pictures of this size.
    """
    return converted(model, opened(path), path, size, enlarged)


def converted(model: AnyModel, array: Pixels, path: Path, size: Size | None, enlarged: int = 1) -> Pictures:
    """The same of what the file at ``path`` holds."""
    channels = model.shape[0]
    if size is not None and isinstance(model, DiffusionModel):
        model.latents_of((enlarged * size[0], enlarged * size[1]))
    try:
        if size is not None:
            array = Transform(size=size, channels=channels).prepare(array)
        return pixels.to_tensor(pixels.with_channels(array, channels))[None]
    except ValueError as error:
        raise UserError(f"'{path}' cannot be used: {error}") from None


def named(path: Path) -> dict[str, str]:
    """What a record says of a file: its name, without the folder, and the SHA-256 of its bytes."""
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def found(name: Mapping[str, str], folder: Path) -> Path:
    """The file in ``folder``, or in a folder within, of which ``named`` said this.

    Raises:
        UserError: it is not there, or has changed.
    """
    file = Path(name["file"]).name
    others = list[Path]()
    for path in (folder / file, *folder.rglob(escape(file))):
        if path.is_file():
            if named(path) == name:
                return path
            others.append(path)
    if not others:
        raise UserError(f"the picture '{file}' is not in '{folder}': say where it is, as in --pictures DIR")
    raise UserError(f"'{others[0]}' is another picture than the one of that time: say where that is, by --pictures DIR")
