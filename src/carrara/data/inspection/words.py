"""What captions say: how long they are, and which words they use."""

import re
from collections import Counter
from collections.abc import Iterable

_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_STOP = frozenset(
    """
    a an and are as at be by for from has have he her his in into is it its of off on one or over she that the their
    them there they this to two up was were which while who with der die das ein eine einen und mit auf im ist von zu
    den dem le la les un une des et de du dans avec sur est el los las una y con en por del
    """.split()  # noqa: SIM905
)
_BARS = "▁▂▃▄▅▆▇█"


def common_words(captions: Iterable[str], count: int = 20) -> Counter[str]:
    """The most common words, in small letters, without those that say nothing."""
    found = Counter(word for text in captions for word in _WORD.findall(text.lower()) if word not in _STOP)
    return Counter(dict(found.most_common(count)))


def lengths(captions: Iterable[str]) -> list[int]:
    """How many words each one has."""
    return [len(text.split()) for text in captions]


def histogram(values: list[int], bars: int = 16) -> str:
    """How often values are how large, as a row of bars from the smallest to the largest."""
    low, high = min(values), max(values)
    if low == high:
        return _BARS[-1]
    bars = min(bars, high - low + 1)
    counts = Counter(min(bars - 1, (value - low) * bars // (high - low + 1)) for value in values)
    most = max(counts.values())
    return "".join(_BARS[round((len(_BARS) - 1) * counts[k] / most)] if counts[k] else " " for k in range(bars))
