"""Around everything else: each request has an id, which its answer carries, and a line in the log."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from urllib.parse import quote_from_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.current_request import CurrentRequest, begin_request, note_stage
from serving.log_format import json_line, local_time, one_line, text_ids, utc_time
from serving.log_stream import PIECE, WriteLine

LOGGER = "serving.access"
# Of a path and its query, in bytes. Whatever they are, the line is one piece of what is written to a pipe, so that the
# lines of several processes do not run into each other.
MAX_PATH = PIECE // 8
PRINTABLE = bytes(range(0x21, 0x7F))

AccessLine = Callable[[Scope, CurrentRequest, int, float, int, int], str]
"""Scope, request, status, milliseconds, bytes of the body received, bytes of the body sent."""


class RequestLog:
    """ASGI middleware outside of all others: what they refuse, and what fails in them, has an id and a line too.

    The id is the client's own, from X-Request-ID, or a new one. The line takes the place of uvicorn's.
    """

    def __init__(self, app: ASGIApp, line: AccessLine, write: WriteLine | None) -> None:
        """`write`: None where lines of this level are not logged."""
        self._app, self._line, self._write = app, line, write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.monotonic()
        request = begin_request(scope["headers"])
        header = (b"x-request-id", request.id.encode())
        # What is never answered ends in an exception, which uvicorn answers.
        status, received, sent = 500, 0, 0

        async def count_received() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message["body"])
                if received and not message["more_body"]:
                    note_stage("read", began, time.monotonic())
            return message

        async def count_sent(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, count_received, count_sent)
        finally:
            if self._write is not None:
                if scope["method"] == "HEAD":
                    sent = 0
                milliseconds = 1000 * (time.monotonic() - began)
                self._write(self._line(scope, request, status, milliseconds, received, sent))


def access_line(log_format: str) -> AccessLine:
    """What puts a request into a line, without `logging`, which would cost more than all the rest of it."""
    return _json_line if log_format == "json" else _text_line


def _text_line(
    scope: Scope, request: CurrentRequest, status: int, milliseconds: float, received: int, sent: int
) -> str:
    label, model, version = request.prediction or ("", "", 0)
    return (
        f"{local_time(int(time.time()))} INFO    {_client(scope)} {scope['method']} {_path(scope)} {status}"
        f" {milliseconds:.1f} ms, {received} bytes in, {sent} out"
        f"{f', {one_line(label)} ({model} {version})' if model else ''}"
        f"{text_ids(request.id, request.trace_id)}"
    )


def _json_line(
    scope: Scope, request: CurrentRequest, status: int, milliseconds: float, received: int, sent: int
) -> str:
    now = time.time()
    path = _path(scope)
    fields: dict[str, object] = {
        "time": utc_time(now),
        "level": "info",
        "logger": LOGGER,
        "process": os.getpid(),
        "message": f"{scope['method']} {path} {status}",
        "request_id": request.id,
        "client": _client(scope),
        "method": scope["method"],
        "path": path,
        "status": status,
        "milliseconds": round(milliseconds, 3),
        "bytes_in": received,
        "bytes_out": sent,
    }
    if request.trace_id:
        fields["trace_id"] = request.trace_id
    if request.prediction is not None:
        fields["label"], fields["model"], fields["version"] = request.prediction
    return json_line(fields)


def _client(scope: Scope) -> str:
    client = scope["client"]
    return f"{client[0]}:{client[1]}" if client else "-"


def _path(scope: Scope) -> str:
    """The path and the query as they were sent. Keys travel in headers, so that neither holds a secret."""
    sent: bytes = scope["raw_path"]
    if scope["query_string"]:
        sent = sent + b"?" + scope["query_string"]
    text = sent[:MAX_PATH].decode("latin-1")
    return text if text.isascii() and text.isprintable() else quote_from_bytes(sent[:MAX_PATH], PRINTABLE)[:MAX_PATH]
