"""What a user types with bars between."""

import pytest

from carrara.conditioning import Part, joined
from carrara.conditioning.prompts import as_prompt, read_prompt
from carrara.errors import UserError


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("a heart", [("a heart", 1)]),
        ("a (red:1.4) heart", [("a (red:1.4) heart", 1)]),
        ("3:0.5+8:0.5", [("3:0.5+8:0.5", 1)]),
        ("std::vector", [("std::vector", 1)]),
        (r"a\|b", [("a|b", 1)]),
        ("a heart | a star", [("a heart", 1), ("a star", 1)]),
        ("a heart::0.7|a star::0.3", [("a heart", 0.7), ("a star", 0.3)]),
        ("a (red:2) heart :: 1 | green:: -0.5", [("a (red:2) heart", 1), ("green", -0.5)]),
        ("3:0.5+8:0.5::0.5 | 7::0.5", [("3:0.5+8:0.5", 0.5), ("7", 0.5)]),
        (r"a | b\|c | d", [("a", 1), ("b|c", 1), ("d", 1)]),
    ],
)
def test_parts_and_weights(typed: str, parts: list[tuple[str, float]]) -> None:
    assert joined(typed) == tuple(Part(text=text, weight=float(weight)) for text, weight in parts)


def test_a_name_means_itself() -> None:
    assert joined("a|b", ["a|b"]) == (Part(text="a|b"),)
    assert joined(r"a\b", [r"a\b"]) == (Part(text=r"a\b"),)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("a |", "says nothing"),
        ("| a", "says nothing"),
        ("a || b", "says nothing"),
        ("a::1 | ::1", "says nothing"),
        ("a::0.5 | b", "only some parts"),
        ("a::x | b::1", "'x' after '::'"),
        ("a:: | b::1", "is no weight"),
        ("a::nan | b::1", "is no weight"),
        ("a::1e9 | b::1", "between -100 and 100"),
    ],
)
def test_what_is_unclear_is_refused_in_a_sentence(typed: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as raised:
        joined(typed)
    assert len(str(raised.value)) < 300


def test_a_caption_with_a_bar_is_a_text() -> None:
    [part] = joined(as_prompt("a|b (c)"))
    assert read_prompt(part.text).text == read_prompt(as_prompt("a|b (c)")).text == "a|b (c)"
