"""Who reads the address can connect at once."""

import socket

from carrara.serve.running import listening
from carrara.serve.settings import ServeSettings


def test_a_client_is_taken_before_the_server_runs() -> None:
    with listening(ServeSettings(port=0)) as made:
        port = made.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            assert client.getpeername()[1] == port
