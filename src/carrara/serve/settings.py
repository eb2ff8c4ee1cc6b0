"""What a studio is started with: where it listens, whom it lets in, what it serves, and how much it does for anyone."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from carrara.errors import UserError, option

MOST_TOKEN = 512


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How a studio is served.

    Attributes:
        host, port: where it listens; port 0 is a free one.
        token: what lets somebody in; needed wherever other machines can reach it.
        runs: folders of runs, or names of models that ship; without any, the shipped ones and all in ``runs/``.
        names: names of this machine besides its own that a browser may ask for.
        data: folders and files to train on that are offered, beside the built-in data.
        home: the folder of runs, where trainings begin.
        uploads: the folder of data that are sent, of which one sending has at most ``data_bytes``.
        document: the most bytes of a request of words, and ``upload`` of one with files.
        pixels: the most of all pictures of a request together, or numbers of other samples.
        steps, count, prompt: the most steps, samples, and characters of a prompt.
        seconds: how long a job may work.
        queue: how many jobs may wait.
        together: the most samples that are drawn together; 1 draws the requests one after the other.
        warm: whether the first model is opened, and draws a step, before anybody asks.
        memory: bytes of models that stay open; None is a quarter of the machine's.

    Raises:
        UserError: no token where one is needed, one that is too short, or a port that is none.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    runs: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    data: tuple[Path, ...] = ()
    home: Path = Path("runs")
    uploads: Path = Path("uploads")
    data_bytes: int = 1 << 32
    document: int = 1 << 20
    upload: int = 1 << 26
    pixels: int = 1 << 22
    steps: int = 1000
    count: int = 64
    prompt: int = 2000
    seconds: float = 600.0
    queue: int = 64
    together: int = 64
    warm: bool = False
    memory: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise UserError(f"port {self.port} is none: take one of 1 to 65535, or 0 for a free one")
        if self.token is None and not self.local:
            token = option("token", "SECRET")
            raise UserError(
                f"at {self.host} other machines can reach the studio, so it needs a token: say one with {token}, or "
                f"leave {option('host')} out"
            )
        if self.token is not None and not 8 <= len(self.token) <= MOST_TOKEN:
            raise UserError(f"a token has 8 to {MOST_TOKEN} characters: take a longer or a shorter one")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise UserError("a token is made of visible ASCII characters: take another one")

    @property
    def local(self) -> bool:
        """Whether this machine alone can reach it."""
        return is_local(self.host)


def without_places(settings: ServeSettings, told: Any) -> Any:
    """What is told, any plain value, with short names in the place of where things lie on this machine."""
    match told:
        case str():
            for path in (settings.home, settings.uploads, *settings.data):
                told = told.replace(str(path.absolute()), path.name)
            return told
        case dict():
            return {name: without_places(settings, value) for name, value in cast(dict[str, Any], told).items()}
        case list() | tuple():
            return [without_places(settings, value) for value in cast(list[Any], told)]
        case _:
            return told


def is_local(host: str) -> bool:
    """Whether a name or an address is this machine's own, and no other can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
