"""From what a client says to what is drawn: asks and verbs within the bounds of the studio.

The names of fields are those of ``Ask`` and of the verbs. Where these take a folder, a client says the id of a model,
and where they take a picture, the id of an upload or of a picture in the gallery: no text of a client's is ever a path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from math import prod
from typing import Any, get_type_hints

from carrara.draw import VERBS, Ask, Request, Verb, read_variation, request
from carrara.draw.given import ask_of, verb_of
from carrara.draw.variation import Sweep
from carrara.errors import UserError, known, option, unknown
from carrara.medium import Picture, read_size
from carrara.serve.adapters import check_adapters
from carrara.serve.blame import blaming, searching
from carrara.serve.described import usual_count, verb_names
from carrara.serve.settings import ServeSettings
from carrara.serve.shelf import Shelf
from carrara.serve.work import Editing, Sampling, Varying, Work
from carrara.store import OpenModel
from carrara.store.adapters import located

FOLDERS = ("weak", "classifier")
"""The fields of ``Ask`` that name another model."""
PICTURES = ("image", "images", "mask")
"""The fields of verbs that are pictures."""
_SIZES = ("size", "tile", "canvas")
_FRAMES = ("frames", "resamplings", "refinements", "jump")
_LONGEST_NAME = 60
_CELLS = 64
"""Of a sheet."""
_ADAPTERS = 16
"""At once."""


def read_ask(shelf: Shelf, settings: ServeSettings, said: Mapping[str, Any]) -> Ask:
    """An ask of what a client says, without fields that are None.

    Raises:
        UserError: an unknown field, a value that is none, or more than the studio does for anyone.
    """
    given = {name: value for name, value in said.items() if value is not None}
    for name in given:
        if name not in (*(field.name for field in fields(Ask)), "prompt"):
            with blaming(name[:_LONGEST_NAME]):
                raise unknown("option", name, [field.name for field in fields(Ask)])
    for name in FOLDERS:
        if name in given:
            with blaming(name):
                given[name] = shelf.entry(str(given[name])).path
    if "lora" in given:
        with blaming("lora"):
            given["lora"] = _adapters(shelf, given["lora"])
    with searching(given, lambda said: _checked(settings, said)):
        return _checked(settings, given)


def _adapters(shelf: Shelf, said: Any) -> tuple[str, ...]:
    """The adapters of models that are named by their ids, ``ID`` or ``ID:0.8``."""
    if not isinstance(said, list | tuple) or not all(isinstance(one, str) for one in said):
        raise UserError(f"{option('lora')} is a list of models' ids, each of which may have a weight, as in ID:0.8")
    _at_most("lora", len(said), _ADAPTERS)
    return tuple(_adapter(shelf, *str(one).partition(":")) for one in said)


def _adapter(shelf: Shelf, name: str, colon: str, times: str) -> str:
    place = shelf.entry(name).path
    try:
        located(str(place))
    except UserError:
        raise UserError(f"'{name}{colon}{times}' is no adapter: name a model that a lora was learned for") from None
    located(said := f"{place}{colon}{times}")
    return said


def _checked(settings: ServeSettings, said: Mapping[str, Any]) -> Ask:
    ask = ask_of(**said)
    _check_ask(settings, ask)
    return ask


def _said(what: Ask) -> dict[str, Any]:
    """The fields that differ from what they are by themselves."""
    own = {field.name: (getattr(what, field.name), field.default) for field in fields(what)}
    return {name: value for name, (value, usual) in own.items() if value != usual}


def _check_ask(settings: ServeSettings, ask: Ask) -> None:
    words = [*ask.prompts, ask.negative or "", ask.label or ""]
    if sum(map(len, words)) > settings.prompt:
        raise UserError(f"prompts have at most {settings.prompt} characters here: say it in fewer")
    _at_most("count", (ask.count or 1) * max(1, len(ask.prompts)), settings.count)
    _at_most("steps", ask.steps or 1, settings.steps)
    for size in (ask.pixel_size, ask.window):
        _check_pixels(settings, size or (), 1)


def _at_most(name: str, value: int, most: int) -> None:
    if value > most:
        raise UserError(f"{option(name)} is at most {most} here, and {value} is asked for: ask for fewer")


def _check_pixels(settings: ServeSettings, size: Sequence[int], count: int) -> None:
    if size and prod(size) * count > settings.pixels:
        each = " x ".join(map(str, size))
        raise UserError(
            f"{count} of {each} are more than the {settings.pixels:,} pixels that a request may have here: ask for "
            "fewer, or for smaller ones"
        )


def check_request(settings: ServeSettings, opened: OpenModel, made: Request) -> None:
    """Refuses more than the studio does for anyone.

    Raises:
        UserError: it is.
    """
    _at_most("count", len(made.seeds), settings.count)
    _at_most("steps", made.settings.steps, settings.steps)
    size = made.pixel_size or opened.model.size or opened.model.shape
    _check_pixels(settings, size, max(1, len(made.seeds)))


def sampling(settings: ServeSettings, opened: OpenModel, model: str, ask: Ask) -> Sampling:
    """Samples as a job.

    Raises:
        UserError: the model does not understand it, or it is too much.
    """
    if not opened.model.draws:
        request(opened, ask)
        raise UserError("this model is an autoencoder without a prior, so it draws nothing new: take another one")
    if opened.model.image is not None:
        raise UserError(f"this model {opened.model.image.asked}")
    if ask.count is None:
        ask = replace(ask, count=usual_count(opened.model))
    check_adapters(opened, ask)
    with searching(_said(ask), lambda said: _requested(settings, opened, Ask(**said))):
        return Sampling(model=model, request=_requested(settings, opened, ask))


def _requested(settings: ServeSettings, opened: OpenModel, ask: Ask) -> Request:
    made = request(opened, ask)
    check_request(settings, opened, made)
    return made


def varying(settings: ServeSettings, opened: OpenModel, model: str, ask: Ask, said: Sequence[str]) -> Work:
    """A sheet of one or two settings as a job.

    Raises:
        UserError: there are more than two, or one cannot be varied.
    """
    check_adapters(opened, ask)
    with blaming("vary"):
        sweeps = _sweeps(settings, opened, ask, said)
    ask = replace(ask, count=1, prompts=ask.prompts[:1])
    with searching(_said(ask), lambda said: request(opened, Ask(**said))):
        made = request(opened, ask)
    _check_pixels(settings, made.pixel_size or opened.model.size, prod(len(sweep.values) for sweep in sweeps))
    return Varying(model=model, request=made, ask=ask, sweeps=sweeps, text=tuple(said))


def _sweeps(settings: ServeSettings, opened: OpenModel, ask: Ask, said: Sequence[str]) -> list[Sweep]:
    """What is varied, each value of which the model understands.

    Raises:
        UserError: there are more than two, or one cannot be varied.
    """
    if len(said) > 2:
        raise UserError(f"a sheet has rows and columns, and {len(said)} settings are varied: vary one or two")
    sweeps = [read_variation(text) for text in said]
    if len({sweep.name for sweep in sweeps}) < len(sweeps):
        raise UserError(f"{sweeps[0].name} is varied twice: vary another setting with it")
    ask = replace(ask, count=1, prompts=ask.prompts[:1])
    _at_most("vary", prod(len(sweep.values) for sweep in sweeps), _CELLS)
    for sweep in sweeps:
        for value in sweep.values:
            one = read_varied(ask, sweep.name, value)
            _check_ask(settings, one)
            request(opened, one)
    return sweeps


def read_varied(ask: Ask, name: str, value: Any) -> Ask:
    """An ask with one field changed, checked as one that is said."""
    said = {field.name: getattr(ask, field.name) for field in fields(Ask)}
    return ask_of(**{**said, name: value})


def editing(settings: ServeSettings, opened: OpenModel, model: str, ask: Ask, verb: Verb) -> Editing:
    """An edit as a job.

    Raises:
        UserError: the model cannot do it, or it is too much.
    """
    verb.check_model(opened.model)
    check_adapters(opened, ask)

    def asked(said: Mapping[str, Any]) -> Request:
        made = verb.request(opened, Ask(**said))
        check_request(settings, opened, made)
        return made

    with searching(_said(ask), asked):
        return Editing(model=model, request=asked(_said(ask)), verb=verb)


def read_verb(
    settings: ServeSettings, name: str, said: Mapping[str, Any], images: Sequence[Picture], mask: Picture | None
) -> Verb:
    """A verb of what a client says.

    Raises:
        UserError: there is none, an unknown option, a picture too few or too many, or more than the studio does.
    """
    with blaming("verb"):
        kind = VERBS[known("edit", name, VERBS)]
    given = {key: value for key, value in said.items() if value is not None}
    own = [key for key in verb_names(kind) if key not in PICTURES]
    for key in given:
        if key not in own:
            with blaming(key[:_LONGEST_NAME]):
                raise unknown("option", key, own)
    hints = get_type_hints(kind)
    if mask is not None:
        if "mask" not in hints:
            with blaming("mask"):
                raise UserError(f"{name} takes no mask: leave it out")
        given["mask"] = mask
    if images and "image" not in hints and "images" not in hints:
        with blaming("images"):
            raise UserError(f"{name} takes no pictures: leave them out")

    def said_to(options: Mapping[str, Any]) -> Verb:
        verb = verb_of(kind, tuple(images), dict(options))
        _check_verb(settings, verb)
        return verb

    if "image" in hints and len(images) != 1:
        with blaming("images"):
            return said_to(given)
    with searching(given, said_to):
        return said_to(given)


def _check_verb(settings: ServeSettings, verb: Verb) -> None:
    for field in fields(verb):
        value = getattr(verb, field.name)
        if isinstance(value, str):
            _at_most(f"characters of {field.name}", len(value), settings.prompt)
        if field.name in _SIZES:
            _check_pixels(settings, read_size(value) or (), 1)
        if field.name in _FRAMES and isinstance(value, int):
            _at_most(field.name, value, settings.count)
        if field.name == "margins" and value is not None:
            _check_margins(settings, str(value))
        if field.name == "factor" and isinstance(value, int):
            _at_most("factor", value, 16)


def _check_margins(settings: ServeSettings, said: str) -> None:
    try:
        edges = [float(part) for part in said.split(",")]
    except ValueError:
        return
    if not all(edge <= 4 * settings.pixels**0.5 for edge in edges):
        raise UserError(f"margins of {said} are more than can be drawn here: take smaller ones")
