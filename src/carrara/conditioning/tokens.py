"""Text to the numbers of tokens, in as many windows as it takes: nothing is cut off.

A vocabulary of word pieces is learned from captions: the pieces that together spell most of them in the fewest tokens
(WordPiece, Schuster and Nakajima, 2012). A word is read as the longest pieces that it begins with, one after the other.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from carrara.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PADDING, UNKNOWN = "[PAD]", "[UNK]"


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of a text that an encoder takes at once.

    Attributes:
        ids: of its tokens, with those that mark beginning and end, where the encoder was trained with such.
        spans: (begin, end) of each token's characters in the text; (0, 0) for marks.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


@final
class Reader:
    """A tokenizer of the package tokenizers that never cuts off: it begins a new window instead.

    Args:
        tokenizer: is changed.
        limit: tokens of a window at most, marks included.
    """

    limit: int

    def __init__(self, tokenizer: "Tokenizer", limit: int) -> None:
        self._tokenizer, self.limit = tokenizer, limit
        names = (getattr(tokenizer.model, "unk_token", None), UNKNOWN, "<unk>")
        self._unknown = next((k for name in names if name and (k := tokenizer.token_to_id(name)) is not None), None)
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_length=limit)

    def __call__(self, texts: Sequence[str]) -> list[list[Window]]:
        """The windows of each text, one or more each."""
        encodings: list[Any] = self._tokenizer.encode_batch(list(texts))
        return [[_window(part) for part in (encoding, *encoding.overflowing)] for encoding in encodings]

    @property
    def numbers(self) -> int:
        """How many tokens there are: each is a number below that."""
        return self._tokenizer.get_vocab_size()

    def to_json(self) -> str:
        """The tokenizer as the package tokenizers reads it, with its limit."""
        return self._tokenizer.to_str()

    def unread(self, text: str) -> list[str]:
        """The words of a text, and the signs other than punctuation, that no token stands for."""
        windows = self([text])[0]
        places = [place for w in windows for k, place in zip(w.ids, w.spans, strict=True) if k == self._unknown]
        words = (text[begin:end] for begin, end in places)
        return [word for word in words if any(c.isalnum() or not c.isascii() for c in word)]


def _window(encoding: Any) -> Window:
    return Window(ids=tuple(encoding.ids), spans=tuple(encoding.offsets))


def learn_vocabulary(captions: Iterable[str], size: int) -> str:
    """Learns the word pieces that captions are made of: at most ``size``, with blanks between.

    The same captions, in any order, give the same pieces in the same order. The trainer gives letters their numbers as
    it finds them in a table without an order, and decides between equally frequent pieces by these numbers: so they are
    given here, to the most frequent letters, and to each again as one that goes on a word.
    """
    from tokenizers.trainers import WordPieceTrainer

    tokenizer, captions = _tokenizer({UNKNOWN: 0}), list(captions)
    letters, going_on = _letters(tokenizer, captions, size // 2)
    trainer = WordPieceTrainer(
        vocab_size=size,
        special_tokens=[PADDING, UNKNOWN, *letters, *(f"##{letter}" for letter in going_on)],
        show_progress=False,
        initial_alphabet=letters,
        limit_alphabet=len(letters),
    )
    tokenizer.train_from_iterator(captions, trainer)
    return " ".join(sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__))


def _letters(tokenizer: "Tokenizer", captions: Iterable[str], limit: int) -> tuple[list[str], list[str]]:
    """The most frequent letters, sorted, and those of them that stand within words."""
    words: Counter[str] = Counter()
    for caption in captions:
        normal: str = tokenizer.normalizer.normalize_str(caption)  # pyright: ignore
        words.update(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal))  # pyright: ignore
    count: Counter[str] = Counter()
    for word, times in words.items():
        for letter in word:
            count[letter] += times
    letters = sorted(sorted(count, key=lambda letter: (-count[letter], letter))[:limit])
    within = {letter for word in words for letter in word[1:]}
    return letters, [letter for letter in letters if letter in within]


def reader_of(vocabulary: str, limit: int, words: Sequence[str] = ()) -> Reader:
    """A reader of the pieces that ``learn_vocabulary`` found.

    Args:
        words: that are read whole, with the numbers that follow.

    Raises:
        UserError: the package tokenizers is not installed.
    """
    tokenizer = _tokenizer({piece: k for k, piece in enumerate(vocabulary.split(" "))})
    if words:
        from tokenizers import AddedToken

        tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words])
    return Reader(tokenizer, limit)


def normalized(word: str) -> str:
    """A word as a reader sees it: small, without accents and without signs that nobody sees.

    Raises:
        UserError: the package tokenizers is not installed.
    """
    return _tokenizer({UNKNOWN: 0}).normalizer.normalize_str(word).strip()  # pyright: ignore


def _tokenizer(pieces: dict[str, int]) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer
    except ImportError:
        raise UserError("text needs the package 'tokenizers': pip install 'carrara[text]'") from None

    tokenizer = Tokenizer(WordPiece(pieces, unk_token=UNKNOWN))
    tokenizer.normalizer = BertNormalizer(lowercase=True)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.pre_tokenizer = BertPreTokenizer()  # pyright: ignore[reportAttributeAccessIssue]
    return tokenizer
