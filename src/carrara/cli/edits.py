"""The verbs of ``carrara edit RUN VERB ...``: each is a class of ``draw.verbs``, whose fields are its options."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from cyclopts import App

from carrara import pixels
from carrara.cli.options import RUN, Output, made_of, value, with_options
from carrara.cli.progress import watched
from carrara.cli.terminal import SHELL, bold, console
from carrara.docs import summary
from carrara.draw import VERBS, Ask, Verb, result_of
from carrara.errors import UserError, known, spelled
from carrara.files import check_place
from carrara.store import OpenModel, Store, working_folder

edits = App(
    name="edit",
    help_epilogue="'carrara edit VERB --help' has the options and examples of each.",
    usage="Usage: carrara edit RUN VERB [ARGS] [OPTIONS]",
)


def edit(opened: OpenModel, verb: Verb, ask: Ask, output: Output) -> None:
    """Makes new pictures, into a folder."""
    out = output.out or pixels.fresh(working_folder(opened.folder) / "samples" / verb.name)
    check_place(out)
    results = result_of(watched(verb.run(opened, verb.request(opened, ask))))
    paths = results.save(opened, out)
    count, several = len(results.images), opened.model.medium.name
    console.print(
        f"{count} {several.removesuffix('s') if count == 1 else several} in ", bold(out), f": {paths[0].name}"
    )


def verb_first(arguments: list[str]) -> list[str]:
    """``edit RUN VERB ...`` as ``edit VERB RUN ...``, in which options depend on the verb alone.

    Raises:
        UserError: there is no such verb.
    """
    if arguments[:1] != ["edit"] or len(arguments) < 2 or arguments[1] in VERBS or arguments[1].startswith("-"):
        return arguments
    _, run, *others = arguments
    if not others:
        raise UserError(f"what shall be done with samples of '{run}'? carrara edit {run} {'|'.join(VERBS)} ...")
    verb = others[0] if others[0].startswith("-") else known("edit", others[0], VERBS)
    return ["edit", verb, run, *others[1:]]


def _run(kind: type[Verb], given: Mapping[str, Any]) -> None:
    opened, ask = Store().open(given["run"]), value(Ask, given, _left(kind))
    kind.check_model(opened.model)
    edit(opened, value(kind, given), ask, value(Output, given))


def _left(kind: type[Verb]) -> set[str]:
    """The options of drawing that a verb does not have, or has itself."""
    return set(kind.leaves) | set(kind.__dataclass_fields__)


for name, kind in VERBS.items():
    edits.command(
        with_options(
            partial(_run, kind), summary(kind), [RUN, *made_of(kind), *made_of(Ask, _left(kind)), *made_of(Output)]
        ),
        name=name,
        usage=" ".join(f"Usage: carrara edit RUN {name} {spelled(kind.arguments, SHELL)} [OPTIONS]".split()),
    )
