"""Checkpoints: folders that are whole or not there, and hold nothing that can run.

A checkpoint ``step-N`` has one safetensors file for each part of the training, ``state.json``, and whatever the caller
adds. It is a sealed folder (``files.sealed``), and older ones are deleted only when it is there. So a process that is
killed, or a disk that fills up, at any moment leaves the previous checkpoint as it was.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from carrara.errors import UserError
from carrara.files import (
    BadFile,
    Malformed,
    as_kind,
    make_folder,
    read_as,
    read_tensors,
    sealed,
    write_bytes,
    write_tensors,
)
from carrara.train.sharding import as_sharded

CHECKPOINT_FORMAT = 1
"""Of the folder's layout; a reader refuses a higher one."""
STATE, TENSORS = "state.json", ".safetensors"

Parts = Mapping[str, Mapping[str, Tensor]]
"""Tensors by part, then by name."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What every ``state.json`` says: its format, and how many steps were done."""

    format: Annotated[int, Field(ge=0, le=1 << 31)] = 1
    step: Annotated[int, Field(ge=0, le=1 << 53)]


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
        prune(folder, checkpoint.step, keep)
    return final


def prune(folder: Path, step: int, keep: int) -> None:
    """Deletes all checkpoints up to a step but the newest ``keep``."""
    for old in [path for path in steps(folder) if _step(path) <= step][:-keep]:
        sealed.take_away(old)


def latest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint, if there is any, and a sentence for each newer one that is damaged.

    Raises:
        UserError: there are checkpoints, but none is whole: going on would mean to start again.
    """
    warnings: list[str] = []
    for path in reversed(steps(folder)):
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
    names = [name for name in sealed.read_manifest(path).files if name.endswith(TENSORS)]
    try:
        state = read_as(path / STATE, dict[str, Any], known=CHECKPOINT_FORMAT)
        moment = as_kind(state, Moment)
        parts = {name.removesuffix(TENSORS): read_tensors(path / name) for name in names}
    except (BadFile, Malformed) as error:
        why = f"{STATE} {error}" if isinstance(error, Malformed) else error.message
        raise UserError(f"the checkpoint {path} cannot be read ({why}): use another one of its folder") from error
    rest = {name: value for name, value in state.items() if name not in ("format", "step")}
    return Checkpoint(step=moment.step, parts=parts, state=rest)


def damage(path: Path) -> str | None:
    """Why a checkpoint is not what was written, or None: every file of the manifest is there, byte by byte."""
    return sealed.damage(path, (STATE,))


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
        tensor.copy_(as_sharded(theirs[key], tensor))


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
    advice = f"the checkpoints before {final.name} are untouched"
    make_folder(final.parent, final.parent.parent, advice)
    sealed.write_folder(final, lambda folder: _write(folder, checkpoint, extra), advice)


def _write(folder: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes]) -> None:
    for part, tensors in checkpoint.parts.items():
        copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        write_tensors(folder / f"{part}{TENSORS}", copies)
    state = {"format": CHECKPOINT_FORMAT, "step": checkpoint.step, **checkpoint.state}
    for name, content in {**extra, STATE: json.dumps(state, indent=1).encode()}.items():
        write_bytes(folder / name, content)


def steps(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first, damaged ones among them; none if there is no folder."""
    named = (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal())
    return sorted(named, key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
