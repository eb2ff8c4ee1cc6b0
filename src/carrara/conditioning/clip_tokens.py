r"""CLIP's tokens: pairs of neighbours are merged, the most frequent first, until a word is spelled in few pieces.

Byte-pair encoding (Sennrich et al., "Neural machine translation of rare words with subword units", 2016) of bytes, in
lower case, where the last piece of a word has its own number (Radford et al., "Learning transferable visual models from
natural language supervision", 2021, section 2.4). A text is cut off where the encoder's places end, and a short
one is padded.

A model keeps its vocabulary as the bytes of a JSON text among its weights, so its folder is all that it needs.
A model that begins with none learns the merges from its captions; all bytes, and all of them at the end of a word, are
tokens before them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from carrara.errors import UserError
from carrara.files import Malformed, as_kind, parse_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BEGINNING, END = "<|startoftext|>", "<|endoftext|>"
MOST = 1 << 20
"""So many tokens may a vocabulary have."""
LONGEST = 1 << 12
"""So many tokens may a text be padded to."""
FEWEST = 2 * 256 + 2
"""Tokens of a vocabulary without merges: bytes, bytes that end a word, and two marks."""
_WORD_END = "</w>"
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""Of which a text is made; what is between them is left out."""
Token = Annotated[str, Field(min_length=1, max_length=1000)]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A token that is found as it stands, before words are.

    Attributes:
        content: its text.
        single_word: whether it must not be within a word.
        lstrip, rstrip: whether blanks before and behind belong to it.
        normalized: whether it is looked for after the text is in lower case.
    """

    content: Token
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """All that a tokenizer needs.

    Attributes:
        vocab: numbers of tokens.
        merges: pairs with a blank between, the first one first.
        beginning, end, unknown, padding: what each text begins and ends with, what stands for bytes that are no token,
            and what follows a short text.
        length: tokens of every text.
    """

    vocab: Mapping[str, Annotated[int, Field(ge=0, lt=MOST)]]
    merges: tuple[str, ...]
    beginning: Mark = field(default_factory=lambda: Mark(content=BEGINNING))
    end: Mark = field(default_factory=lambda: Mark(content=END))
    unknown: Mark = field(default_factory=lambda: Mark(content=END))
    padding: Mark = field(default_factory=lambda: Mark(content=END))
    length: Annotated[int, Field(ge=2, le=LONGEST)] = 77

    def __post_init__(self) -> None:
        for mark in self.marks:
            if mark.content not in self.vocab:
                raise ValueError(f"'{mark.content[:100]}' is no token of the vocabulary")

    @property
    def marks(self) -> tuple[Mark, ...]:
        """What is found as it stands, none of them twice; of two with one text the last one holds."""
        every = (self.beginning, self.end, self.unknown, self.padding)
        return tuple({mark.content: mark for mark in every}.values())

    @property
    def numbers(self) -> int:
        """All numbers are below that."""
        return max(self.vocab.values()) + 1

    def to_bytes(self) -> bytes:
        """As a model holds it: the same vocabulary is the same bytes."""
        vocab = dict(sorted(self.vocab.items(), key=lambda item: item[1]))
        marks = {name: asdict(getattr(self, name)) for name in ("beginning", "end", "unknown", "padding")}
        held = {"vocab": vocab, "merges": self.merges, **marks, "length": self.length}
        return json.dumps(held, ensure_ascii=False, separators=(",", ":")).encode()


def vocabulary_of(held: bytes) -> Vocabulary:
    """What ``to_bytes`` has written.

    Raises:
        UserError: it is damaged.
    """
    try:
        return as_kind(parse_json(held), Vocabulary)
    except (Malformed, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"the model's tokenizer is damaged ({why}): import the model again") from None


def learn_merges(captions: Iterable[str], size: int) -> tuple[str, ...]:
    """Learns which pairs are merged, so that there are ``size`` tokens at most.

    The same captions, in any order, give the same merges: bytes have their numbers before any is counted.

    Raises:
        UserError: the package tokenizers is not installed.
    """
    try:
        from tokenizers import Tokenizer
        from tokenizers.models import BPE
        from tokenizers.trainers import BpeTrainer
    except ImportError:
        raise _missing() from None

    made: Any = Tokenizer(BPE())
    _read_as_clip(made)
    trainer = BpeTrainer(
        vocab_size=max(size, FEWEST) - 2,
        min_frequency=2,
        special_tokens=_bytes(),
        end_of_word_suffix=_WORD_END,
        show_progress=False,
    )
    made.train_from_iterator(captions, trainer)
    learned: Any = parse_json(made.to_str())
    merges: list[str | Sequence[str]] = learned["model"]["merges"]
    return tuple(pair if isinstance(pair, str) else " ".join(pair) for pair in merges)


def merged_vocabulary(merges: Sequence[str], length: int) -> Vocabulary:
    """The vocabulary of learned merges, for texts of ``length`` tokens."""
    tokens = dict.fromkeys([*_bytes(), *("".join(pair.split(" ")) for pair in merges), BEGINNING, END])
    return Vocabulary(vocab={token: k for k, token in enumerate(tokens)}, merges=tuple(merges), length=length)


def _bytes() -> list[str]:
    """The tokens that are no merges: letters that stand for bytes, and the same at the end of a word."""
    try:
        from tokenizers.pre_tokenizers import ByteLevel
    except ImportError:
        raise _missing() from None

    letters: list[str] = sorted(ByteLevel.alphabet())
    return [*letters, *(f"{letter}{_WORD_END}" for letter in letters)]


class ClipTokens:
    """A tokenizer of a vocabulary.

    Raises:
        UserError: the package tokenizers is not installed, or there is no such tokenizer.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        try:
            self._tokenizer = _tokenizer(vocabulary)
        except ImportError:
            raise _missing() from None
        except Exception as error:  # whatever does not fit, the package says it in its own way
            why = " ".join(str(error).split())[:200]
            raise UserError(f"the tokenizer's merges are not those of its vocabulary ({why})") from None

    def __call__(self, texts: Sequence[str]) -> list[tuple[tuple[int, ...], list[tuple[int, int]]]]:
        """The numbers of each text's tokens, and (begin, end) of the characters that each is; (0, 0) of marks."""
        found: list[Any] = self._tokenizer.encode_batch(list(texts))
        return [(tuple(one.ids), list(one.offsets)) for one in found]


@lru_cache(maxsize=8)
def tokens_of(held: bytes) -> ClipTokens:
    """The tokenizer of a model's bytes.

    Raises:
        UserError: they are damaged.
    """
    return ClipTokens(vocabulary_of(held))


def _tokenizer(vocabulary: Vocabulary) -> "Tokenizer":
    from tokenizers import AddedToken, Tokenizer, processors
    from tokenizers.models import BPE

    merges: Any = [tuple(pair.split(" ")) for pair in vocabulary.merges]
    end, beginning = vocabulary.end.content, vocabulary.beginning.content
    model = BPE(
        vocab=dict(vocabulary.vocab),
        merges=merges,
        continuing_subword_prefix="",
        end_of_word_suffix=_WORD_END,
        unk_token=vocabulary.unknown.content,
    )
    made: Any = Tokenizer(model)
    _read_as_clip(made)
    made.add_special_tokens([AddedToken(**asdict(mark), special=True) for mark in vocabulary.marks])
    made.post_processor = processors.RobertaProcessing(
        (end, vocabulary.vocab[end]), (beginning, vocabulary.vocab[beginning]), False, False
    )
    made.enable_truncation(max_length=vocabulary.length)
    padding = vocabulary.padding.content
    made.enable_padding(length=vocabulary.length, pad_id=vocabulary.vocab[padding], pad_token=padding)
    return made


def _read_as_clip(made: Any) -> None:
    """Gives a tokenizer CLIP's words, in lower case, as bytes."""
    from tokenizers import Regex, normalizers, pre_tokenizers

    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])


def _missing() -> UserError:
    return UserError("text needs the package 'tokenizers': pip install 'carrara[text]'")
