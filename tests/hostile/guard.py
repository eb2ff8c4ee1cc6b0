"""What a process does while a stranger's thing is opened: what it runs, reads, writes and asks the network for."""

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

ADDRESSES = 12 << 30
"""The most memory that may be asked for beyond what there is: a process that wants more shall not end the machine."""
EXECUTION = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "pickle.")
SOCKETS = ("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostby", "socket.send")
SOCKETS += ("http.", "urllib.", "ftplib.", "smtplib.")
WRITES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
WRITES += ("shutil.",)
SYSTEM = (
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/null",
    "/dev/urandom",
)
"""What torch and Python ask the machine about itself."""


class Guard:
    """An audit hook that writes down what leaves the allowed folders, while ``armed``.

    Args:
        writable: the folders of the case, of the cache, and of temporary files.
        readable: other folders and files.
    """

    def __init__(self, writable: Sequence[Path], readable: Sequence[Path]) -> None:
        self.writable = tuple(os.path.realpath(path) for path in writable)
        self.readable = (*self.writable, *(os.path.realpath(path) for path in readable), *SYSTEM)
        self.events: list[str] = []
        self._armed = self._busy = False
        sys.dont_write_bytecode = True  # of what is imported on the way
        sys.addaudithook(self._hook)

    @contextmanager
    def armed(self) -> Generator[None]:
        """A block that is watched."""
        self._armed = True
        try:
            yield
        finally:
            self._armed = False

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._armed or self._busy:
            return
        self._busy = True
        try:
            if (found := self._judged(event, arguments)) is not None:
                self.events.append(found)
        finally:
            self._busy = False

    def _judged(self, event: str, arguments: tuple[object, ...]) -> str | None:
        if event == "open":
            return self._opened(*arguments)
        if event.startswith(EXECUTION):
            return f"execution: {event} {arguments}"[:300]
        if event.startswith(SOCKETS):
            return f"socket: {event} {arguments}"[:300]
        if event == "exec":
            source = str(getattr(arguments[0], "co_filename", "<string>"))
            strange = not source.startswith("<") and not self._lies(source, self.readable[len(self.writable) :])
            return f"execution: {source}" if strange else None
        if event.startswith(WRITES):
            paths = [one for one in arguments if isinstance(one, str | bytes | os.PathLike)]
            strange = [one for one in paths if not self._lies(one, self.writable, parent=True)]
            return f"write: {event} {strange}" if strange else None
        return None

    def _opened(self, path: object, mode: object, flags: object) -> str | None:
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        own = isinstance(flags, int) and bool(flags & os.O_NOFOLLOW)  # a link is not followed, but refused
        allowed = self.writable if writes else self.readable
        if os.fsdecode(path) == os.devnull or self._lies(path, allowed, parent=own):
            return None
        return f"{'write' if writes else 'read'}: {os.fsdecode(path)!r}"

    def _lies(self, path: str | bytes | os.PathLike[str], folders: Sequence[str], *, parent: bool = False) -> bool:
        """Whether a file lies in one of the folders, when links are followed; of a ``parent``'s entry, not its own."""
        name = Path(os.fsdecode(path))
        real = f"{os.path.realpath(name.parent)}/{name.name}" if parent else os.path.realpath(name)
        own = f"/proc/{os.getpid()}"
        return any(real == folder or real.startswith(f"{folder}/") for folder in (*folders, own))


class Watch:
    """Sees by the kernel who opens a file in a folder, in whatever language: safetensors and tokenizers are Rust."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        opens = 0x20
        assert self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), opens) >= 0

    def seen(self) -> list[str]:
        """The names of what was opened; a folder itself has none."""
        found: list[str] = []
        try:
            events = os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return found
        while events:
            _, _, _, length = struct.unpack_from("iIII", events)
            found.append(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
        return found


def bound_memory() -> None:
    """Sees to it that a process which asks for terabytes is refused them."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESSES, now + ADDRESSES))


def forget_peak() -> None:
    """Begins to measure the largest memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> int:
    """``VmRSS`` or ``VmHWM``, the largest since ``forget_peak``, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))
