"""Clients that go away before they are answered: the work for them ends at once.

Without that, who gives up and asks again makes a server that is late later still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Scope

KEY = "serving.departure"  # of a request's scope, where `LimitedProtocol` puts one


class Interrupted(Exception):
    """The server stops and cannot wait for the request any longer; the text is one sentence."""


class Departure:
    """Of the client of one request."""

    __slots__ = ("has_happened", "work")

    def __init__(self) -> None:
        self.has_happened = False
        self.work: asyncio.Task[object] | None = None
        """What is cancelled when it happens."""

    def happen(self) -> None:
        """Tell that the connection is lost."""
        self.has_happened = True
        if self.work is not None:
            self.work.cancel()


@contextmanager
def while_awaited(scope: Scope) -> Iterator[None]:
    """Around the work for a request, whose task is cancelled where nobody waits for the answer any longer.

    Raises ClientDisconnect where the client has gone away, Interrupted where the server stops.
    """
    departure: Departure = scope.get(KEY) or Departure()
    if departure.has_happened:
        raise ClientDisconnect
    departure.work = asyncio.current_task()
    try:
        yield
    except asyncio.CancelledError:
        if departure.has_happened:
            raise ClientDisconnect from None
        # Only uvicorn cancels else, when the time for a graceful stop is over.
        raise Interrupted("The server stopped before this request was complete.") from None
    finally:
        departure.work = None
