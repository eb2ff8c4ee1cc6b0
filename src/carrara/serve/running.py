"""A studio while it runs: a server, the address that is printed, and an end that cuts nothing off."""

import socket
import sys

import uvicorn

from carrara.errors import UserError, option
from carrara.serve.app import create
from carrara.serve.settings import ServeSettings

SWITCH = 0.001
"""Seconds after which a thread lets another one run that waits: answers do not wait for pictures that are written."""
GRACE = 5
"""Seconds that answers have to end in."""


BACKLOG = 2048
"""Clients that may wait until they are looked at, as uvicorn has it."""


def run(settings: ServeSettings) -> None:
    """Serves until it is stopped.

    Raises:
        UserError: it cannot listen there, or there is nothing to serve.
    """
    sys.setswitchinterval(SWITCH)
    app = create(settings)
    app.state.studio.shelf.check()
    app.state.workshop.datasets.check()
    with listening(settings) as open_socket:
        port = open_socket.getsockname()[1]
        print(f"Carrara is at {address(settings, port)}  (Ctrl-C stops it)", flush=True)
        config = uvicorn.Config(
            app,
            access_log=False,  # an address may have the token in it
            log_level="warning",
            timeout_graceful_shutdown=GRACE,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
        )
        uvicorn.Server(config).run(sockets=[open_socket])


def listening(settings: ServeSettings) -> socket.socket:
    """An open socket.

    Raises:
        UserError: there can be none.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio lets Nagle delay answers
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((settings.host, settings.port))
        made.listen(BACKLOG)  # before the address is printed: whoever reads it can connect at once
    except OSError as error:
        made.close()
        why = error.strerror or str(error)
        raise UserError(
            f"nothing can listen at {settings.host}:{settings.port} ({why}): name another {option('port')}"
        ) from None
    return made


def address(settings: ServeSettings, port: int) -> str:
    """What to open in a browser."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{host}:{port}/"
