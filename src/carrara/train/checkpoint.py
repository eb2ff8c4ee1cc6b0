"""Checkpoints: folders that are whole or not there, and hold nothing that can run.

A checkpoint ``step-N`` has one safetensors file for each part of the training, or what each rank has of all of them
(``files.parts``), ``state.json``, and whatever the caller adds. It is a sealed folder (``files.sealed``), and older
ones are deleted only when it is there. So a process that is killed, or a disk that fills up, at any moment leaves the
previous checkpoint as it was.
"""

import json
from collections.abc import Callable, Mapping
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
    declared_parts,
    has_parts,
    is_regular,
    make_folder,
    read_as,
    read_bytes,
    read_parts,
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
        parts: one file each; of a checkpoint that ranks have written in parts, tensors on the meta device, which
            ``copy_into`` reads.
        state: what else there is to say, as JSON: ``images``, ``seconds`` ...
    """

    step: int
    parts: Parts
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])


def write_whole(folder: Path, parts: Parts) -> None:
    """Writes a file for each part of a training.

    Raises:
        OSError: the disk is full, or refuses.
    """
    for part, tensors in parts.items():
        copies = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        write_tensors(folder / f"{part}{TENSORS}", copies)


def save(
    folder: Path,
    checkpoint: Checkpoint,
    *,
    extra: Mapping[str, bytes] | None = None,
    keep: int | None = None,
    write: Callable[[Path, Parts], None] = write_whole,
) -> Path:
    """Writes ``folder/step-N``, then deletes all but the newest ``keep`` up to N (None: deletes nothing).

    A whole ``step-N`` that is already there stays as it is.

    Args:
        write: writes the tensors into a folder.

    Raises:
        UserError: the disk is full, or refuses. What was saved before is untouched.
    """
    final = folder / f"step-{checkpoint.step}"
    if is_missing(final):
        _save_new(final, checkpoint, extra or {}, write)
    if keep is not None:
        prune(folder, checkpoint.step, keep)
    return final


def is_missing(path: Path) -> bool:
    """Whether a checkpoint is not there, or not what was written."""
    return not path.exists() or damage(path) is not None


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
    try:
        state = read_as(path / STATE, dict[str, Any], known=CHECKPOINT_FORMAT)
        moment = as_kind(state, Moment)
        parts = _by_part(declared_parts(path)) if has_parts(path) else _whole(path)
    except (BadFile, Malformed) as error:
        why = f"{STATE} {error}" if isinstance(error, Malformed) else error.message
        raise UserError(f"the checkpoint {path} cannot be read ({why}): use another one of its folder") from error
    rest = {name: value for name, value in state.items() if name not in ("format", "step")}
    return Checkpoint(step=moment.step, parts=parts, state=rest)


def damage(path: Path) -> str | None:
    """Why a checkpoint is not what was written, or None: every file of the manifest is there, byte by byte."""
    return sealed.damage(path, (STATE,))


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder has the weights of a moment of a training, and not a finished model."""
    return is_regular(folder / f"ema{TENSORS}") or has_parts(folder)


def consolidate(path: Path, out: Path) -> None:
    """Writes what is needed to use a checkpoint in parts, with whole tensors, into a folder that is there: all but the
    optimizers' moments.

    Raises:
        UserError: it is damaged.
        OSError: the disk is full, or refuses.
    """
    saved = load_checkpoint(path)
    used = {part: tensors for part, tensors in saved.parts.items() if part != "optimizer"}
    whole = {part: {n: torch.empty_like(t, device="cpu") for n, t in own.items()} for part, own in used.items()}
    copy_into(whole, used, path)
    write_whole(out, whole)
    for name in sealed.read_manifest(path).files:
        if not name.endswith(TENSORS):
            write_bytes(out / name, read_bytes(path / name))


@torch.no_grad()
def copy_into(live: Parts, saved: Parts, source: Path) -> None:
    """Copies saved tensors into live ones; both must have the same parts, names, shapes and types.

    Args:
        source: the checkpoint, from which tensors on the meta device are read.

    Raises:
        UserError: they differ, so the checkpoint is of another model. No live tensor has changed.
    """
    mine, theirs = by_name(live), by_name(saved)
    for key in [*mine, *theirs]:
        if why := _mismatch(mine.get(key), theirs.get(key)):
            part, _, name = key.partition("/")
            raise UserError(
                f"the checkpoint {source} is of another model: in {part}{TENSORS}, '{name}' {why}; go back to "
                "the recipe that it was made with, or train in a new folder"
            )
    if any(tensor.is_meta for tensor in theirs.values()):
        read_parts(source, mine)
        return
    for key, tensor in mine.items():
        tensor.copy_(as_sharded(theirs[key], tensor))


def by_name(parts: Parts) -> dict[str, Tensor]:
    """All tensors, each by its part and its name: ``ema/denoiser.weight``."""
    return {f"{part}/{name}": tensor for part in parts for name, tensor in parts[part].items()}


def _by_part(tensors: Mapping[str, Tensor]) -> Parts:
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = tensor
    return parts


def _whole(path: Path) -> Parts:
    names = [name for name in sealed.read_manifest(path).files if name.endswith(TENSORS)]
    return {name.removesuffix(TENSORS): read_tensors(path / name) for name in names}


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


def _save_new(
    final: Path, checkpoint: Checkpoint, extra: Mapping[str, bytes], write: Callable[[Path, Parts], None]
) -> None:
    advice = f"the checkpoints before {final.name} are untouched"
    state = {"format": CHECKPOINT_FORMAT, "step": checkpoint.step, **checkpoint.state}

    def fill(folder: Path) -> None:
        write(folder, checkpoint.parts)
        for name, content in {**extra, STATE: json.dumps(state, indent=1).encode()}.items():
            write_bytes(folder / name, content)

    make_folder(final.parent, final.parent.parent, advice)
    sealed.write_folder(final, fill, advice)


def steps(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first, damaged ones among them; none if there is no folder."""
    named = (path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal())
    return sorted(named, key=_step)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
