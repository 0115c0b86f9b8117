"""What is known of the request that is being handled, wherever in its task it is asked for."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass

# What other servers send: UUIDs, ULIDs, ids with slashes and equals signs (Amazon's); nothing that a log line, a shell
# or a page could take for something else.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")
# W3C Trace Context, section 3.2: version, trace id, parent id, flags; later versions may have more behind them.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


@dataclass(slots=True, eq=False)
class CurrentRequest:
    id: str
    trace_id: str = ""
    """32 hexadecimal digits; empty where nobody traces."""
    prediction: tuple[str, str, int] | None = None
    """Label, model and version, where it was answered with one prediction."""
    stages: list[tuple[str, float, float]] | None = None
    """What it goes through: names with the times of beginning and end; None where nobody traces it."""


_current: ContextVar[CurrentRequest | None] = ContextVar("current_request", default=None)


def current_request() -> CurrentRequest | None:
    """The request of this task, or None outside of any."""
    return _current.get()


def current_request_id() -> str:
    """Its id; empty outside of any."""
    request = _current.get()
    return "" if request is None else request.id


def note_prediction(label: str, model: str, version: int) -> None:
    """Have the request's line in the log say what it was answered with."""
    request = _current.get()
    if request is not None:
        request.prediction = (label, model, version)


def note_stage(name: str, began: float, ended: float) -> None:
    """Have the request's trace show one of its stages, which may overlap others; times are of time.monotonic()."""
    request = _current.get()
    if request is not None and request.stages is not None:
        request.stages.append((name, began, ended))


def begin_request(headers: list[tuple[bytes, bytes]]) -> CurrentRequest:
    """Begin a request with these headers, for the task that this is called in.

    It keeps the id that the client or a proxy gave it in X-Request-ID, unless that is no sane one.
    """
    request_id = trace_id = ""
    for name, value in headers:
        if name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"traceparent":
            found = TRACEPARENT.fullmatch(value.decode("latin-1"))
            trace_id = found[1] if found else ""
    if not request_id or not REQUEST_ID.fullmatch(request_id):
        request_id = new_request_id()
    request = CurrentRequest(request_id, trace_id)
    _current.set(request)
    return request


def new_request_id() -> str:
    """128 random bits in hexadecimal, as a UUID has."""
    return os.urandom(16).hex()
