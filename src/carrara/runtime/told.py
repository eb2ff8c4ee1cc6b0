"""What an exported model is told: labels, vectors and texts become what its network takes.

Labels and vectors are weights w of the rows of a table E, and the vector is w E. A text's tokens have features y, from
the exported text encoder, and its vector is W mean(y) + b. To whom nothing is said there are no tokens, and a learned
vector. See ``carrara.conditioning``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrara.errors import UserError, unknown
from carrara.runtime.card import Condition

Array = NDArray[Any]
_MARKS = re.compile(r"(?<!\\)\||(?<!\\)\([^():]+:[^():]*\)")
"""Several wishes in one, and weights of words."""


class Words:
    """The tokens of texts.

    Args:
        tokenizer: the content of ``tokenizer.json``.

    Raises:
        UserError: the package tokenizers is not there, or cannot read it.
    """

    def __init__(self, tokenizer: bytes) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise UserError(
                "this model is told texts, which the package 'tokenizers' reads: pip install tokenizers"
            ) from None
        try:
            self._tokenizer: Any = Tokenizer.from_buffer(tokenizer)
        except BaseException as error:  # the package panics in its own way
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            raise UserError("'tokenizer.json' cannot be read: export the model again") from None
        names = (getattr(self._tokenizer.model, "unk_token", None), "[UNK]", "<unk>")
        self._unknown = next((k for n in names if n and (k := self._tokenizer.token_to_id(n)) is not None), None)

    def __call__(self, text: str) -> list[list[int]]:
        """The tokens of each window of a text.

        Raises:
            UserError: there is a word that no token stands for.
        """
        encoding = self._tokenizer.encode(text)
        windows = [encoding, *encoding.overflowing]
        for window in windows:
            for number, (begin, end) in zip(window.ids, window.offsets, strict=True):
                word = text[begin:end]
                if number == self._unknown and any(c.isalnum() or not c.isascii() for c in word):
                    raise UserError(
                        f"this model cannot read '{word[:40]}': its text encoder has no token for it, so say it in "
                        "other words"
                    )
        return [list(window.ids) for window in windows]


def told_vectors(condition: Condition, table: Array, wishes: Sequence[str | None]) -> dict[str, Array]:
    """The vectors (B, D) of labels or numbers; the table's last row says nothing.

    Raises:
        UserError: a wish that the model does not understand.
    """
    rows = [table[-1] if wish is None else _weights(condition, wish) @ table[:-1] for wish in wishes]
    return {"vector": np.stack(rows).astype(np.float32)}


def _weights(condition: Condition, wish: str) -> Array:
    if condition.kind == "vectors":
        numbers = [_number(part, wish) for part in wish.split(",")]
        if len(numbers) != condition.size:
            raise UserError(f"this model is told {condition.size} numbers per picture, but '{wish}' has {len(numbers)}")
        return np.array(numbers, np.float32)
    row, names = np.zeros(condition.size, np.float32), condition.classes
    for part in [wish] if wish in names else wish.split("+"):
        name, colon, weight = part.strip().rpartition(":")
        name, weight = (name, weight) if colon and name in names else (part.strip(), "1")
        if name not in names:
            raise unknown("label", name, names)
        row[names.index(name)] += _number(weight, wish)
    return row


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"'{text}' in '{where.strip()}' is not a number")
    return number


def plain(wish: str) -> str:
    """The text of a wish.

    Raises:
        UserError: it has marks that only Carrara itself reads.
    """
    if found := _MARKS.search(wish):
        raise UserError(
            f"'{found[0]}' in '{wish[:80]}' joins or weighs wishes, which the runtime does not: say one plain text, "
            "with a backslash before brackets and bars"
        )
    return re.sub(r"\\([()|])", r"\1", wish)


def told_texts(
    pooled: Array, features: Mapping[str, Array], wishes: Sequence[str | None], width: int
) -> dict[str, Array]:
    """Tokens (B, L, D), their mask (B, L), and vectors (B, W) of texts.

    Args:
        pooled: (D + 2, W) the rows of W, then b, then the vector of nothing.
        features: (L, D) of each text.
        width: D.
    """
    longest = max([1, *(len(found) for found in features.values())])
    tokens = np.zeros((len(wishes), longest, width), np.float32)
    mask = np.zeros((len(wishes), longest), np.bool_)
    vector = np.repeat(pooled[-1:], len(wishes), axis=0)
    for k, wish in enumerate(wishes):
        if wish is None or not wish.strip():
            continue
        y = features[wish]
        tokens[k, : len(y)], mask[k, : len(y)] = y, True
        vector[k] = y.mean(axis=0, dtype=np.float32) @ pooled[:-2] + pooled[-2]
    return {"vector": vector, "tokens": tokens, "mask": mask}
