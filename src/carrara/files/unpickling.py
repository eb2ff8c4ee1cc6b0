"""Makes a safetensors file of a checkpoint that torch has pickled: ``unpickling.py IN OUT``, a process of its own.

It is given what anybody may have written, so it is told little and may do little: it has no network, starts no other
process, and has bounded memory, time and output. Nothing of the package is imported. torch's reader of weights makes
tensors and plain containers alone; of what trainers keep beside their weights, empty shells take the places. What is
wrong is one line at the end of its standard error, after ``MARK``.
"""

import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

MARK = "refused: "
PASSED_OVER = ("opt", "optimizer", "optimizers", "optimizer_states", "scaler", "lr_schedulers", "callbacks", "loops")
"""Keys of what a training needs to go on, which is not looked into."""
SHELLS = ("pytorch_lightning.", "lightning.", "argparse.Namespace", "omegaconf.", "numpy.", "collections.defaultdict")
"""What trainers have in their checkpoints beside weights; as empty shells, they do nothing."""
TYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32")
DEEPEST = 4
"""Levels of keys."""
MOST = 100_000
"""Tensors."""
_NAMESPACES = 0x10000000 | 0x40000000  # of users, and of networks: see unshare(2)
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_FORBIDDEN = ("socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "ftplib.")


class Shell:
    """In the place of any object that is not looked at."""

    def __new__(cls, *_: object, **__: object) -> "Shell":
        return super().__new__(cls)

    def __setstate__(self, _: object) -> None:
        pass

    def __setitem__(self, _: object, __: object) -> None:
        pass

    def append(self, _: object) -> None:
        pass


def alone() -> None:
    """Gives up what is not needed: the network, other processes, and much memory."""
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).unshare(_NAMESPACES)  # where users may; the hook holds everywhere
    except (OSError, AttributeError):
        pass
    sys.addaudithook(_watch)


def _watch(event: str, _: object) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(f"it wants {event}")


def bound(memory: int, output: int, seconds: int) -> None:
    """Bounds what the process may use, where the system can."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, output),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (most if hard < 0 else min(most, hard), hard))
        except (OSError, ValueError):
            continue


def read(torch: Any, path: str) -> Any:
    """What the file holds."""
    packed = zipfile.is_zipfile(path)
    if not packed and _begins(path, b"PK"):
        refuse("is not whole")
    if packed:
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                refuse("is packed, which no weights of torch are")
        strange = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        if others := [name for name in strange if not name.startswith(SHELLS)]:
            refuse(f"holds more than tensors ({others[0][:100]}), and nothing of it is run")
        torch.serialization.add_safe_globals([(Shell, name) for name in strange])
    return torch.load(path, map_location="cpu", weights_only=True, mmap=packed)


def _begins(path: str, with_: bytes) -> bool:
    with Path(path).open("rb") as file:
        return file.read(len(with_)) == with_


def flattened(torch: Any, found: object, above: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All dense tensors in mappings, by their keys with dots between them."""
    if not isinstance(found, Mapping) or depth > DEEPEST:
        return
    for key, value in found.items():
        if not isinstance(key, str) or (not depth and key in PASSED_OVER):
            continue
        name = f"{above}{key}"
        if isinstance(value, torch.Tensor):
            if value.layout == torch.strided and value.device.type == "cpu":
                yield name, value.detach()
        else:
            yield from flattened(torch, value, f"{name}.", depth + 1)


def taken(torch: Any, found: object, size: int) -> dict[str, Any]:
    """The tensors to write, none of them a part of another, and no more of them than the file has bytes for."""
    types = [getattr(torch, name) for name in TYPES]
    tensors: dict[str, Any] = {}
    total, seen = 0, set[int]()
    for name, value in flattened(torch, found):
        total += value.numel() * value.element_size()
        if total > 2 * size or len(tensors) == MOST:
            refuse("declares more numbers than it has")
        if value.dtype not in types:
            continue
        place = value.untyped_storage().data_ptr()
        shared = place in seen or value.untyped_storage().nbytes() != value.numel() * value.element_size()
        tensors[name] = value.clone().contiguous() if shared else value.contiguous()
        seen.add(place)
    if not tensors:
        refuse("holds no tensors by name")
    return tensors


def refuse(why: str) -> NoReturn:
    """Ends the process with a sentence."""
    print(f"{MARK}{why}", file=sys.stderr)
    sys.exit(3)


def main(path: str, out: str, size: int, memory: int, seconds: int) -> None:
    """Reads ``path`` of ``size`` bytes, and writes ``out``."""
    alone()
    bound(memory, 2 * size + (1 << 26), seconds)
    warnings.simplefilter("ignore")
    import torch
    from safetensors.torch import save_file

    try:
        save_file(taken(torch, read(torch, path), size), out)
    except MemoryError:
        refuse("needs more memory than such a file may")
    except Exception as error:  # torch's reader raises almost anything
        if found := _GLOBAL.search(str(error)):
            refuse(f"holds more than tensors ({found[1][:100]}), and nothing of it is run")
        refuse(f"holds no weights that can be read safely ({' '.join(str(error).split())[:160]})")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
