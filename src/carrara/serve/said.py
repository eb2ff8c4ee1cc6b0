"""What a user is told over HTTP: a mistake is 400 and one sentence, in the form that OpenAI's clients read.

    {"error": {"message": "...", "type": "invalid_request_error", "param": "steps", "code": null}}

Options in messages are spelled as the keys of a body. Nothing else of an error reaches a client: neither a traceback
nor the place of a file.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from carrara.errors import Spelling, UserError, marked

log = logging.getLogger("carrara.serve")
HTTP = Spelling(option=lambda name, value: f'"{name}"' if value is None else f'"{name}": {value}', program="carrara ")
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 500: "server_error"}
_LONGEST = 500
GONE = 499
"""What is counted where a client left before its request was whole; it never gets it."""


class Missing(UserError):
    """Something that is not there: 404."""


class Busy(UserError):
    """The queue is full: 429.

    Attributes:
        after: seconds after which to try again.
    """

    after: int = 1


def error_body(message: str, status: int = 400, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


ERROR: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "A mistake, in a sentence.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {
                            "type": "object",
                            "required": ["message", "type", "param", "code"],
                            "properties": {
                                "message": {"type": "string"},
                                "type": {"type": "string"},
                                "param": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                                "code": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                            },
                        }
                    },
                }
            }
        },
    }
}
"""What the schema of the API says of every mistake."""


def error_response(
    message: str, status: int = 400, param: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The same as an answer."""
    return JSONResponse(error_body(message, status, param), status, dict(headers or {}))


def sentence(error: UserError) -> str:
    """A mistake's message, spelled for HTTP, on one line."""
    return " ".join(error.spelled(HTTP).split())


def mistaken(error: UserError) -> JSONResponse:
    """The answer to a mistake."""
    match error:
        case Busy():
            return error_response(sentence(error), 429, headers={"Retry-After": str(error.after)})
        case Missing():
            return error_response(sentence(error), 404, param_of(error))
        case _:
            return error_response(sentence(error), param=param_of(error))


def param_of(error: UserError) -> str | None:
    """The field that is wrong: the one that is known, or else the only one that the message names."""
    names = marked(error.message)
    return error.param or (names.pop() if len(names) == 1 else None)


def add_handlers(app: FastAPI) -> None:
    """Lets an app answer mistakes so."""

    async def user(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, UserError)
        return mistaken(error)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        param, message = first_of(error.errors())
        return error_response(message, param=param)

    async def other(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return error_response(f"{error.detail}", error.status_code, headers=error.headers)

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=GONE)

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response("something went wrong here, and it is no mistake of yours: the log says what", 500)

    app.add_exception_handler(UserError, user)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, other)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(Exception, unexpected)


def first_of(errors: Sequence[Any]) -> tuple[str | None, str]:
    """The key that is wrong first in a body, and the sentence; what was given is not repeated."""
    first = errors[0]
    own = first.get("ctx", {}).get("error")
    places = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    param = ".".join(places)[:200] or None
    if isinstance(own, UserError):
        return param, sentence(own)
    reason = str(first["msg"]).removeprefix("Value error, ")[:_LONGEST]
    reason = f"{reason[:1].lower()}{reason[1:]}"
    return param, f'"{param}" is wrong: {reason}' if param else f"the request is wrong: {reason}"
