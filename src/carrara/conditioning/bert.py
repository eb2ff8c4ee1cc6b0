r"""BERT's encoder, read without the package transformers: importing that takes longer than drawing a picture.

With embeddings e of tokens, p of their places and s of what a text is (the first of two), every token looks at every
other (Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019):

.. math::
    x_i &= n(e_i + s + p_i)                                                                                      (1) \\
    x &\leftarrow n(x + A(x)), \quad x \leftarrow n(x + W_2 \operatorname{gelu}(W_1 x)) \quad \text{depth times} (2)

The norms come after the sums, as in Vaswani et al., 2017. The operations are the package's in its order, and so are the
numbers, to the bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from torch import Tensor, nn

from carrara.conditioning.pretrained import CONFIG, TEXTS, check_folder
from carrara.files import Malformed, as_kind, is_regular, open_tensors, read_bytes, read_json, shapes
from carrara.nn import DEEPEST, WIDEST

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WEIGHTS, TOKENIZER, READING = "model.safetensors", "tokenizer.json", "tokenizer_config.json"
_SPELLING: Mapping[str, str] = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
"""What ``tokenizer_config.json`` says once more of the tokenizer's normalizer, and may say otherwise."""
_NAMES: Mapping[str, str] = {
    "layers.": "encoder.layer.",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixed": "attention.output.dense",
    "widened": "intermediate.dense",
    "narrowed": "output.dense",
    "norm1": "attention.output.LayerNorm",
    "norm2": "output.LayerNorm",
    "norm.": "embeddings.LayerNorm.",
    "tokens": "embeddings.word_embeddings",
    "places": "embeddings.position_embeddings",
    "kinds": "embeddings.token_type_embeddings",
}


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """What ``config.json`` says of a plain BERT; other keys of it change nothing.

    Attributes:
        hidden_size: D of the features.
        intermediate_size: of the feed-forward layers.
        num_hidden_layers, num_attention_heads: of the transformer.
        vocab_size, max_position_embeddings, type_vocab_size: how many embeddings there are.
        layer_norm_eps: what the norms add to the variance.
    """

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)

    model_type: Literal["bert"]
    hidden_size: int = Field(ge=1, le=WIDEST)
    intermediate_size: int = Field(ge=1, le=WIDEST)
    num_hidden_layers: int = Field(ge=1, le=DEEPEST)
    num_attention_heads: int = Field(ge=1, le=WIDEST)
    vocab_size: int = Field(ge=1, le=1 << 24)
    max_position_embeddings: int = Field(ge=1, le=1 << 16)
    type_vocab_size: int = Field(ge=1, le=1 << 10)
    layer_norm_eps: float = Field(gt=0, lt=1)
    hidden_act: Literal["gelu"]
    position_embedding_type: Literal["absolute"] = "absolute"
    is_decoder: Literal[False] = False
    add_cross_attention: Literal[False] = False
    tie_encoder_decoder: Literal[False] = False

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(f"{self.num_attention_heads} heads do not divide a width of {self.hidden_size}")


class BertLayer(nn.Module):
    """One of equation (2)'s layers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.heads = config.num_attention_heads
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.widened, self.narrowed = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=config.layer_norm_eps) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) to the same shape."""
        q, k, v = (row(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for row in (self.query, self.key, self.value))
        x = self.norm1(self.mixed(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)) + x)
        return self.norm2(self.narrowed(F.gelu(self.widened(x))) + x)


@final
class Bert(nn.Module):
    """Equations (1) and (2); its embeddings hold nothing until weights are loaded."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        counts = (config.vocab_size, config.max_position_embeddings, config.type_vocab_size)
        self.tokens, self.places, self.kinds = (nn.Embedding.from_pretrained(torch.empty(n, width)) for n in counts)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(self, ids: Tensor) -> Tensor:
        """Numbers of tokens (B, L) to their features (B, L, D)."""
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.tokens(ids) + self.kinds(torch.zeros_like(ids)) + self.places(places))
        for layer in self.layers:
            x = layer(x)
        return x


def read_bert(folder: Path) -> "tuple[Bert, Tokenizer, int] | None":
    """A folder's network, frozen in float32, its tokenizer, and how many tokens it reads at once; None where the folder
    holds something else than a plain BERT in one file, with a ``tokenizer.json`` that says all about its tokens.

    Raises:
        BadFile: the folder is damaged.
    """
    check_folder(folder)
    if find_spec("tokenizers") is None or not all(is_regular(folder / name) for name in (WEIGHTS, TOKENIZER, READING)):
        return None
    try:
        config = as_kind(read_json(folder / CONFIG), BertConfig)
        reading = as_kind(read_json(folder / READING), dict[str, Any])
    except Malformed:
        return None
    tokenizer, network = _tokenizer(folder, reading), _network(folder, config)
    if tokenizer is None or network is None:
        return None
    most, said = config.max_position_embeddings, reading.get("model_max_length")
    return network, tokenizer, min(most, said) if isinstance(said, int) else most


def _tokenizer(folder: Path, reading: Mapping[str, Any]) -> "Tokenizer | None":
    """None where the two files about it differ, and the package has to say which is right."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece

    made = Tokenizer.from_buffer(read_bytes(folder / TOKENIZER, TEXTS))
    pairs = ((key, getattr(made.normalizer, name, None)) for key, name in _SPELLING.items())
    same = all(reading.get(key, held) == held for key, held in pairs)
    return made if same and isinstance(made.model, WordPiece) else None


def _network(folder: Path, config: BertConfig) -> Bert | None:
    """None where the weights have other names or shapes than these."""
    with torch.device("meta"):
        network = Bert(config)
    due = {_theirs(name): (name, tuple(value.shape)) for name, value in network.state_dict().items()}
    found = shapes(folder / WEIGHTS)
    if any(found.get(theirs) != shape for theirs, (_, shape) in due.items()):
        return None
    tensors = open_tensors(folder / WEIGHTS)
    weights = {name: tensors.get_tensor(theirs).to(torch.float32, copy=True) for theirs, (name, _) in due.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)


def _theirs(name: str) -> str:
    """Under which name BERT's files have a tensor."""
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    return name
