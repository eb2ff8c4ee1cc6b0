"""Values and bytes that are nearly right: what is grown from a real document, and real files that were spoilt."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

BOUNDS = (
    0,
    -1,
    1,
    2,
    255,
    65_536,
    2**31 - 1,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    -(2**63) - 1,
    10**12,
    10**40,
    10**400,
)
FLOATS = (0.0, -0.0, 1e-320, 1e300, -1e300, 0.5, float("nan"), float("inf"), float("-inf"))
TEXTS = (
    "",
    "\0",
    "..",
    "/",
    "../../x",
    "[/]",
    "\x1b]0;x\x07",
    "\ue000x\ue002",
    "\ud800",
    "x" * 5000,
    "1e999",
    "null",
    "~",
)
BYTES = (
    b"\0",
    b"\xff",
    b"{",
    b"[",
    b'"',
    b"9" * 50,
    b"-",
    b"&a ",
    b"*a",
    b"!!x ",
    b"\n",
    b": ",
    b"\xed\xa0\x80",
    b"\x1b",
)

numbers = st.one_of(st.sampled_from(BOUNDS), st.sampled_from(FLOATS), st.integers(-9, 99), st.floats())
texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=12))
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(texts, below, max_size=3)),
    max_leaves=8,
)
"""Anything that JSON can say, and a little more."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document, parents first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from paths(below, (*path, key))


@st.composite
def spoilt(draw: st.DrawFn, documents: Sequence[Any]) -> Any:
    """A document in which up to three places are something else, are missing, or stand deeper."""
    made = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        known = list(paths(made))
        *above, last = draw(st.sampled_from(known)) or (None,)
        if last is None:
            return draw(plain)
        holder = made
        for key in above:
            holder = holder[key]
        match draw(st.integers(0, 5)):
            case 0 if isinstance(holder, dict):
                del holder[last]
            case 1:
                holder[last] = [holder[last]]
            case 2 if isinstance(holder, dict):
                holder[draw(texts)] = holder[last]
            case _:
                holder[last] = draw(plain)
    return made


def text_of(value: Any) -> str:
    """As JSON, as far as Python writes it."""
    return json.dumps(value)


def spoil(content: bytes, rng: np.random.Generator) -> bytes:
    """A file of which some bytes are others, are missing, are there twice, or are absurd numbers."""
    made = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(made) + 1))
        end = min(len(made), at + int(rng.integers(1, 33)))
        match int(rng.integers(0, 7)):
            case 0 if at < len(made):
                made[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                made[at:at] = BYTES[int(rng.integers(len(BYTES)))]
            case 2:
                del made[at:end]
            case 3:
                made[at:at] = made[at:end] * int(rng.integers(1, 20))
            case 4:
                there = int(rng.integers(0, len(made) + 1))
                made[at:end] = made[there : there + end - at]
            case 5:
                made[at:end] = int(rng.integers(0, 2**63)).to_bytes(8, "little")
            case _:
                _change_number(made, at, rng)
    return bytes(made)


def _change_number(content: bytearray, at: int, rng: np.random.Generator) -> None:
    """Puts another number in the place of the next digits."""
    digits = next((k for k in range(at, len(content)) if 48 <= content[k] <= 57), None)
    if digits is None:
        return
    end = digits
    while end < len(content) and 48 <= content[end] <= 57:
        end += 1
    other = (*BOUNDS, *FLOATS)[int(rng.integers(len(BOUNDS) + len(FLOATS)))]
    content[digits:end] = str(other).encode()
