r"""What a user types: plain words, some of which may count more or less.

``a (red:1.5) heart`` is the text "a red heart" whose word "red" has the weight 1.5. Only this form means anything;
other parentheses are part of the text, and ``\(`` is a parenthesis in any case.
"""

import re
from dataclasses import dataclass

from carrara.errors import UserError

_WEIGHTED = re.compile(r"(?<!\\)\((?P<words>[^():]+):\s*(?P<weight>[^():]*)\)")


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A text and the weights of its parts.

    Attributes:
        text: without the marks of weights.
        spans: (begin, end, weight) of the characters that have another weight than 1.
    """

    text: str
    spans: tuple[tuple[int, int, float], ...] = ()

    def weight(self, begin: int, end: int) -> float:
        """Of the token that these characters are: of the first span that it touches, or 1."""
        return next((w for b, e, w in self.spans if begin < e and b < end), 1.0)


def read_prompt(typed: str) -> Prompt:
    """Takes the weights out of what a user typed.

    Raises:
        UserError: a weight is not a number above 0.
    """
    text, spans, end = "", list[tuple[int, int, float]](), 0
    for match in _WEIGHTED.finditer(typed):
        text += _plain(typed[end : match.start()])
        words, weight = _plain(match["words"]), _weight(match)
        spans.append((len(text), len(text) + len(words), weight))
        text, end = text + words, match.end()
    return Prompt(text=text + _plain(typed[end:]), spans=tuple(spans))


def as_prompt(caption: str) -> str:
    """A text as one would have to type it, so that its parentheses and bars mean nothing."""
    return caption.replace("(", r"\(").replace(")", r"\)").replace("|", r"\|")


def _plain(text: str) -> str:
    return text.replace(r"\(", "(").replace(r"\)", ")").replace(r"\|", "|")


def _weight(match: re.Match[str]) -> float:
    try:
        weight = float(match["weight"])
    except ValueError:
        weight = 0.0
    if not 0 < weight <= 100:
        raise UserError(
            f"the weight in '{match[0]}' must be a number above 0 and at most 100: write (words:1.3), or \\( for a "
            "plain parenthesis"
        )
    return weight
