"""What docstrings say, for those who print it: a class is explained once, where it is."""

import inspect
import re
from textwrap import dedent

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns):\n((?:[ ]+.*\n|\n)*)", re.MULTILINE)
_ENTRY = re.compile(r"^(\w[\w, ]*): ((?:.*\n)(?:[ ]+.*\n|\n)*)", re.MULTILINE)


def summary(what: type) -> str:
    """A class's docstring without its sections."""
    return _SECTION.sub("", (inspect.getdoc(what) or "") + "\n").strip()


def field_docs(what: type) -> dict[str, str]:
    """What the docstrings of a class, and of those that it extends, say of each attribute, each as one paragraph."""
    found: dict[str, str] = {}
    for base in reversed(what.__mro__):
        for section, body in _SECTION.findall(inspect.cleandoc(base.__dict__.get("__doc__") or "") + "\n"):
            if section == "Attributes":
                found |= {
                    name: " ".join(text.split())
                    for names, text in _ENTRY.findall(dedent(body))
                    for name in names.split(", ")
                }
    return found
