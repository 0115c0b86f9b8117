"""Who may ask, and what every answer tells a browser: three ASGI middlewares."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.open_inference.request import HEADER_LENGTH
from serving.problems import problem_response

Header = tuple[bytes, bytes]

HEADERS: tuple[Header, ...] = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
# The page needs nothing but its own files and the pictures that it is given.
STRICT = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    b"media-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# Swagger UI, as fastapi-offline serves it, has its start in the page itself.
OF_DOCS = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"base-uri 'none'; frame-ancestors 'none'"
)


class SecurityHeaders:
    """Browsers take no answer for another type than it has, tell no other site where they come from, and run nothing
    that is not the server's own (Content Security Policy Level 3)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = (b"content-security-policy", OF_DOCS if scope["path"].startswith("/docs") else STRICT)

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS, policy]
            await send(message)

        await self._app(scope, receive, add)


class ApiKeys:
    """Lets through who shows one of the keys (RFC 6750 section 2.1, or the header X-API-Key); probes stay open."""

    def __init__(self, app: ASGIApp, keys: Collection[str], paths: re.Pattern[str]) -> None:
        """`paths`: how those begin that need a key. (Whole ones are too few: routes take a line's end after.)"""
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "http" and self._paths.match(scope["path"]) and not self._is_known(scope["headers"]):
            detail = "This needs an API key: send it as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'."
            refused = problem_response(401, detail, headers={"WWW-Authenticate": "Bearer"})
            await refused(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_known(self, headers: list[Header]) -> bool:
        shown = [value for name, value in headers if name == b"x-api-key"]
        for name, value in headers:
            scheme, _, token = value.partition(b" ")
            if name == b"authorization" and scheme.lower() == b"bearer":
                shown.append(token.strip())
        # Every key is compared, in a time that tells nothing about how much of one was right.
        matches = [hmac.compare_digest(key, each) for each in shown[:2] for key in self._keys]
        return any(matches)


class Cors(CORSMiddleware):
    """Lets the pages of other origins ask, and read the answers (Fetch standard, section 3.3).

    Outside of all that may refuse: a preflight carries no key, and a page should be able to read why it was refused.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        """`origins`: as browsers send them, or "*" for all."""
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD", "POST"),
            allow_headers=("Authorization", "X-API-Key", "X-Request-ID", "traceparent", "tracestate", HEADER_LENGTH),
            expose_headers=("X-Request-ID", "Server-Timing", "Retry-After", "WWW-Authenticate", HEADER_LENGTH),
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight; one that is refused is a problem like any other."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        refused = problem_response(answer.status_code, f"{bytes(answer.body).decode()}.")
        refused.raw_headers += [pair for pair in answer.raw_headers if not pair[0].startswith(b"content-")]
        return refused
