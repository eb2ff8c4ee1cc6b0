"""What a user is told when something cannot be done: one sentence, exit code 2, never a traceback."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake that the user can correct. The message says what is wrong, which rule, and what to do next."""


def close_match(word: str, options: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the option nearest to ``word``, or an empty string."""
    nearest = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def unknown(kind: str, word: str, options: Iterable[str]) -> UserError:
    """The error for a name that is none of the accepted ones, with the list and the close match."""
    accepted = list(options)
    return UserError(f"unknown {kind} '{word}': it is one of {', '.join(accepted)}.{close_match(word, accepted)}")
