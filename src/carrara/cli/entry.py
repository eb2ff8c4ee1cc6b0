"""Where the command begins and ends: mistakes become sentences, and exit codes."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NoReturn

from cyclopts import CycloptsError

from carrara.cli.app import LATER, app
from carrara.cli.overview import ASKED, overview
from carrara.errors import UserError, alike
from carrara.memory import keep_freed
from carrara.threads import rest, rest_beside_others

HASTY = "--no-verify"
"""Of all commands: models are opened without being compared with their manifests."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command and exits: 0 if all went well, 2 for a mistake of the user's, 130 after Ctrl-C."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        others = [one for one in given if not _is_hasty(one)]
        if others in ASKED:
            print(overview(app, {name: text for name, (_, text) in LATER.items()}), flush=True)
            sys.exit(0)
        if others[:1] == ["serve"]:
            rest()
        else:
            keep_freed()
            if "--help" not in others:
                rest_beside_others()
        if others[:1] == ["edit"]:
            from carrara.cli.edits import verb_first  # imports torch

            others = verb_first(others)
        with nullcontext() if len(others) == len(given) else _hasty():
            result = app(others, exit_on_error=False, print_error=False)
        sys.exit(result if isinstance(result, int) else 0)
    except CycloptsError as error:
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        _say(" ".join(lines))
        _say("'carrara --help' and 'carrara COMMAND --help' say what there is.")
        sys.exit(2)
    except UserError as error:
        _say(error.message, style="red")
        _end_with_others(2)
    except KeyboardInterrupt:
        _say("stopped")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except UnicodeEncodeError:
        _say("a name among these is no text in UTF-8: give it another name", style="red")
        sys.exit(2)
    except OSError as error:
        from carrara.files.refusals import REFUSALS, refusal  # nothing is read or written for --help

        if error.errno not in REFUSALS:
            raise
        name = error.filename2 or error.filename
        where = "what is printed, or a file" if name is None else Path(os.fsdecode(name))
        _say(refusal(where, error, done="cannot be read or written"), style="red")
        sys.exit(2)


def _end_with_others(code: int) -> NoReturn:
    """Exits, without tidying up if this process is one of several that train together."""
    if "WORLD_SIZE" in os.environ:
        from carrara.train.distributed import leave  # imports torch

        leave(code)
    sys.exit(code)


def _say(text: str, style: str | None = None) -> None:
    """Prints to the standard error."""
    from carrara.cli.terminal import Terminal  # imports what prints in colours

    Terminal(stderr=True).print(text, style=style)


def _is_hasty(argument: str) -> bool:
    return argument.startswith("--") and alike(argument) == alike(HASTY)


def _hasty() -> AbstractContextManager[None]:
    from carrara.files import sealed  # imports what most helps do not need

    return sealed.unverified()
