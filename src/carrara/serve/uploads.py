"""Files that a client has sent: decoded within the bounds of data, and forgotten after an hour.

A file gets a name of its own in a folder that nobody else can read; what a client called it is only shown.
"""

import re
import secrets
from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from time import monotonic
from typing import final

from carrara.errors import UserError
from carrara.files import delete, make_folder, replacing, scratch
from carrara.medium import Picture
from carrara.medium.picture import OTHERS
from carrara.serve.gallery import Galleries
from carrara.serve.said import Missing
from carrara.serve.settings import ServeSettings

KEPT_FOR = 3600.0
MOST, BYTES = 64, 1 << 29
"""Uploads, and bytes of all of them, that are kept."""
ENDINGS = (*OTHERS, ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".jxl", ".npy")
_LONGEST = 80


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that was sent.

    Attributes:
        weight: bytes that it takes.
        when: seconds of a clock.
    """

    id: str
    picture: Picture
    folder: Path
    weight: int
    when: float

    @property
    def shown(self) -> dict[str, object]:
        """As the page has it; what is no picture has no size."""
        decoded = self.picture.decoded
        height, width = (None, None) if decoded is None else self.picture.size
        return {"id": self.id, "width": width, "height": height, "name": self.picture.path.name}


@final
class Uploads:
    """All that were sent and are kept."""

    def __init__(self, settings: ServeSettings, galleries: Galleries) -> None:
        self._settings, self._galleries = settings, galleries
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._lock, self._stack = RLock(), ExitStack()
        self._folder: Path | None = None

    def add(self, content: bytes, name: str) -> Upload:
        """Keeps a file.

        Raises:
            UserError: it cannot be used, or has too many pixels.
        """
        key = secrets.token_hex(12)
        path = self.written(content, name, key)
        try:
            picture = read_upload(path)
            decoded = picture.decoded
            if decoded is not None and decoded.shape[0] * decoded.shape[1] > self._settings.pixels:
                size = f"{decoded.shape[1]}x{decoded.shape[0]} pixels"
                raise UserError(
                    f"'{path.name}' has {size}, and {self._settings.pixels:,} are the most here: make it smaller"
                )
        except UserError:
            delete(path.parent)
            raise
        weight = len(content) + (0 if decoded is None else decoded.nbytes)
        upload = Upload(id=key, picture=picture, folder=path.parent, weight=weight, when=monotonic())
        with self._lock:
            self._kept[key] = upload
            self._forget()
        return upload

    def once(self, content: bytes, name: str) -> Picture:
        """A picture that is not kept.

        Raises:
            UserError: as of ``add``.
        """
        upload = self.add(content, name)
        with self._lock:
            self._kept.pop(upload.id, None)
        delete(upload.folder)
        return upload.picture

    def written(self, content: bytes, name: str, key: str) -> Path:
        """A file of what was sent, in a folder of its own."""
        with self._lock:
            self._folder = self._folder or self._stack.enter_context(scratch())
            folder = self._folder / key
        make_folder(folder)
        path = folder / safe_name(name, content)
        with replacing(path) as file:
            file.write(content)
        return path

    def picture(self, name: str) -> Picture:
        """The picture of an upload, or of the gallery, by its id.

        Raises:
            UserError: there is none.
        """
        with self._lock:
            self._forget()
            if (upload := self._kept.get(name)) is not None:
                return upload.picture
        try:
            gallery, kept = self._galleries.find(name)
        except Missing:
            raise Missing("this picture is not here any more: send it again") from None
        others = [ending for ending in kept.files if ending in OTHERS]
        return read_upload(gallery.path(kept, others[0] if others else ".png"))

    def id_of(self, digest: str) -> str | None:
        """The id of the newest upload with this content."""
        with self._lock:
            return next((one.id for one in reversed(self._kept.values()) if one.picture.sha256 == digest), None)

    def close(self) -> None:
        """Forgets all."""
        self._stack.close()

    def _forget(self) -> None:
        while self._kept:
            oldest = next(iter(self._kept.values()))
            late = monotonic() - oldest.when > KEPT_FOR
            heavy = sum(one.weight for one in self._kept.values()) > BYTES and len(self._kept) > 1
            if not (late or heavy or len(self._kept) > MOST):
                return
            del self._kept[oldest.id]
            delete(oldest.folder)


def read_upload(path: Path) -> Picture:
    """A file's picture; messages name the file alone, and not its folder.

    Raises:
        UserError: it cannot be used.
    """
    try:
        return Picture.read(path)
    except UserError as error:
        raise without_folder(error, path) from None


def without_folder(error: UserError, path: Path) -> UserError:
    """The same mistake with the name of a file in the place of its path."""
    return UserError(error.message.replace(str(path), path.name))


def safe_name(name: str, content: bytes) -> str:
    """What a file is called here: letters, digits, dots and hyphens of its name, with an ending that is known."""
    found = Path(re.sub(r"[^\w.-]+", "_", name.replace("\\", "/").rpartition("/")[2]))
    ending = found.suffix.lower()
    if ending not in ENDINGS:
        ending = next((end for start, end in _STARTS.items() if content.startswith(start)), ".png")
    return f"{found.stem.strip('.')[:_LONGEST].encode('ascii', 'ignore').decode() or 'picture'}{ending}"


_STARTS = {b"MThd": ".mid", b"fLaC": ".flac", b"OggS": ".ogg", b"\x93NUMPY": ".npy"}
"""How files of sounds, music and numbers begin."""
