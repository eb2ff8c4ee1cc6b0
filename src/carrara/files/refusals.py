"""Why the system refuses to write, in a sentence that says what to do."""

import errno
import shutil
from contextlib import suppress
from pathlib import Path

_SHOWN = 40
"""Characters that a long name has in a message at either end."""
REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the space that you may use on this disk is used up",
    errno.EROFS: "its disk can only be read",
    errno.EACCES: "you have no leave to write there",
    errno.EPERM: "you have no leave to write there",
    errno.EIO: "the disk reports a fault",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "there is a file where a folder should be",
    errno.EEXIST: "there is a file where a folder should be",
    errno.EISDIR: "there is a folder where a file should be",
    errno.ENOTEMPTY: "there is a folder of this name that is not empty",
    errno.ENOENT: "its folder is not there any more",
    errno.ELOOP: "its name is a link that leads to itself",
    errno.EFBIG: "the disk holds no file so large",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "the machine has too many files open",
    errno.EBUSY: "another program uses it",
    errno.ESTALE: "its disk is not there any more",
}
"""What is wrong where the system refuses, by its number."""
_ROOM = (errno.ENOSPC, errno.EDQUOT)
_ADVICE = {
    errno.ENOSPC: "make room on the disk, and run the same command again",
    errno.EDQUOT: "make room on the disk, and run the same command again",
    errno.ENOENT: "run the same command to begin anew, or name another place",
    errno.EIO: "look after the disk, or name another place",
    errno.ENAMETOOLONG: "name a shorter one",
    errno.EMFILE: "allow it more, as with 'ulimit -n', and run the same command again",
    errno.ENFILE: "close some, and run the same command again",
}


def refusal(
    path: Path | str, error: OSError, needed: int | None = None, advice: str = "", done: str = "could not be written"
) -> str:
    """The sentence for what the system refuses.

    Args:
        path: what was to be written; or in words, where it has no name.
        needed: how many bytes that has, if that is known.
        advice: what else to say; left out where the folder is gone.
        done: what did not happen.
    """
    number = error.errno or 0
    why, then = REFUSALS.get(number, error.strerror or str(error)), _ADVICE.get(number, "name another place")
    if number in _ROOM:
        free, wanted = (
            free_space(path) if isinstance(path, Path) else None,
            "" if not needed else f"{in_words(needed)} are needed, ",
        )
        why += "" if free is None else f" ({wanted}{in_words(free)} are free)"
    more = f"; {advice}" if advice and number != errno.ENOENT else ""
    return f"'{_brief(path)}' {done}: {why}: {then}{more}"


def free_space(path: Path) -> int | None:
    """The bytes that are free where ``path`` is or would be; None if that cannot be known."""
    with suppress(OSError):
        return shutil.disk_usage(next(p for p in (path, *path.absolute().parents) if p.exists())).free
    return None


def in_words(size: int) -> str:
    """A number of bytes as one reads it."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"


def _brief(path: Path | str) -> str:
    """A name, as far as a sentence has room."""
    name = str(path)
    return name if len(name) <= 5 * _SHOWN else f"{name[:_SHOWN]}...{name[-_SHOWN:]}"
