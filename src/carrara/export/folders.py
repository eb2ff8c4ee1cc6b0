"""Folders of diffusers' pipelines, which anybody may have put together: nothing in them is run, no name leads out of
them, and what a file declares is compared with what is wanted before it is loaded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from json import dumps
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from carrara.errors import UserError, unknown
from carrara.files import (
    BadFile,
    Malformed,
    as_kind,
    is_folder,
    is_regular,
    make_folder,
    read_json,
    read_tensors,
    shapes,
    write_bytes,
    write_tensors,
)
from carrara.kinds import mapping_of

INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model"
VERSION = "0.38.0"
"""Of diffusers, since when such a folder is read."""
TYPES = (torch.float32, torch.float16, torch.bfloat16)
FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What attention's layers were called in older folders."""
SHARDS = 1000
"""The most files of one part."""
T = TypeVar("T")


def write_index(out: Path, pipeline: str, parts: Mapping[str, str], more: Mapping[str, Any]) -> None:
    """Writes ``model_index.json``: the class of the pipeline, and of each part, and what else it is told."""
    classes = {name: ["diffusers", kind] for name, kind in parts.items()}
    write_json(out / INDEX, {"_class_name": pipeline, "_diffusers_version": VERSION, **classes, **more})


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a file of a folder that has no name yet."""
    make_folder(path.parent)
    write_bytes(path, (dumps(value, indent=2) + "\n").encode())


def write_part(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes a part's configuration and weights."""
    write_json(folder / "config.json", config)
    write_tensors(folder / f"{WEIGHTS}.safetensors", tensors)


def read_index(path: Path) -> Mapping[str, Any]:
    """``model_index.json``.

    Raises:
        UserError: there is none.
    """
    if not is_regular(path / INDEX):
        raise UserError(f"'{path}' holds no pipeline of diffusers: there is no {INDEX} in it")
    return _mapping(path / INDEX)


def part(path: Path, index: Mapping[str, Any], name: str, classes: Sequence[str], library: str = "diffusers") -> Path:
    """The folder of a pipeline's part, which is of one of some classes of a package.

    Raises:
        UserError: it is missing, or of another class.
    """
    found = index.get(name)
    said = cast(list[object], found) if isinstance(found, list) else []
    if len(said) != 2 or said[0] != library:
        raise UserError(f"'{path / INDEX}' names no part '{name}' of {library}' own")
    if said[1] not in classes:
        raise unknown(f"class of '{name}' in {INDEX}", str(said[1]), classes)
    if not is_folder(path / name):
        raise UserError(f"the part '{name}' is missing: there is no folder '{path / name}'")
    return path / name


def read_config(path: Path, kind: type[T]) -> T:
    """A part's configuration, with the defaults of its class.

    Raises:
        UserError: it is missing, damaged, or has a key that means nothing here.
    """
    found = {key: value for key, value in _mapping(path).items() if not key.startswith("_")}
    known = {field.name for field in fields(cast(Any, kind))}
    if strange := sorted(found.keys() - known):
        raise BadFile(path, f"has the key '{strange[0][:100]}', which means nothing here")
    try:
        return as_kind(found, kind)
    except Malformed as error:
        raise BadFile(path, str(error)) from None


def read_mapping(path: Path) -> Mapping[str, Any]:
    """A JSON file that holds keys.

    Raises:
        UserError: it is missing, or holds something else.
    """
    return _mapping(path)


def weight_files(folder: Path, stem: str = WEIGHTS) -> list[Path]:
    """The safetensors files of a part, which are called ``stem``.

    Raises:
        UserError: there are none, or an index names one outside the folder.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if is_regular(single):
        return [single]
    if is_regular(index):
        found = mapping_of(_mapping(index).get("weight_map"))
        if not found:
            raise BadFile(index, "has no weight_map")
        names = sorted({str(name) for name in found.values()})
        if len(names) > SHARDS:
            raise BadFile(index, f"names {len(names)} files, and {SHARDS} are read")
        for name in names:
            if PurePosixPath(name).name != name or "\\" in name or not name.endswith(".safetensors"):
                raise BadFile(index, f"names the file '{name[:100]}', and only safetensors files beside it are read")
        return [folder / name for name in names]
    if is_regular(half := folder / f"{stem}.fp16.safetensors"):
        return [half]
    others = [other.name for other in folder.iterdir() if other.suffix in (".bin", ".ckpt", ".pt", ".msgpack")]
    if others:
        raise UserError(
            f"the weights in '{folder}' are no safetensors files ({min(others)}), and others are not read: save the "
            "pipeline again with safe_serialization=True"
        )
    raise UserError(f"there are no weights in '{folder}': {single.name} is missing")


def read_weights(
    files: Sequence[Path], like: Mapping[str, tuple[int, ...]], current: Callable[[str], str | None]
) -> dict[str, Tensor]:
    """The tensors of a part, in float32.

    Args:
        like: names and shapes of what they must be.
        current: what a name of an older folder is now; None if nobody needs it.

    Raises:
        UserError: there is something else in them, or of another type.
    """
    seen = {
        name: (path, shape)
        for path in files
        for old, shape in shapes(path).items()
        if (name := current(old)) is not None
    }
    _check_declared(files[0], seen, like)
    loaded: dict[str, Tensor] = {}
    for path in files:
        for old, tensor in read_tensors(path).items():
            if (name := current(old)) is None:
                continue
            if tensor.dtype not in TYPES:
                kind = str(tensor.dtype).removeprefix("torch.")
                raise BadFile(path, f"holds '{name}' as {kind}, and weights are float32, float16 or bfloat16")
            loaded[name] = tensor.float().reshape(like[name])
    return loaded


def _check_declared(
    first: Path, seen: Mapping[str, tuple[Path, tuple[int, ...]]], like: Mapping[str, tuple[int, ...]]
) -> None:
    for name, shape in like.items():
        if name not in seen:
            raise BadFile(first, f"does not hold '{name}', nor does a file beside it")
        path, found = seen[name]
        if found != shape and not _same(found, shape):
            raise BadFile(path, f"holds '{name}' of shape {found}, and config.json says {shape}")
    for name, (path, _) in seen.items():
        if name not in like:
            raise BadFile(path, f"holds '{name[:100]}', which nothing here is called")


def _same(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether they are a matrix and the kernel of its 1x1 convolution."""
    short, long = sorted((found, shape), key=len)
    return len(short) == 2 and long == (*short, 1, 1)


def current(name: str) -> str:
    """The name of a tensor of diffusers, whose attention's layers were called otherwise in older folders."""
    parts = name.split(".")
    return ".".join([*parts[:-2], *(FORMER.get(one, one) for one in parts[-2:-1]), parts[-1]])


def _mapping(path: Path) -> Mapping[str, Any]:
    found = mapping_of(read_json(path))
    if found is None:
        raise BadFile(path, "holds no keys")
    return found
