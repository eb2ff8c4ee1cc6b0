r"""Text: the tokens that cross-attention looks at, and their mean, which the whole network is told.

With the features y_1 ... y_L of a text's tokens and their weights w, the condition is

.. math:: \text{tokens} = (y_1, \dots, y_L), \qquad c = W \sum_i w_i y_i / \sum_i w_i + b                          (1)

The features are those of a frozen encoder, or of a transformer that is trained with the denoiser (Rombach et al., 2022,
appendix E.2.1), with learned embeddings e of the tokens and fixed ones p of their places:

.. math:: x_i = e_i + p_i, \quad x \leftarrow x + A(n(x), n(x)), \quad
    x \leftarrow x + W_2 \operatorname{gelu}(W_1 n(x)) \quad
    \text{depth times}, \quad y = n(x)                                                                           (2)

Words that were learned later (textual inversion: Gal et al., "An Image is Worth One Word", 2023) have an e of their
own, and are read whole.

A sample to which nothing is said has no tokens, and a learned c. So has one whose text is empty.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, final

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from carrara.conditioning.base import Conditioner, ConditionerConfig
from carrara.conditioning.encoders import MINILM, encoder_facts, text_encoder
from carrara.conditioning.prompts import Prompt, as_prompt, read_prompt
from carrara.conditioning.tokens import learn_vocabulary, normalized, reader_of
from carrara.data import CaptionTable, DataInfo
from carrara.errors import UserError
from carrara.kinds import UNSAID
from carrara.nn import DEEPEST, WIDEST, Attention
from carrara.nn.transformer import linear, sincos
from carrara.types import Columns, Conditioning

COLUMN = "text"


class TextRow(NamedTuple):
    """A text as a column holds it.

    Attributes:
        tokens: (L,) numbers of tokens, or (L, D) features.
        spans: (begin, end) of each token's characters; (0, 0) for marks.
    """

    tokens: Tensor
    spans: Sequence[tuple[int, int]]


class TextConditioner(Conditioner):
    """Reads texts. Abstract in what becomes of them."""

    column = COLUMN
    reads_captions = True

    reading: str = ""
    """What ``rows`` depends on besides the text, if it takes so long that it should be kept; empty if not."""

    @abstractmethod
    def read(self, texts: Sequence[str]) -> list[TextRow]:
        """Texts as a column holds them: what does not change in training, on the CPU."""

    @abstractmethod
    def unread(self, text: str) -> list[str]:
        """The words of a text that no token stands for."""

    def as_prompt(self, caption: str) -> str | None:
        """What to type to ask for a caption of the data; None if it says nothing, or has words that cannot be read."""
        return None if not caption.strip() or self.unread(caption) else as_prompt(caption)

    def rows(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Captions as a loader hands them out: (L,) int64 or (L, D) float16; of no length where a text is empty."""
        said = [text for text in texts if text.strip()]
        found = dict(zip(said, self.read(said), strict=True)) if said else {}
        nothing = next(iter(found.values())).tokens[:0] if found else self.read(["a"])[0].tokens[:0]
        tokens = (found[text].tokens if text in found else nothing for text in texts)
        return [(t.half() if t.is_floating_point() else t).numpy() for t in tokens]

    def caption_table(self, folder: Path | None = None) -> CaptionTable:
        return CaptionTable(self.rows, folder / "captions" / self.reading if folder and self.reading else None)

    def parse(self, text: str) -> Tensor:
        """Makes (L, ...) tokens of a prompt, without its weights."""
        return self.read([read_prompt(text).text])[0].tokens

    def said(self, wishes: Sequence[str | None]) -> Conditioning:
        """Prompts as users type them, with weights as in ``(red:1.3)``; see ``prompts.py``.

        Raises:
            UserError: a weight is none, or there are words that cannot be read.
        """
        prompts = [read_prompt(wish or "") for wish in wishes]
        spoken = [prompt for prompt in prompts if prompt.text.strip()]
        for text in {prompt.text for prompt in spoken}:
            if unread := self.unread(text):
                raise UserError(
                    f"this model cannot read '{unread[0]}' in '{_short(text)}': its text encoder has no token for it, "
                    "so say it in other words"
                )
        read = dict(zip((p.text for p in spoken), self.read([p.text for p in spoken]), strict=True)) if spoken else {}
        longest = max((len(r.tokens) for r in read.values()), default=0)
        if not longest:
            return self.null(len(wishes))
        like = next(iter(read.values())).tokens
        tokens = like.new_zeros(len(wishes), longest, *like.shape[1:])
        mask, weights = torch.zeros(len(wishes), longest, dtype=torch.bool), torch.ones(len(wishes), longest)
        for k, prompt in enumerate(prompts):
            if prompt.text in read:
                found = read[prompt.text]
                tokens[k, : len(found.tokens)], mask[k, : len(found.tokens)] = found.tokens, True
                weights[k, : len(found.tokens)] = _weights(prompt, found.spans)
        columns = {COLUMN: tokens, "text_mask": mask}
        if any(prompt.spans for prompt in prompts):
            columns["text_weights"] = weights
        device = next(self.parameters()).device
        return self.embed({name: column.to(device) for name, column in columns.items()})


class PooledText(TextConditioner):
    """Equation (1). Abstract in what the features are.

    Args:
        token_width: D of the features.
        width: of the vectors that the network takes.
    """

    def __init__(self, token_width: int, width: int) -> None:
        super().__init__()
        self.token_width = token_width
        self.pooled = linear(token_width, width)
        self.nothing = nn.Parameter(torch.zeros(width))

    @abstractmethod
    def features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The y of equation (1), (B, L, D), of a column (B, L, ...) with its mask (B, L)."""

    def null(self, count: int) -> Conditioning:
        return Conditioning(vector=self.nothing.expand(count, -1))

    def embed(self, columns: Columns) -> Conditioning:
        """Reads the columns ``text`` (B, L, ...), ``text_mask`` (B, L) and, if there, ``text_weights`` (B, L)."""
        tokens, mask, weights = columns[COLUMN], columns["text_mask"], columns.get("text_weights")
        if not mask.shape[1]:  # nobody says anything: one place that does not count, so that all weights take part
            tokens, mask = tokens.new_zeros(len(mask), 1, *tokens.shape[2:]), mask.new_zeros(len(mask), 1)
        y = self.features(tokens, mask)
        w = (mask if weights is None else mask * weights)[..., None].to(y.dtype)
        mean = (y * w).sum(1) / w.sum(1).clamp(min=1e-6)
        vector = torch.where(mask.any(1, keepdim=True), self.pooled(mean), self.nothing)
        return Conditioning(vector=vector, tokens=y, mask=mask, weights=weights)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."


def _weights(prompt: Prompt, spans: Sequence[tuple[int, int]]) -> Tensor:
    return torch.tensor([prompt.weight(begin, end) for begin, end in spans])


@final
class EncodedText(PooledText):
    """The features of a frozen encoder, which is no part of the model. Use ``EncodedTextConfig(...).build(width)``."""

    def __init__(self, config: "EncodedTextConfig", width: int) -> None:
        super().__init__(config.width, width)
        self.config, self.reading = config, f"encoder-{config.fingerprint}"

    def read(self, texts: Sequence[str]) -> list[TextRow]:
        """(L, D) features of each text.

        Raises:
            UserError: the encoder is not there, or is another one than the model was trained with.
        """
        known = encoder_facts(self.config.source)[1]
        if self.config.fingerprint not in ("", known):
            raise UserError(
                f"the text encoder '{self.config.source}' is not the one that this model was trained with (its files "
                f"have fingerprint {known}, and not {self.config.fingerprint}): put the old one in its place"
            )
        return [TextRow(*found) for found in text_encoder(self.config.source)(texts)]

    def unread(self, text: str) -> list[str]:
        return text_encoder(self.config.source).unread(text)

    def features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return tokens.float()


@final
class LearnedText(PooledText):
    """Equation (2). Use ``LearnedTextConfig(vocabulary=...).build(width)``."""

    def __init__(self, config: "LearnedTextConfig", width: int) -> None:
        super().__init__(config.width, width)
        self.reader = reader_of(config.vocabulary, config.window, config.words)
        self.table = nn.Parameter(torch.empty(config.vocabulary.count(" ") + 1, config.width))
        nn.init.normal_(self.table)
        self.table.looked_up = True  # pyright: ignore[reportAttributeAccessIssue]
        self.layers = nn.ModuleList(TextLayer(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.words = nn.ParameterList(nn.Parameter(torch.zeros(config.width)) for _ in config.words)

    def embedding_of(self, text: str) -> Tensor:
        """The mean e of a text's tokens, (D,)."""
        return F.embedding(self.parse(text), self._embeddings()).mean(0)

    def read(self, texts: Sequence[str]) -> list[TextRow]:
        """(L,) numbers of each text's tokens."""
        read = [([i for w in ws for i in w.ids], [s for w in ws for s in w.spans]) for ws in self.reader(texts)]
        return [TextRow(torch.tensor(ids, dtype=torch.int64), spans) for ids, spans in read]

    def unread(self, text: str) -> list[str]:
        return self.reader.unread(text)

    def features(self, tokens: Tensor, mask: Tensor) -> Tensor:
        width = self.table.shape[1]
        place = sincos((1, tokens.shape[1]), 2 * width, tokens.device)[:, :width]
        x = F.embedding(tokens, self._embeddings()) + place
        attended = (mask | ~mask.any(1, keepdim=True))[:, None, None]
        for layer in self.layers:
            x = layer(x, attended)
        return self.norm(x)

    def _embeddings(self) -> Tensor:
        """The e of equation (2), with a row for each token."""
        return torch.cat([self.table, torch.stack(list(self.words))]) if len(self.words) else self.table


class TextLayer(nn.Module):
    """One of equation (2)'s layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(linear(width, 4 * width), nn.GELU(), linear(4 * width, width))

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """(B, L, D) to the same shape; ``attended`` (B, 1, 1, L) says which places there are."""
        y = self.norm1(x)
        x = x + self.attention(y, y, attended=attended)
        return x + self.feed_forward(self.norm2(x))


@dataclass(frozen=True, kw_only=True)
class EncodedTextConfig(ConditionerConfig):
    """Captions, read by a text encoder that was trained elsewhere and stays as it is.

    Attributes:
        source: ``minilm``, or a local folder with a text encoder of the package transformers, such as CLIP's or T5's.
        width: D of its features; 0 in a recipe means: as its files say.
        fingerprint: of its files; empty in a recipe means: of those that are there.
    """

    kind: Literal["encoder"] = "encoder"
    source: str = MINILM
    width: int = 0
    fingerprint: str = ""

    @property
    def token_width(self) -> int:
        return self.width

    def complete(self, info: DataInfo, captions: Iterable[str]) -> "EncodedTextConfig":
        _check_captions(self.kind, info)
        width, fingerprint = encoder_facts(self.source)
        return replace(self, width=width, fingerprint=self.fingerprint or fingerprint)

    def build(self, width: int) -> Conditioner:
        if self.width < 1:
            raise ValueError("conditioning on encoded text needs the width of the encoder's features")
        return EncodedText(self, width)


@dataclass(frozen=True, kw_only=True)
class LearnedTextConfig(ConditionerConfig):
    """Captions, read by a small transformer that is trained with the denoiser.

    Attributes:
        width, depth, heads: of the transformer.
        window: tokens that are read at a time; longer texts take several.
        pieces: how large a vocabulary to learn from the captions, at most.
        vocabulary: word pieces with blanks between; empty in a recipe means: learned from the captions.
        learned: words that were learned later; None = none.
    """

    kind: Literal["text"] = "text"
    width: int = 256
    depth: int = 4
    heads: int = 4
    window: int = 128
    pieces: int = 4000
    vocabulary: str = ""
    learned: Annotated[tuple[str, ...] | None, UNSAID] = field(default=None, repr=False)  # as digests were

    def __post_init__(self) -> None:
        if min(self.width, self.depth, self.heads) < 1 or self.width % (2 * self.heads):
            raise ValueError(f"{self.heads} heads, twice over, do not divide a width of {self.width}")
        if self.width > WIDEST or self.depth > DEEPEST:
            raise ValueError(f"a reader of text has a width up to {WIDEST}, and a depth up to {DEEPEST}")
        if self.window < 8 or self.pieces < 100:
            raise ValueError("a window has 8 tokens or more, and a vocabulary 100 pieces or more")
        known = {"", *self.vocabulary.split(" "), *self.words}
        if len(known) != 1 + len(set(self.vocabulary.split(" ")) - {""}) + len(self.words):
            raise ValueError("words that were learned later are none of the vocabulary's, and each of them is another")

    @property
    def token_width(self) -> int:
        return self.width

    @property
    def words(self) -> tuple[str, ...]:
        """The words that were learned later."""
        return self.learned or ()

    def with_word(self, word: str) -> "LearnedTextConfig":
        """The same with a word more.

        Raises:
            UserError: it is none, or is known.
        """
        word = normalized(word)
        if not word or any(c.isspace() or c in "()|:\\" for c in word):
            raise UserError(f"'{word}' is no word that a prompt could say: take letters and digits, as in <mine>")
        if word in self.words or word in self.vocabulary.split(" "):
            raise UserError(f"the word '{word}' is known to the model already: give what it shall learn another name")
        return replace(self, learned=(*self.words, word))

    def complete(self, info: DataInfo, captions: Iterable[str]) -> "LearnedTextConfig":
        _check_captions(self.kind, info)
        return self if self.vocabulary else replace(self, vocabulary=learn_vocabulary(captions, self.pieces))

    def build(self, width: int) -> Conditioner:
        if not self.vocabulary:
            raise ValueError("conditioning on text needs a vocabulary: give data with captions")
        return LearnedText(self, width)


def _check_captions(kind: str, info: DataInfo) -> None:
    if not info.captions:
        raise UserError(
            f"model.conditioner is {kind}, but the data has no captions: put cat.txt beside cat.png, or "
            '"text" into metadata.jsonl'
        )
