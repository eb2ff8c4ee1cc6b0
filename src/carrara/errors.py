"""What a user is told when something cannot be done: one sentence, exit code 2, never a traceback.

The same option has other spellings in a shell, in Python and over HTTP. So a message does not spell options and
commands, it marks them, by ``option`` and ``command``, and whoever shows the message spells them, by ``spelled``. As a
string, an error spells them for Python: ``weak=FOLDER``. Marks are made of private-use characters, which nobody types.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_BEGIN, _EQUALS, _END, _PROGRAM = "\ue000\ue001\ue002\ue003"
_WORD = 200  # letters of a name that a message repeats
_OPTION = re.compile(f"{_BEGIN}(?P<name>[^{_EQUALS}{_END}]*)(?:{_EQUALS}(?P<value>[^{_END}]*))?{_END}")


LONGEST = 1000
"""Characters of a line of a message."""


def option(name: str, value: object = None) -> str:
    """Marks an option in a message.

    Args:
        name: the argument's, as in Python.
        value: what it may be given; None says nothing of it.
    """
    return f"{_BEGIN}{name}{'' if value is None else f'{_EQUALS}{value}'}{_END}"


def command(words: str, *more: str, **options: object) -> str:
    """Marks something that a user can do.

    Args:
        words: the verb and what it is done to, as in ``train DATA``.
        more: words that come after the options.
        options: by their arguments' names in Python; one that is True has no value.
    """
    marked = [option(name, None if value is True else value) for name, value in options.items()]
    return _PROGRAM + " ".join([words, *marked, *more])


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How a front end writes what one says to it.

    Attributes:
        option: from an argument's name, and its value if that is told.
        program: what a command begins with.
    """

    option: Callable[[str, str | None], str]
    program: str = ""


PLAIN = Spelling(option=lambda name, value: name if value is None else f"{name}={value}")
"""For Python, and for whoever knows the arguments' names."""


def marked(text: str) -> set[str]:
    """The options that a message marks."""
    return {mark["name"] for mark in _OPTION.finditer(text)}


def spelled(text: str, spelling: Spelling = PLAIN) -> str:
    """A message, or any text, with its options and commands spelled."""
    return _OPTION.sub(lambda mark: spelling.option(mark["name"], mark["value"]), text).replace(
        _PROGRAM, spelling.program
    )


class UserError(ValueError):
    """A mistake that the user can correct. The message says what is wrong, which rule, and what to do next.

    Attributes:
        param: the argument that is wrong, where somebody knows it.
        rank: the process that says it, where several were started together and all of them know.
    """

    param: str | None = None
    rank: int | None = None

    @property
    def message(self) -> str:
        """With marks, to be spelled, or to be a part of another message. Of a long line the middle is left out: it is
        somebody's text."""
        return "\n".join(map(_without_middle, super().__str__().split("\n")))

    def spelled(self, spelling: Spelling) -> str:
        """As a front end writes it."""
        return spelled(self.message, spelling)

    def __str__(self) -> str:
        return self.spelled(PLAIN)


def _without_middle(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def check_finite(*given: object) -> None:
    """Refuses numbers that are none, among values and tuples of them.

    Raises:
        ValueError: there is one.
    """
    numbers = [one for value in given for one in (value if isinstance(value, tuple) else (value,))]
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise ValueError("It must be a finite number.")


def alike(name: str) -> str:
    """Equal for names that differ in hyphens and underscores, or in capitals, alone; no two of Carrara's names do."""
    return name.replace("-", "_").casefold()


def meant(word: str, names: Iterable[str]) -> str | None:
    """The name that a word is, or that it is ``alike``; None if it is none of them."""
    known = {alike(name): name for name in names}
    return known.get(alike(word))


def known(kind: str, word: str, names: Iterable[str]) -> str:
    """The name that is ``meant``.

    Raises:
        UserError: none of them is; see ``unknown``.
    """
    names = list(names)
    if (name := meant(word, names)) is None:
        raise unknown(kind, word, names)
    return name


def close_match(word: str, options: Iterable[str]) -> str:
    """Returns ``" Did you mean 'x'?"`` for the option nearest to ``word``, or an empty string."""
    names = {alike(option): option for option in options}
    nearest = difflib.get_close_matches(alike(word), names, n=1, cutoff=0.5)
    return f" Did you mean '{names[nearest[0]]}'?" if nearest else ""


def unknown(kind: str, word: str, options: Iterable[str]) -> UserError:
    """The error for a name that is none of the accepted ones, with the list and the close match."""
    accepted, word = list(options), word if len(word) <= _WORD else f"{word[:_WORD]}..."
    return UserError(f"unknown {kind} '{word}': it is one of {', '.join(accepted)}.{close_match(word, accepted)}")
