"""The places of a process at which its files change: each before it happens, and a file also when it is just open."""

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch

from carrara.train.log import Log

CHANGES = ("rename", "replace", "fsync", "unlink", "remove", "rmdir", "mkdir", "ftruncate", "pwrite")


class Places:
    """Counts them in this process from now on.

    Args:
        visit: called at each with its number.

    Attributes:
        names: what was about to happen.
    """

    def __init__(self, visit: Callable[[int], None]) -> None:
        self.names: list[str] = []
        self._visit, self._visiting = visit, False
        for name in CHANGES:
            setattr(os, name, self._before(name, getattr(os, name)))
        safetensors.torch.save_file = self._before("save_file", safetensors.torch.save_file)
        os.open = self._opening(os.open, lambda flags: isinstance(flags, int) and bool(flags & os.O_CREAT))
        builtins.open = io.open = self._opening(io.open, lambda mode: isinstance(mode, str) and set(mode) & set("wax+"))
        Log.write = self._half(Log.write)

    def _aside(self, work: Callable[..., object], *args: object) -> None:
        """Does what is no place itself."""
        self._visiting = True
        work(*args)
        self._visiting = False

    def _here(self, name: str, what: object) -> None:
        if self._visiting:
            return
        self.names.append(f"{name} {Path(what).name if isinstance(what, str | Path) else str(what)[:40]}")
        self._aside(self._visit, len(self.names) - 1)

    def _before(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self._here(name, args[-1] if name == "save_file" else args[0])
            return function(*args, **kwargs)

        return run

    def _opening(self, function: Callable[..., Any], writes: Callable[[Any], Any]) -> Callable[..., Any]:
        def run(path: Any, mode: Any = "r", *args: Any, **kwargs: Any) -> Any:
            if not writes(mode) or isinstance(path, int):
                return function(path, mode, *args, **kwargs)
            self._here("open", path)
            file = function(path, mode, *args, **kwargs)
            self._here("write", path)
            return file

        return run

    def _half(self, write: Callable[..., Any]) -> Callable[..., Any]:
        """A line of a log is half there for a moment."""

        def run(log: Any, line: Any) -> None:
            self._here("write", line)
            write(log, line)
            whole = log._path.read_bytes()
            self._aside(log._path.write_bytes, whole[:-7])
            self._here("half", line)
            self._aside(log._path.write_bytes, whole)

        return run
