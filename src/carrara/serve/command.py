"""``carrara serve``."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from carrara.errors import UserError
from carrara.memory import remember_few_layers, share_arena

NEEDED = ("fastapi", "uvicorn", "sse_starlette", "prometheus_client", "python_multipart")
TOKEN = "CARRARA_TOKEN"
"""The variable of the environment that may hold the token, so that no list of processes shows it."""


def serve(
    *runs: Path,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    data: Annotated[tuple[Path, ...], Parameter(negative_iterable="")] = (),
    name: Annotated[tuple[str, ...], Parameter(negative_iterable="")] = (),
) -> None:
    """Serves models on a page in the browser, and to programs.

    Parameters
    ----------
    runs
        Folders of runs, or names of models that ship; without any, the shipped ones and all in runs/.
    host
        Where to listen; at another address than this machine's own a token is needed.
    port
        The port; 0 takes a free one.
    token
        What lets somebody in, of 8 characters or more; $CARRARA_TOKEN, if not given.
    data
        A folder or file to train on that the page offers, beside what is sent and what is built in.
    name
        A name by which browsers may ask for this machine, besides its own.
    """
    if missing := [one for one in NEEDED if find_spec(one) is None]:
        raise UserError(f"the studio needs {missing[0]}: pip install 'carrara[serve]'")
    share_arena()
    remember_few_layers()
    from carrara.serve.running import run
    from carrara.serve.settings import ServeSettings

    token = token or os.environ.get(TOKEN)
    run(ServeSettings(host=host, port=port, token=token, runs=runs, names=name, data=data, warm=True))
