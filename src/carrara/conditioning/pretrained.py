"""Networks that others have trained, in folders in the format of the package transformers.

Nothing is downloaded, no code of a folder is run, and only safetensors are read. What ``config.json`` declares is
compared with the files beside it before there is memory for it, and no file is read that is not in the folder.
"""

import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from carrara.errors import UserError
from carrara.files import BadFile, Malformed, as_kind, check_inside, is_regular, open_tensors, read_json
from carrara.nn import BESIDE, rehearse

CONFIG, INDEX = "config.json", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
"""Without one of them the package would make a tokenizer up that knows no words."""
_LARGEST, _LAYERS = 1 << 24, 1000
TEXTS = 1 << 27
"""The largest text of a folder, in bytes."""
_PANIC = "PanicException"  # of the package tokenizers, which is no Exception
_FOREIGN = ("attn_implementation", "experts_implementation", "quantization_config")  # these may load other packages
LOCAL: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def check_package(what: str) -> None:
    """Refuses where the package transformers is not installed."""
    if find_spec("transformers") is None:
        raise UserError(f"{what} need the package 'transformers': pip install 'carrara[text]'")


def read_foreign_config(folder: Path) -> Mapping[str, Any]:
    """The ``config.json`` of a folder, whose numbers are those of a network.

    Raises:
        BadFile: it is none.
    """
    path = folder / CONFIG
    check_inside(folder)
    try:
        config: Mapping[str, Any] = as_kind(read_json(path), dict[str, Any])
        _check_sizes(config)
    except Malformed as error:
        raise BadFile(path, str(error)) from None
    return config


def check_folder(folder: Path) -> None:
    """Refuses a folder in which something lies that is not what it should be, or that leads out of it.

    Raises:
        BadFile: there is such a thing.
    """
    read_foreign_config(folder)
    if (folder / "adapter_config.json").exists():
        raise BadFile(folder, "holds an adapter, and no whole network")
    for path in sorted(folder.glob("*.safetensors")):
        open_tensors(path)
    for path in [*folder.glob("*.json"), *folder.glob("*.txt"), *folder.glob("*.model")]:
        if not is_regular(path) or path.stat().st_size > TEXTS:
            raise BadFile(path, f"is no file, or has more than {TEXTS} bytes")
    if (folder / INDEX).exists():
        _check_index(folder / INDEX)


def load_pretrained(folder: Path, what: str, kind: Callable[[str], Any]) -> tuple[Any, Mapping[str, Any]]:
    """A frozen network in float32, and what the package says about its loading.

    Args:
        what: is looked for, as ``text encoder``.
        kind: the class of the package transformers, by the ``model_type`` of the folder.

    Raises:
        UserError: it cannot be read; with what the package says.
    """
    try:
        check_folder(folder)
        _quiet()
        from transformers import AutoConfig

        config: Any = AutoConfig.from_pretrained(folder, **LOCAL)
        wanted = kind(str(config.model_type))
        build = getattr(wanted, "_from_config", None) or wanted.from_config
        bytes_there = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        rehearse(lambda: build(config), bytes_there + BESIDE)
        options = {**LOCAL, "use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        network, told = wanted.from_pretrained(folder, **options)
        return network.eval().requires_grad_(False), told
    except BaseException as error:  # whatever is wrong in the folder, the package says it in its own way
        raise unusable(folder, what, error) from error


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder.

    Raises:
        UserError: it has none, or it cannot be read.
    """
    if not any(is_regular(folder / name) for name in TOKENIZERS):
        raise UserError(f"'{folder}' has no tokenizer, which reads the captions: add the model's tokenizer.json")
    try:
        check_folder(folder)
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, **LOCAL)
    except BaseException as error:  # as above
        raise unusable(folder, "tokenizer", error, f"the tokenizer in '{folder}' cannot be read") from error


def unusable(folder: Path, what: str, error: BaseException, begun: str = "") -> BaseException:
    """The sentence for whatever a package raised; what is nobody's mistake stays as it is."""
    if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
        return error
    why = error.message if isinstance(error, UserError) else " ".join(str(error).split())[:200]
    begun = begun or f"no {what} can be read from '{folder}'"
    return UserError(f"{begun} ({why})")


def _quiet() -> None:
    from transformers.utils import logging as reports

    reports.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)


def _check_sizes(config: Mapping[str, Any]) -> None:
    """The package makes lists as long as there are layers, before anybody could count what they hold."""
    for key, value in config.items():
        if any(name in key for name in _FOREIGN):
            raise Malformed(f"has the key '{key}', which is not read: take it out")
        if isinstance(value, dict):
            _check_sizes(value)
        most = _LAYERS if "layer" in key or "depth" in key or "block" in key else _LARGEST
        numbers: list[Any] = value if isinstance(value, list) else [value]
        for number in numbers:
            if isinstance(number, int | float) and not abs(number) <= most:
                raise Malformed(f"has '{key}' wrong ({number:.3g} is more than {most})")


def _check_index(path: Path) -> None:
    try:
        index = as_kind(read_json(path), dict[str, Any])
        places = as_kind(index.get("weight_map"), dict[str, str])
    except Malformed as error:
        raise BadFile(path, str(error)) from None
    for name in places.values():
        if name != Path(name).name or not is_regular(path.parent / name):
            raise BadFile(path, f"names '{name[:80]}', which is no file beside it")
