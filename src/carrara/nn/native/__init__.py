"""Kernels in C++, which are compiled on the machine that they run on, for what its processor can do.

That happens once, when something first asks for them: it takes a quarter of a minute, and the library is kept in the
user's cache folder. Where there is no compiler, everything is computed by torch's own.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from carrara.errors import UserError
from carrara.files import cache_folder, incoming, moved, read_bytes, read_text

SECONDS = 240
"""After which the compiler is given up."""
_SOURCES = (Path(__file__).parent / "winograd.cpp",)
_FLAGS = ("-O3", "-march=native", "-std=c++20", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared", "-w")


@cache
def missing() -> str:
    """Loads the kernels into ``torch.ops.carrara``; "" if they are there, or why not, in words."""
    if sys.platform != "linux":
        return "they are compiled on Linux alone"
    compiler = shlex.split(os.environ.get("CXX") or "g++")
    if not compiler or shutil.which(compiler[0]) is None:
        return f"there is no C++ compiler {' '.join(compiler)}".rstrip()
    try:
        torch.ops.load_library(_library(compiler))
    except subprocess.TimeoutExpired:
        return f"{compiler[0]} took more than {SECONDS} s"
    except subprocess.CalledProcessError as error:
        return f"{compiler[0]} failed: {_first_error(error.stderr)}"
    except (UserError, OSError) as error:
        return str(error)
    return ""


def _library(compiler: Sequence[str]) -> Path:
    """The compiled library, which is made if it is not there."""
    flags = (*_FLAGS, *shlex.split(os.environ.get("CXXFLAGS", "")))
    final = cache_folder() / f"kernels-{_digest(compiler, flags)}.so"
    if not final.is_file():
        from torch.utils.cpp_extension import include_paths, library_paths  # slow to import

        with incoming(final.parent) as place:
            made = place / final.name
            headers = [f"-I{path}" for path in include_paths()]
            linked = [*(f"-L{path}" for path in library_paths()), "-ltorch", "-ltorch_cpu", "-lc10"]
            _run([*compiler, *flags, *headers, *map(str, _SOURCES), "-o", str(made), *linked])
            moved(made, final)
    return final


def _digest(compiler: Sequence[str], flags: Sequence[str]) -> str:
    """Of all that the library depends on: a cache folder may be shared by machines."""
    processor = next((line for line in read_text(Path("/proc/cpuinfo")).splitlines() if line.startswith("flags")), "")
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((_run([*compiler, "-dumpversion"]), flags, torch.__version__, processor)).encode())
    for source in _SOURCES:
        digest.update(read_bytes(source))
    return digest.hexdigest()


def _run(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def _first_error(said: str) -> str:
    lines = [line for line in said.splitlines() if "error" in line] or said.splitlines() or ["it said nothing"]
    return lines[0].strip()[:200]
