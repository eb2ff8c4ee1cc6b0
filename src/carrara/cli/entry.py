"""Where the command begins and ends: mistakes become sentences, and exit codes."""

import sys
from typing import NoReturn

from cyclopts import CycloptsError
from rich.console import Console

from carrara.cli.app import app
from carrara.cli.edits import verb_first
from carrara.errors import UserError
from carrara.memory import keep_freed


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command and exits: 0 if all went well, 2 for a mistake of the user's, 130 after Ctrl-C."""
    console = Console(stderr=True, soft_wrap=True)
    keep_freed()
    try:
        given = verb_first(sys.argv[1:] if arguments is None else arguments)
        result = app(given, exit_on_error=False, print_error=False)
        sys.exit(result if isinstance(result, int) else 0)
    except CycloptsError as error:
        lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
        console.print(" ".join(lines), markup=False, highlight=False)
        console.print("'carrara --help' and 'carrara COMMAND --help' say what there is.", markup=False, highlight=False)
        sys.exit(2)
    except UserError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("stopped", highlight=False)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
