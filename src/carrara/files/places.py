"""Folders that are read from, on this machine or afar: whatever fsspec has a file system for (S3, GCS, HTTP, memory).

What lies afar is asked for in ranges of bytes where its server answers those, else as a whole file, and what came is
kept in a bounded ``Cache``. A request that fails is repeated after growing times of waiting; what is surely not there
is not asked for again.
"""

import hashlib
import io
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, final

from carrara.errors import UserError
from carrara.files.cached import Cache
from carrara.files.reading import TEXT, BadFile, TooLarge, opened, read_bytes, shown, unreadable
from carrara.files.writing import NotWritten, cache_folder, explained, replacing

_T = TypeVar("_T")

WAITS = [0.2, 1.0, 5.0]
"""Seconds before a request is repeated for the first, the second and the third time."""
WHOLE = 1 << 32
"""The largest file, in bytes, that is taken as a whole from a server that does not answer ranges."""
_AT_ONCE = 1 << 24  # bytes
_SHORT = "is shorter than its index says"
_GONE = "is not there"
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_HIDDEN = re.compile(r"//[^/@]*@")  # a name and a password
_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp", "az": "adlfs",
    "abfs": "adlfs", "memory": "fsspec", "file": "fsspec",
}  # fmt: skip


def is_url(path: str | Path) -> bool:
    """Whether something is an address, as ``s3://bucket/shards``, and no path."""
    return bool(_URL.match(str(path)))


class Place(ABC):
    """A folder that is read from. Abstract in where it is; ``str`` of it can stand in a sentence.

    A ``mark`` is the hash of a file that does not change, 32 hexadecimal digits of BLAKE2b: what is kept of it is not
    asked for again.
    """

    @abstractmethod
    def whole(self, name: str, most: int = TEXT) -> bytes:
        """A small file, as it is now.

        Raises:
            BadFile: it is not there, cannot be read, or is larger than ``most``.
        """

    @abstractmethod
    def part(self, name: str, first: int, count: int, mark: str) -> bytes:
        """So many bytes of a file, from its byte ``first`` on.

        Raises:
            BadFile: they are not there, or cannot be read.
        """

    @abstractmethod
    def file(self, name: str, mark: str, *, lasting: bool = False) -> Path:
        """A file of this machine with the same content.

        Args:
            lasting: it is kept beside the bounded cache, and not deleted to make room.

        Raises:
            BadFile: it is not there, or cannot be read.
        """

    def forget(self, name: str, first: int, mark: str) -> None:
        """Asks again for what was not what it should be."""
        return

    def kept(self, name: str, mark: str, read: Callable[[Path], _T]) -> _T:
        """What is read from a file of this machine with the same content; again, if another process has deleted it
        before it was open, to make room.

        Raises:
            BadFile: it is not there, or cannot be read.
        """
        for _ in WAITS:
            try:
                return read(self.file(name, mark))
            except BadFile as error:
                if error.why != _GONE or isinstance(self, Here):
                    raise
        return read(self.file(name, mark))


class NoRoom(BadFile):
    """A file that cannot be kept on this machine."""


@final
class Here(Place):
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return shown(self._path)

    def whole(self, name: str, most: int = TEXT) -> bytes:
        return read_bytes(self._path / name, most)

    def part(self, name: str, first: int, count: int, mark: str) -> bytes:
        def read() -> bytes:
            with opened(self._path / name) as file:
                try:
                    file.seek(first)
                    return file.read(count)
                except OSError as error:
                    raise unreadable(self._path / name, error) from None

        if first < 0:
            raise BadFile(self._path / name, _SHORT)
        return _checked(_repeated(read), count, self._path / name)

    def file(self, name: str, mark: str, *, lasting: bool = False) -> Path:
        with opened(self._path / name):
            return self._path / name


@final
class There(Place):
    """A folder that fsspec opens.

    Args:
        url: its address.
        most: bytes that are kept of it, and of all others, on this machine.

    Raises:
        UserError: a package is missing, or there is no such kind of address.
    """

    def __init__(self, url: str, most: int) -> None:
        self._url = url.rstrip("/")
        self._files, self._path = _opened(self._url)
        self._cache = Cache(cache_folder() / "remote", most)
        self._in_parts = True

    def __str__(self) -> str:
        return shown(_HIDDEN.sub("//", self._url))

    def whole(self, name: str, most: int = TEXT) -> bytes:
        content = self._asked(name, lambda path: self._files.cat_file(path, start=0, end=most + 1))
        if len(content) > most:
            raise TooLarge(f"{self}/{name}", f"has more than {most} bytes")
        return content

    def part(self, name: str, first: int, count: int, mark: str) -> bytes:
        key = _key(name, mark, first)
        return self._cache.get(key, lambda: self._range(name, first, count, mark), max(count, 1))

    def file(self, name: str, mark: str, *, lasting: bool = False) -> Path:
        if lasting:
            path = Cache(cache_folder() / "remote-index", 0).path(_key(name, mark))
            if not path.is_file():
                self._asked(name, lambda there: self._fetch(there, name, mark, path))
            return path
        key = _key(name, mark)
        found = self._cache.file(key, lambda: self._asked(name, lambda there: self._all(there, name, mark)))
        if found is None:
            raise NoRoom(
                f"{self}/{name}", "does not fit into the cache", "make data.source.cache larger: it is in gigabytes"
            )
        return found

    def forget(self, name: str, first: int, mark: str) -> None:
        self._cache.forget(_key(name, mark, first))
        self._cache.forget(_key(name, mark))

    def _range(self, name: str, first: int, count: int, mark: str) -> bytes:
        if self._in_parts:
            found = self._asked(name, lambda path: self._files.cat_file(path, start=first, end=first + count))
            if len(found) <= count:
                return _checked(found, count, f"{self}/{name}")
            self._in_parts = False  # a server that answers with whole files whatever it is asked for
        return self.kept(name, mark, lambda path: Here(path.parent).part(path.name, first, count, mark))

    def _fetch(self, there: str, name: str, mark: str, path: Path) -> None:
        """Makes a file of this machine that has the same content."""
        with replacing(path, lasting=True) as file:
            self._copy(there, name, mark, file)

    def _all(self, there: str, name: str, mark: str) -> bytes:
        """A whole file, in memory."""
        file = io.BytesIO()
        self._copy(there, name, mark, file, WHOLE)
        return file.getvalue()

    def _copy(self, there: str, name: str, mark: str, file: Any, most: int | None = None) -> None:
        """Writes a whole file of at most so many bytes, which must have the hash that it is known by."""
        digest, count = hashlib.blake2b(digest_size=16), 0
        with self._files.open(there, "rb") as stream:
            while part := stream.read(_AT_ONCE):
                digest.update(part)
                count += len(part)
                if most is not None and count > most:
                    raise TooLarge(f"{self}/{name}", f"has more than {most} bytes")
                with explained(cache_folder()):
                    file.write(part)
        if digest.hexdigest() != mark:
            raise BadFile(f"{self}/{name}", "is not what was written")

    def _asked(self, name: str, ask: Callable[[str], Any]) -> Any:
        def act() -> Any:
            try:
                return ask(f"{self._path}/{name}")
            except (BadFile, NotWritten):
                raise
            except FileNotFoundError:
                raise BadFile(f"{self}/{name}", _GONE) from None
            except Exception as error:  # file systems raise almost anything
                said = " ".join(shown(str(error)).split())[:160] or type(error).__name__
                raise BadFile(f"{self}/{name}", f"cannot be read ({said})") from None

        return _repeated(act)


def place_of(path: str, most: int) -> Place:
    """The folder at a path or an address.

    Args:
        most: see ``There``.

    Raises:
        UserError: see ``There``.
    """
    return There(path, most) if is_url(path) else Here(Path(path))


def _opened(url: str) -> tuple[Any, str]:
    """A file system, and the path in it."""
    scheme = url.partition("://")[0].lower()
    package = _PACKAGES.get(scheme, "what fsspec needs for it")
    needed = "'carrara[remote]'" if package in ("s3fs", "aiohttp", "fsspec") else f"fsspec {package}"
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except ImportError:
        raise UserError(f"'{scheme}://' needs a package that is missing: pip install {needed}") from None
    except ValueError:
        raise UserError(
            f"there is no file system for '{scheme}://': give a path, or s3://, gs:// or https://"
        ) from None
    except Exception as error:  # file systems raise almost anything
        said = " ".join(shown(str(error)).split())[:160] or type(error).__name__
        raise UserError(f"'{shown(_HIDDEN.sub('//', url))}' cannot be opened ({said}): compare the address") from None


def _repeated(act: Callable[[], _T]) -> _T:
    """Acts again, after some time, while it fails; what is not there is not asked for again."""
    for wait in WAITS:
        try:
            return act()
        except BadFile as error:
            if error.why == _GONE:
                raise
            time.sleep(wait)
    return act()


def _checked(found: bytes, count: int, name: Path | str) -> bytes:
    if len(found) != count:
        raise BadFile(name, _SHORT)
    return found


def _key(name: str, mark: str, first: int | None = None) -> str:
    return f"{mark} {'' if first is None else first} {name}"
