r"""CLIP's text encoders, whose features the U-Nets of Stable Diffusion look at.

With embeddings e of tokens and p of places, and W of heads that look at a token and at those before it (Radford et al.,
"Learning transferable visual models from natural language supervision", 2021, section 2.4)

.. math::
    x_i &= e_i + p_i                                                                                             (1) \\
    x &\leftarrow x + A(n_1(x)), \quad x \leftarrow x + W_2 g(W_1 n_2(x)) \quad \text{depth times}               (2) \\
    y &= n(x), \qquad \text{pooled} = P y_e                                                                      (3)

where e is the place of a text's end, and g is gelu, or x / (1 + exp(-1.702 x)), which was quicker. The tokens are y; or
x before the last layers, without (3)'s norm (Podell et al., "SDXL", 2023, section 2.1, where two encoders' features
stand side by side). There the network is told a vector, too,

.. math:: c = V_2 \operatorname{silu}(V_1 (\text{pooled}, f(s_1), \dots, f(s_6)))                                (4)

with sines and cosines f of the size of a picture before and after it was cropped, and of where that was.

All tokens count, padding too: that is what these networks saw. To whom nothing is said the empty text is, or zeros.

An encoder comes with a model that was imported, and stays as it is; or it begins with random weights, with tokens that
are learned from the data's captions, and is trained with the denoiser (Rombach et al., "High-resolution image synthesis
with latent diffusion models", 2022, section 4.3.1), so that other programs can read the texts of a model of one's own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, final

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from carrara.conditioning.base import Conditioner, ConditionerConfig
from carrara.conditioning.clip_tokens import (
    LONGEST,
    MOST,
    ClipTokens,
    Vocabulary,
    learn_merges,
    merged_vocabulary,
    tokens_of,
    vocabulary_of,
)
from carrara.conditioning.text import COLUMN, TextConditioner, TextRow
from carrara.data import DataInfo
from carrara.errors import UserError
from carrara.kinds import UNSAID
from carrara.nn import DEEPEST, WIDEST, step_features
from carrara.nn.attention import attend
from carrara.types import Columns, Conditioning

LARGEST_FILE = 1 << 25
"""So many bytes may a tokenizer have."""
Side = Annotated[int, Field(ge=0, le=1 << 14)]
"""A number of pixels that a network is told."""


@dataclass(frozen=True, kw_only=True)
class ClipEncoderConfig:
    """The defaults are those of CLIP's ViT-L/14: 123,060,480 parameters.

    Attributes:
        width, depth, heads, inner: of the transformer; ``inner`` is the width of its feed-forward layers.
        vocabulary: tokens.
        length: places of tokens.
        activation: g of equation (2).
        skipped: how many of the last layers the tokens do not go through; 0 is equation (3)'s y.
        projection: the width of ``pooled``; None without (3)'s P.
        end: the number of the token at a text's end; None: the largest number in it.
        eps: what the norms add to the variance.
        tokenizer: bytes of what the model holds of it.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    inner: int = 3072
    vocabulary: int = 49408
    length: int = 77
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    skipped: int = 0
    projection: int | None = None
    end: int | None = None
    eps: float = 1e-5
    tokenizer: int = 0

    def __post_init__(self) -> None:
        widths = (self.width, self.heads, self.inner, self.depth, self.projection or 1)
        if min(widths) < 1 or max(widths) > WIDEST or self.depth > DEEPEST or self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a width of {self.width}, or it is no width")
        if not 1 <= self.vocabulary <= MOST or not 2 <= self.length <= LONGEST:
            raise ValueError(f"a text encoder has at most {MOST} tokens, and 2 to {LONGEST} places of them")
        if not 0 <= self.skipped < self.depth or not 0 < self.eps < 1:
            raise ValueError("a text encoder skips less layers than it has, and eps is small and above 0")
        if not 0 <= self.tokenizer <= LARGEST_FILE:
            raise ValueError(f"a tokenizer has at most {LARGEST_FILE} bytes, got {self.tokenizer}")


class ClipLayer(nn.Module):
    """One of equation (2)'s layers."""

    def __init__(self, config: ClipEncoderConfig) -> None:
        super().__init__()
        self.heads, self.quick = config.heads, config.activation == "quick_gelu"
        self.norm1, self.norm2 = (nn.LayerNorm(config.width, eps=config.eps) for _ in range(2))
        self.qkv, self.out = nn.Linear(config.width, 3 * config.width), nn.Linear(config.width, config.width)
        self.fc1, self.fc2 = nn.Linear(config.width, config.inner), nn.Linear(config.inner, config.width)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """(B, L, D) to the same shape; ``seen`` (1, 1, L, L) says which places a place looks at."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(attend(q, k, v, attended=seen).transpose(1, 2).flatten(2))
        h = self.fc1(self.norm2(x))
        return x + self.fc2(h * torch.sigmoid(1.702 * h) if self.quick else F.gelu(h))


class ClipEncoder(nn.Module):
    """Equations (1) to (3), and the tokenizer that belongs to it."""

    tokenizer: Tensor

    def __init__(self, config: ClipEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Parameter(0.02 * torch.ones(config.vocabulary, config.width))
        self.places = nn.Parameter(torch.zeros(config.length, config.width))
        nn.init.normal_(self.tokens, std=0.02)
        nn.init.normal_(self.places, std=0.01)
        self.tokens.looked_up = True  # pyright: ignore[reportAttributeAccessIssue]
        self.layers = nn.ModuleList(ClipLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        project = config.projection is not None
        self.projection = nn.Linear(config.width, config.projection or 1, bias=False) if project else None
        self.register_buffer("tokenizer", torch.zeros(config.tokenizer, dtype=torch.uint8))

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of tokens (B, L) to the tokens' features (B, L, D), and ``pooled`` (B, D')."""
        length = ids.shape[1]
        x = F.embedding(ids, self.tokens) + self.places[:length]
        seen = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()[None, None]
        features = x
        for k, layer in enumerate(self.layers, 1):
            x = layer(x, seen)
            if k == self.config.depth - self.config.skipped:
                features = x
        y = self.norm(x)
        last = ids.argmax(1) if self.config.end is None else (ids == self.config.end).int().argmax(1)
        pooled = y[torch.arange(len(y), device=y.device), last]
        return features if self.config.skipped else y, pooled if self.projection is None else self.projection(pooled)

    @property
    def held(self) -> bytes:
        """What ``Vocabulary.to_bytes`` has written."""
        return self.tokenizer.cpu().numpy().tobytes()

    @property
    def vocabulary(self) -> Vocabulary:
        """What the tokenizer is made of.

        Raises:
            UserError: it is damaged.
        """
        return vocabulary_of(self.held)

    @property
    def reader(self) -> ClipTokens:
        """The tokenizer.

        Raises:
            UserError: it is damaged.
        """
        return tokens_of(self.held)


OWN = ClipEncoderConfig(width=256, depth=4, heads=4, inner=1024, vocabulary=8192, activation="gelu")
"""What is trained with a network whose recipe names no encoder."""
SHORTEST, STEP = 16, 8
"""Such an encoder reads as many tokens as the longest caption has, in these steps."""


@final
class ClipText(TextConditioner):
    """Texts, read by CLIP's encoders. Use ``ClipTextConfig(encoders=...).build(width)``."""

    beside: Tensor

    def __init__(self, config: "ClipTextConfig", width: int) -> None:
        super().__init__()
        self.config, self.token_width = config, config.token_width
        self.encoders = nn.ModuleList(ClipEncoder(one) for one in config.encoders)
        self.told, self.told_width = None, None
        if config.sides:
            rows = step_features(max(config.sides) + 1, config.features, cosines_first=True, shift=0.0)
            self.register_buffer("beside", rows[list(config.sides)].flatten(), persistent=False)
            self.told_width = config.pooled_width + len(self.beside)
            self.told = nn.Sequential(nn.Linear(self.told_width, width), nn.SiLU(), nn.Linear(width, width))
        if config.merges is not None:
            known, held = config.vocabulary, config.vocabulary.to_bytes()
            for one in self._encoders():
                if one.config.tokenizer != len(held) or one.config.vocabulary < known.numbers:
                    raise ValueError("the merges of the text are not those of its encoder")
                one.tokenizer.copy_(torch.frombuffer(bytearray(held), dtype=torch.uint8))
        if config.frozen:
            self.encoders.requires_grad_(False)

    def read(self, texts: Sequence[str]) -> list[TextRow]:
        """(L, E) numbers of each text's tokens, for each encoder."""
        read = [encoder.reader(texts) for encoder in self._encoders()]
        rows = [torch.tensor([ids for ids, _ in one], dtype=torch.int64) for one in zip(*read, strict=True)]
        return [TextRow(row.T, one[0][1]) for row, one in zip(rows, zip(*read, strict=True), strict=True)]

    def unread(self, text: str) -> list[str]:
        """Nothing: every byte is a token."""
        return []

    def null(self, count: int) -> Conditioning:
        return self._repeated(self._nothing(), count)

    def embed(self, columns: Columns) -> Conditioning:
        """Reads the columns ``text`` (B, L, E), ``text_mask`` (B, L) and, if there, ``text_weights`` (B, L)."""
        ids, mask, weights = columns[COLUMN], columns["text_mask"], columns.get("text_weights")
        if not mask.shape[1]:
            return self.null(len(mask))
        said = self._condition(ids, weights)
        return said if bool(mask[:, 0].all()) else said.where(mask[:, 0], self.null(len(mask)))

    def _nothing(self) -> Conditioning:
        """The condition of one sample to which nothing is said."""
        first = self._encoders()[0]
        ids = self.read([""])[0].tokens[None].to(first.tokens.device)
        if not self.config.zeros:
            return self._condition(ids, None)
        features = [first.tokens.new_zeros(1, ids.shape[1], one.width) for one in self.config.encoders]
        return self._joined(features, features[0].new_zeros(1, self.config.pooled_width), None)

    def _condition(self, ids: Tensor, weights: Tensor | None) -> Conditioning:
        answers = [encoder(one) for encoder, one in zip(self._encoders(), ids.unbind(2), strict=True)]
        return self._joined([features for features, _ in answers], answers[-1][1], weights)

    def _joined(self, features: Sequence[Tensor], pooled: Tensor, weights: Tensor | None) -> Conditioning:
        tokens = torch.cat([*features], dim=2)
        if self.told is None:
            return Conditioning(tokens=tokens, weights=weights)
        vector = self.told(torch.cat([pooled, self.beside.to(pooled).expand(len(pooled), -1)], dim=1))
        return Conditioning(vector=vector, tokens=tokens, weights=weights)

    @staticmethod
    def _repeated(one: Conditioning, count: int) -> Conditioning:
        vector = None if one.vector is None else one.vector.expand(count, -1)
        assert one.tokens is not None
        return replace(one, vector=vector, tokens=one.tokens.expand(count, -1, -1))

    def _encoders(self) -> list[ClipEncoder]:
        return [encoder for encoder in self.encoders.children() if isinstance(encoder, ClipEncoder)]


@dataclass(frozen=True, kw_only=True)
class ClipTextConfig(ConditionerConfig):
    """Captions, read by CLIP's text encoders, which are part of the model.

    Attributes:
        encoders: whose features stand side by side. They come with a model that is imported; a recipe that names one,
            or none, has one that is trained with the network: ``vocabulary`` and ``length`` are then the most there
            may be.
        sides: what is told beside the text, equation (4): height and width of a picture, the rows and the columns that
            were cropped before it, and its height and width then; empty without.
        features: sines and cosines of each.
        zeros: nothing said is zeros; else it is the empty text.
        frozen: the encoders stay as they are in training.
        merges: of the tokens that were learned from captions, a line each; None = the encoders brought theirs.
    """

    kind: Literal["clip"] = "clip"
    encoders: Annotated[tuple[ClipEncoderConfig, ...], Field(max_length=4)] = ()
    sides: Annotated[tuple[Side, ...], Field(max_length=16)] = ()
    features: Annotated[int, Field(ge=2, le=1 << 12)] = 256
    zeros: bool = False
    frozen: bool = True
    merges: Annotated[str | None, UNSAID] = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.features % 2 or len({(one.length) for one in self.encoders}) > 1:
            raise ValueError("features are even, and encoders that stand side by side read as many tokens")

    @property
    def token_width(self) -> int:
        return sum(one.width for one in self.encoders)

    @property
    def pooled_width(self) -> int:
        """The width of the last encoder's ``pooled``."""
        return self.encoders[-1].projection or self.encoders[-1].width

    @property
    def vocabulary(self) -> Vocabulary:
        """The one that was learned from captions."""
        return merged_vocabulary((self.merges or "").splitlines(), self.encoders[0].length)

    def complete(self, info: DataInfo, captions: Iterable[str]) -> "ClipTextConfig":
        if not info.captions:
            raise UserError(
                'model.conditioner is clip, but the data has no captions: put cat.txt beside cat.png, or "text" into '
                "metadata.jsonl"
            )
        if self.encoders and all(one.tokenizer for one in self.encoders):
            return self
        if len(self.encoders) > 1 or self.sides:
            raise UserError(
                "model.conditioner.encoders names several that no model has brought, and one at most is trained with "
                "the network: import a model, and go on training it, or name one"
            )
        return self._learned(list(captions))

    def _learned(self, captions: Sequence[str]) -> "ClipTextConfig":
        """The same with an encoder that begins with nothing but the merges of captions."""
        encoder = self.encoders[0] if self.encoders else OWN
        merges = learn_merges(captions, encoder.vocabulary)
        whole = replace(self, encoders=(encoder,), merges="\n".join(merges), frozen=False)
        held = whole.vocabulary.to_bytes()
        read = tokens_of(held)(captions)
        longest = max((sum(end > begin for begin, end in spans) for _, spans in read), default=0) + 2
        length = min(encoder.length, max(SHORTEST, STEP * -(-longest // STEP)))
        encoder = replace(encoder, length=length, end=None)
        numbers, held = whole.vocabulary.numbers, replace(whole, encoders=(encoder,)).vocabulary.to_bytes()
        return replace(whole, encoders=(replace(encoder, vocabulary=numbers, tokenizer=len(held)),))

    def build(self, width: int) -> Conditioner:
        if not self.encoders:
            raise ValueError("conditioning on CLIP's text needs encoders: import a model, or give data with captions")
        return ClipText(self, width)
