"""uvicorn's HTTP/1.1 with limits on what comes before a request's body: how long it may take, and how long it may be.

uvicorn itself waits for ever for the end of a request's head, and keeps all of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.current_request import new_request_id
from serving.departure import KEY, Departure
from serving.problems import problem_response

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES = 65_536  # request line and headers; browsers and proxies stay below 16 KB
OFFERS = (b"upgrade", b"connection", b"http2-settings")


class LimitedProtocol(HttpToolsProtocol):
    """One connection. While it waits for its client, one timer runs, unless a request waits for its body, which has a
    limit of its own:

    - for a head, from the connection's beginning or a later head's first byte on;
    - for the rest of a body whose request is answered already;
    - uvicorn's for keeping alive, between two requests.
    """

    def __init__(self, *, head_timeout: float, upload_timeout: float, **of_uvicorn: Any) -> None:
        """``head_timeout``: seconds in which a head must be complete. ``upload_timeout``: seconds that a client has for
        the rest of a body whose request is answered already, so that it gets to read the answer.
        """
        super().__init__(**of_uvicorn)
        self._head_timeout, self._upload_timeout = head_timeout, upload_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._in_head = True
        self._in_message = False
        self._body_seen = False  # in what was received last
        self._end_seen = False  # of a request, there
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_rest_timer()
        for cycle in self._unanswered:  # uvicorn tells the last only
            cycle.disconnected = True
            cycle.message_event.set()
            cycle.scope[KEY].happen()  # type: ignore[literal-required]
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._in_head, self._in_message, self._head_bytes = True, True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # nobody reads those behind a body (RFC 9110, section 6.5)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # the head is read again, without the offer
            return
        self.scope[KEY] = Departure()  # type: ignore[literal-required]
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        self._in_head = False
        self._stop_head_timer()

    def on_body(self, body: bytes) -> None:
        self._body_seen, self._head_bytes = True, 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_message, self._end_seen = False, True
        super().on_message_complete()
        # uvicorn has paused reading where the body's last part was a large one, and would not see its client leave.
        # Behind a request that waits for its turn it pauses too, and that pause stays.
        if not self.pipeline:
            self.flow.resume_reading()
        if self._rest_timer is not None:
            self._stop_rest_timer()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        self._unanswered.popleft()
        super().on_response_complete()
        if self._unanswered or not self._in_message or self.transport.is_closing():
            return
        # uvicorn takes the connection to be idle, but this request goes on, or the next has begun.
        self._unset_keepalive_if_required()
        if not self._in_head:
            self._rest_timer = self.loop.call_later(self._upload_timeout, self.transport.close)

    def data_received(self, data: bytes) -> None:
        self._body_seen = self._end_seen = False
        self._parse(data)
        if self.transport.is_closing() or not (self._in_head or (self._in_message and not self._body_seen)):
            return
        # Of the head, or between two chunks of the body, or behind the last.
        if not self._end_seen:  # else the request before was in it too
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            detail = f"The request's head is longer than the {MAX_HEAD_BYTES} bytes allowed."
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
        elif self._in_head and self._head_timer is None:
            self._start_head_timer()

    def _parse(self, unread: bytes) -> None:
        while unread and not self.transport.is_closing():
            try:
                self.parser.feed_data(unread)
                unread = b""
            except httptools.HttpParserUpgrade as offer:
                unread = self._without_offer() + unread[offer.args[0] :]
            except httptools.HttpParserError:
                self._refuse(HTTPStatus.BAD_REQUEST, "This is no request that HTTP/1.1 allows.")

    def _without_offer(self) -> bytes:
        """The head of a request that offers another protocol, without the offer (RFC 9110, section 7.8).

        The parser leaves out the body behind such a head. Java's clients offer HTTP/2 with every request.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(HTTPStatus.BAD_REQUEST, "This server is no proxy.")
        lines = [method + b" " + self.url + b" HTTP/1.1"]
        lines += [name + b": " + value for name, value in self.headers if name not in OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self._head_timeout, self._on_head_timeout)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_rest_timer(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self._in_message or self._head_bytes:
            detail = f"The request's head did not arrive within {self._head_timeout:g} seconds."
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail)
        else:  # a connection on which nobody asked anything
            self.transport.close()

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answers before there is a request; where one is being answered, or was before its end, only closes."""
        if self._unanswered or (self._in_message and not self._in_head):
            self.transport.close()
            return
        request_id = new_request_id()
        client = ":".join(map(str, self.client or "-"))
        logger.info("%s %d %s", client, status.value, detail, extra={"request_id": request_id})
        answer = problem_response(status, detail, headers={"Connection": "close", "X-Request-ID": request_id})
        head: list[Any] = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        head += [name + b": " + value for name, value in answer.raw_headers]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(answer.body))
        self.transport.close()
