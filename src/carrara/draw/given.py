"""From keyword arguments to an ``Ask`` and a ``Verb``: what Python and HTTP say, checked by the types of the fields."""

from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from carrara.draw.ask import Ask
from carrara.draw.verbs import Verb
from carrara.errors import UserError, option, unknown
from carrara.medium import Picture


def ask_of(**said: Any) -> Ask:
    """An ask from keyword arguments, of which ``prompt`` is one prompt.

    Raises:
        UserError: there is no such option.
    """
    if said.get("prompt") is not None:
        others = said.get("prompts") or ()
        said["prompts"] = (*others, said["prompt"]) if isinstance(others, list | tuple) else others
    return made(Ask, {name: value for name, value in said.items() if name != "prompt"})


def verb_of(kind: type[Verb], pictures: tuple[Any, ...], said: dict[str, Any]) -> Verb:
    """A verb of pictures that are anything which ``Picture.of`` takes.

    Raises:
        UserError: there is no such option, or a picture is missing or too many.
    """
    hints, said = get_type_hints(kind), dict(said)
    pictures = (*pictures, *(said.pop(name) for name in ("image",) if name in said), *said.pop("images", ()))
    if hints.get("images") == tuple[Picture, ...]:
        said["images"] = tuple(map(Picture.of, pictures))
    elif len(pictures) != int("image" in hints):
        takes = kind.arguments if "image" in hints else "no picture"
        raise UserError(f"{kind.name} takes {takes}, and {len(pictures)} are given")
    elif pictures:
        said["image"] = Picture.of(pictures[0])
    if said.get("mask") is not None:
        said["mask"] = Picture.of(said["mask"])
    return made(kind, said)


def made(what: Any, said: dict[str, Any]) -> Any:
    """The value of a dataclass from what was said, by the names of its fields.

    Raises:
        UserError: there is no such field, one is missing, or a value is of another type or refused.
    """
    known = {field.name: field for field in fields(what)}
    for name in said:
        if name not in known:
            raise unknown("option", name, known)
    needed = [option(name) for name, field in known.items() if field.default is MISSING and name not in said]
    if needed:
        raise UserError(f"this cannot be done without {' and '.join(needed)}: say that, too")
    try:
        return TypeAdapter(what).validate_python(said)
    except ValidationError as error:
        raise _mistake(error) from None


def _mistake(error: ValidationError) -> UserError:
    """What is wrong first, as a sentence: the value's own, if it has one."""
    first = error.errors()[0]
    own = first.get("ctx", {}).get("error")
    if isinstance(own, UserError):
        return own
    reason = f"{first['msg'][:1].lower()}{first['msg'][1:]}"
    return UserError(f"{option(str(first['loc'][0]))} cannot be {first['input']!r}: {reason}")
