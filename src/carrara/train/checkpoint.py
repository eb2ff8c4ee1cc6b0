"""Checkpoints: folders that are whole or not there, and hold nothing that can run.

A checkpoint ``step-N`` has one safetensors file for each part of the training, ``state.json``, whatever the caller
adds, and ``manifest.json`` with every file's size and SHA-256. It is written under a hidden name, each file forced to
the disk and the manifest last; then it is renamed, which is atomic; only then older ones are deleted. So a process that
is killed, or a disk that fills up, at any moment leaves the previous checkpoint as it was.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from carrara.errors import UserError

CHECKPOINT_FORMAT = 1
"""Of the folder's layout; a reader refuses a higher one."""
MANIFEST, STATE, TENSORS = "manifest.json", "state.json", ".safetensors"

Parts = Mapping[str, Mapping[str, Tensor]]
"""Tensors by part, then by name."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A moment of a training.

    Attributes:
        step: optimizer steps done.
        parts: one file each.
        state: what else there is to say, as JSON: ``images``, ``seconds`` ...
    """

    step: int
    parts: Parts
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])


def save(
    folder: Path, checkpoint: Checkpoint, *, extra: Mapping[str, bytes] | None = None, keep: int | None = None
) -> Path:
    """Writes ``folder/step-N``, then deletes all but the newest ``keep`` up to N (None: deletes nothing).

    A whole ``step-N`` that is already there stays as it is.

    Raises:
        UserError: the disk is full, or refuses. What was saved before is untouched.
    """
    final = folder / f"step-{checkpoint.step}"
    if not final.exists() or damage(final):
        _save_new(final, checkpoint, extra or {})
    if keep is not None:
        for old in [path for path in _steps(folder) if _step(path) <= checkpoint.step][:-keep]:
            _delete(old)
    return final


def latest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint, if there is any, and a sentence for each newer one that is damaged.

    Raises:
        UserError: there are checkpoints, but none is whole: going on would mean to start again.
    """
    warnings: list[str] = []
    for path in reversed(_steps(folder)):
        why = damage(path)
        if why is None:
            return path, warnings
        warnings.append(f"the checkpoint {path.name} is damaged and not used: {why}.")
    if warnings:
        raise UserError(
            f"no checkpoint in {folder} can be used ({warnings[0]}): put one back from a copy, or delete "
            "that folder to train again from the start"
        )
    return None, warnings


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint, after checking it against its manifest.

    Raises:
        UserError: it is damaged, is no checkpoint, or was written by a newer version.
    """
    if why := damage(path):
        raise UserError(f"the checkpoint {path} is damaged: {why}; use another one of its folder")
    try:
        state = json.loads((path / STATE).read_bytes())
        version, step = int(state.pop("format")), int(state.pop("step"))
        if version > CHECKPOINT_FORMAT:
            raise UserError(f"the checkpoint {path} was written by a newer version of carrara: update carrara")
        parts = {name.removesuffix(TENSORS): load_file(path / name) for name in _tensor_files(path)}
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UserError(f"the checkpoint {path} cannot be read ({error}): use another one of its folder") from error
    return Checkpoint(step=step, parts=parts, state=state)


def damage(path: Path) -> str | None:
    """Why a checkpoint is not what was written, or None: every file of the manifest is there, byte by byte."""
    try:
        files = json.loads((path / MANIFEST).read_bytes())["files"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"its {MANIFEST} is missing or cannot be read"
    if STATE not in expected:
        return f"its {MANIFEST} does not list {STATE}"
    for name, (size, digest) in expected.items():
        try:
            if (found := (path / name).stat().st_size) != size:
                return f"{name} has {found} bytes and not {size}"
            if _sha256(path / name) != digest:
                return f"{name} is not what was written"
        except OSError:
            return f"{name} is missing or cannot be read"
    return None


@torch.no_grad()
def copy_into(live: Parts, saved: Parts, source: Path) -> None:
    """Copies saved tensors into live ones; both must have the same parts, names, shapes and types.

    Raises:
        UserError: they differ, so the checkpoint is of another model. No live tensor has changed.
    """
    mine = {(part, name): tensor for part in live for name, tensor in live[part].items()}
    theirs = {(part, name): tensor for part in saved for name, tensor in saved[part].items()}
    for part, name in [*mine, *theirs]:
        if why := _mismatch(mine.get((part, name)), theirs.get((part, name))):
            raise UserError(
                f"the checkpoint {source} is of another model: in {part}{TENSORS}, '{name}' {why}; go back to "
                "the recipe that it was made with, or train in a new folder"
            )
    for key, tensor in mine.items():
        tensor.copy_(theirs[key])


def _mismatch(mine: Tensor | None, theirs: Tensor | None) -> str | None:
    if mine is None:
        return "is not in the model"
    if theirs is None:
        return "is missing"
    if mine.shape != theirs.shape:
        return f"has shape {tuple(theirs.shape)}, and the model {tuple(mine.shape)}"
    if mine.dtype != theirs.dtype:
        return f"has type {theirs.dtype}, and the model {mine.dtype}"
    return None


def _save_new(final: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes]) -> None:
    folder, temporary = final.parent, _hidden(final)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        temporary.mkdir()
        _write(temporary, checkpoint, extra)
        _delete(final)
        temporary.rename(final)
        _sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"{final} could not be saved ({error}): the checkpoints before it are untouched; make room on the disk and "
            "run the same command to go on from there"
        ) from error


def _write(folder: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes]) -> None:
    for part, tensors in checkpoint.parts.items():
        save_file(
            {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()},
            folder / f"{part}{TENSORS}",
        )
    state = {"format": CHECKPOINT_FORMAT, "step": checkpoint.step, **checkpoint.state}
    for name, content in {**extra, STATE: json.dumps(state, indent=1).encode()}.items():
        (folder / name).write_bytes(content)
    files = {file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in sorted(folder.iterdir())}
    for name in files:
        _sync(folder / name)
    (folder / MANIFEST).write_text(
        json.dumps({"format": CHECKPOINT_FORMAT, "files": files}, indent=1), encoding="utf-8"
    )
    _sync(folder / MANIFEST)
    _sync(folder)


def _tensor_files(path: Path) -> list[str]:
    """From the manifest: a file that somebody put beside them is not part of the checkpoint."""
    names: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())["files"]
    return [name for name in names if name.endswith(TENSORS)]


def _steps(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first, damaged ones among them."""
    named = (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal())
    return sorted(named, key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _hidden(path: Path, role: str = "") -> Path:
    return path.with_name(f".{role}{path.name}.{os.getpid()}.tmp")


def _sweep(folder: Path) -> None:
    """Deletes what processes that are no more left unfinished."""
    for path in folder.glob(".*.tmp"):
        process = path.name.split(".")[-2]
        if not process.isdecimal() or int(process) == os.getpid() or not _is_alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere signal 0 would end the process
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _delete(path: Path) -> None:
    """Takes a checkpoint away in one moment, then its files; what cannot be deleted stays."""
    with contextlib.suppress(OSError):
        path.rename(doomed := _hidden(path, "old-"))
        shutil.rmtree(doomed)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Forces a file, or a folder's list of names, to the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
