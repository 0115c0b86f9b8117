"""uvicorn's HTTP/1.1 with limits on what comes before a request's body: how long it may take, and how long it may be.

uvicorn itself waits for ever for the end of a request's head, and keeps all of it.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.problems import problem_response

MAX_HEAD_BYTES = 65_536  # request line and headers; browsers and proxies stay below 16 KB


def limited_protocol(head_timeout: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which closes connections whose request's head isn't complete after so many seconds."""

    class LimitedProtocol(HttpToolsProtocol):
        _in_head = True
        _head_bytes = 0
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._head_timer = self.loop.call_later(head_timeout, self._on_head_timeout)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head, self._head_bytes = True, 0

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._stop_timer()
            super().on_headers_complete()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if not self._in_head or self.transport.is_closing():
                return
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                detail = f"The request's head is longer than the {MAX_HEAD_BYTES} bytes allowed."
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
            elif self._head_timer is None:
                self._head_timer = self.loop.call_later(head_timeout, self._on_head_timeout)

        def _on_head_timeout(self) -> None:
            self._head_timer = None
            if self._head_bytes:
                detail = f"The request's head did not arrive within {head_timeout:g} seconds."
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail)
            else:  # a connection on which nobody asked anything
                self.transport.close()

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _refuse(self, status: HTTPStatus, detail: str) -> None:
            """Answers before there is a request, as `send_400_response` does."""
            answer = problem_response(status, detail, headers={"Connection": "close"})
            head: list[Any] = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
            head += [name + b": " + value for name, value in answer.raw_headers]
            self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(answer.body))
            self.transport.close()

    return LimitedProtocol
