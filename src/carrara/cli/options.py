"""From the fields of a value to the options of a command.

Whatever can be asked for is a dataclass: its fields are the options, what its docstring says of them is their help.
Pictures are arguments that stand by themselves; all else has a name.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from carrara.cli.terminal import flag
from carrara.docs import field_docs
from carrara.medium import Picture

T = TypeVar("T")
OPTION_NAMES = {"count": ["--count", "-n"], "prompts": ["--prompt", "--wish"]}
"""Options that have several names, or others than messages say."""
RUN = inspect.Parameter(
    "run",
    inspect.Parameter.POSITIONAL_ONLY,
    annotation=Annotated[
        Path, Parameter(help="A run's folder, its best/, a checkpoint in it, or the name of a model that ships.")
    ],
)


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go.

    Attributes:
        out: The folder for the results; a new one in the run's samples/, if not given.
    """

    out: Path | None = None


def made_of(what: type, leave: Iterable[str] = ()) -> list[inspect.Parameter]:
    """The parameters of a command for the fields of a dataclass, but for those to ``leave`` out: pictures first, then
    its own fields, then those of the classes that it extends."""
    hints, docs, own = get_type_hints(what), field_docs(what), inspect.get_annotations(what)
    ordered = sorted((field for field in fields(what) if field.name not in leave), key=lambda f: f.name not in own)
    made = [_parameter(field, hints[field.name], docs.get(field.name, "")) for field in ordered]
    return sorted(made, key=lambda parameter: parameter.kind)


def with_options(do: Callable[..., Any], doc: str, parameters: Iterable[inspect.Parameter]) -> Callable[..., Any]:
    """A function that cyclopts can register: ``do`` gets what was given, pictures and words too, by name."""
    parameters = sorted(parameters, key=lambda parameter: parameter.kind)
    positional = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY]
    several = [p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]

    def run(*given: Any, **named: Any) -> Any:
        alone = dict(zip(positional, given, strict=False))
        others = {name: given[len(positional) :] for name in several}
        return do({**alone, **others, **named})

    run.__doc__ = doc
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def value(what: type[T], given: Mapping[str, Any], leave: Iterable[str] = ()) -> T:
    """The value of a dataclass from what was given to a command."""
    names = {field.name for field in fields(cast(Any, what))} - set(leave)
    said = {name: _said(name, given[name]) for name in given.keys() & names}
    return what(**said)


def typed(given: Mapping[str, Any], parameters: Iterable[inspect.Parameter]) -> list[str]:
    """What one types for what was given to a command: options that are not as they are anyway, then all else."""
    options, words = list[str](), list[str]()
    for parameter in parameters:
        value = given.get(parameter.name, parameter.default)
        match parameter.kind:
            case inspect.Parameter.POSITIONAL_ONLY:
                words.append(str(value))
            case inspect.Parameter.VAR_POSITIONAL:
                words += map(str, value)
            case _ if value == parameter.default or value is None:
                pass
            case _:
                options += _option(parameter, value)
    return [*options, "--", *words]


def _option(parameter: inspect.Parameter, value: Any) -> list[str]:
    hint, about = get_args(parameter.annotation)
    name: str = about.name[0]
    match value:
        case bool():
            return [name if value else name.replace("--", "--no-", 1)]
        case tuple() if ... in get_args(hint):  # any number of them
            return [f"{name}={one}" for one in cast("tuple[Any, ...]", value)]
        case tuple():
            return [name, *map(str, cast("tuple[Any, ...]", value))]
        case _:
            return [f"{name}={value}"]


def _said(name: str, given: Any) -> Any:
    """Files become pictures; one prompt becomes all of them."""
    match name, given:
        case "prompts", None:
            return ()
        case "prompts", str():
            return (given,)
        case "image" | "mask", Path():
            return Picture.read(given)
        case "images", _:
            return tuple(map(Picture.read, given))
        case _:
            return given


def _parameter(field: "Field[Any]", hint: Any, doc: str) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    if hint is Picture:
        kind, typed, default = inspect.Parameter.POSITIONAL_ONLY, Path, inspect.Parameter.empty
    elif hint == tuple[Picture, ...]:
        kind, typed, default = inspect.Parameter.VAR_POSITIONAL, Path, inspect.Parameter.empty
    else:
        kind, typed = inspect.Parameter.KEYWORD_ONLY, _typed(hint)
        if field.name == "prompts":
            typed, default = str | None, None
    name = OPTION_NAMES.get(field.name, flag(field.name, None)) if kind is inspect.Parameter.KEYWORD_ONLY else None
    about = Parameter(name=name, help=doc, negative_iterable="")
    return inspect.Parameter(field.name, kind, default=default, annotation=Annotated[typed, about])


def _typed(hint: Any) -> Any:
    """As a command line has it: the first of several types, or nothing."""
    if get_origin(hint) not in (Union, type(str | None)):
        return hint
    first, *others = get_args(hint)
    first = Path if first is Picture else first
    return first | None if type(None) in others else first
