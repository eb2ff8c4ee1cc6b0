"""Who is let in: an ASGI middleware that looks at a request before anything else does.

A browser may be made to ask by a page of somebody else's. So the name that it asks for must be this machine's (no
other name may be made to lead here), a page that asks must be the studio's own, and no other page may show what comes.
Where other machines can reach the studio, whoever asks must know its token: in ``Authorization: Bearer``, or in a
cookie that ``/?token=...`` sets. And no more of a body is read than may come.
"""

import hmac
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, final
from urllib.parse import parse_qs, urlsplit

from starlette.responses import RedirectResponse, Response

from carrara.serve.said import error_response
from carrara.serve.settings import ServeSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "carrara_token"
OPEN = ("/healthz", "/readyz")
"""What needs no token."""
WITH_FILES = ("/api/uploads", "/api/recall", "/v1/images/edits", "/v1/images/variations")
"""Where files are sent."""
DATA = "/api/data"
"""Where data to train on are sent."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; frame-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_YEAR = 365 * 24 * 3600


class _TooLarge(Exception):
    """A body that goes on beyond its bound."""


@final
class Guard:
    """Lets requests through to an app, or answers them itself."""

    def __init__(self, app: App, settings: ServeSettings) -> None:
        self._app, self._settings = app, settings
        own = {"localhost", settings.host.lower(), *map(str.lower, settings.names)}
        self._names = own if settings.local else own | {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or what else a server says."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return None  # there are no sockets here
        headers = _headers(scope["headers"])
        refused = self._refusal(scope, headers)
        if refused is not None:
            return await refused(scope, receive, _protected(send))
        return await self._pass_on(scope, receive, send, self._most(scope["path"]))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """The answer to who is not let in, or who brings the token by an address."""
        host = headers.get("host", "")
        if not self._is_own(host):
            return error_response("this name does not lead here: ask for 127.0.0.1 or localhost", 421)
        if (origin := headers.get("origin")) is not None and urlsplit(origin).netloc.lower() != host.lower():
            return error_response("pages of other places may not ask here", 403)
        site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "navigate")
        if site in ("cross-site", "same-site") and (mode != "navigate" or scope["method"] != "GET"):
            return error_response("pages of other places may not ask here", 403)
        if (given := self._by_address(scope)) is not None:
            return given
        if self._settings.token is not None and scope["path"] not in OPEN and not self._knows(headers):
            said = "this studio needs its token: open it by the address that was printed when it was started"
            return error_response(said, 401, headers={"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 15:
            return error_response("the length of this request is none", 400)
        return self._too_large(scope["path"]) if int(length) > self._most(scope["path"]) else None

    def _is_own(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
        name = name.strip("[]").lower().rstrip(".")
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._settings.local or name == self._settings.host

    def _by_address(self, scope: Scope) -> Response | None:
        """Sets the cookie for who comes by the address with the token, and leads on to the one without."""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=100)
        if self._settings.token is None or scope["path"] != "/" or "token" not in query:
            return None
        if not _same(query["token"][0], self._settings.token):
            return error_response("this is not the studio's token", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self._settings.token, max_age=_YEAR, httponly=True, samesite="strict", path="/")
        return answer

    def _knows(self, headers: dict[str, str]) -> bool:
        assert self._settings.token is not None
        kind, _, said = headers.get("authorization", "").partition(" ")
        given = [said.strip()] if kind.lower() == "bearer" else []
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        given += [] if cookie is None else [cookie.value]
        return any(_same(one, self._settings.token) for one in given)

    def _most(self, path: str) -> int:
        if path == DATA:
            return self._settings.data_bytes
        return self._settings.upload if path in WITH_FILES else self._settings.document

    def _too_large(self, path: str) -> Response:
        return error_response(f"this is more than the {self._most(path):,} bytes that may be sent here", 413)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        """Counts what comes, and adds what protects the answer."""
        read, begun = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, _protected(noted))
        except _TooLarge:
            if not begun:
                await self._too_large(scope["path"])(scope, receive, _protected(send))


def _protected(send: Send) -> Send:
    """Answers with the headers that protect a browser."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            added = [*HEADERS, (b"cache-control", b"no-store")]
            message["headers"] = [*message.get("headers", ()), *(one for one in added if one[0] not in there)]
        await send(message)

    return with_headers


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The last of each name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _same(one: str, other: str) -> bool:
    """In a time that says nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
