"""How many bytes of requests' bodies the server holds at once, whoever sends them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive

from serving.batch_metrics import BatchMetrics
from serving.pipeline import QueueFull

# Bytes of a body that are not counted, since its connection takes as many: so those who send much turn nobody away who
# sends little.
MAX_UNCOUNTED = 65_536


class UploadMemory:
    """Used by one event loop."""

    def __init__(self, metrics: BatchMetrics, most: int) -> None:
        """`most`: bytes of all bodies together; one that is alone may be longer."""
        self._metrics, self._most = metrics, most
        self._held = 0

    @contextmanager
    def counted(self, receive: Receive) -> Iterator[Receive]:
        """Around a request's work, at whose end its body is let go: gives a `receive` that raises QueueFull."""
        size = counted = 0

        async def receive_counted() -> Message:
            nonlocal size, counted
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_UNCOUNTED:
                self._hold(size - counted, others=self._held - counted)
                counted = size
            return message

        try:
            yield receive_counted
        finally:
            self._let_go(counted)

    def _hold(self, more: int, others: int) -> None:
        if others and self._held + more > self._most:
            self._metrics.refused.inc()
            raise QueueFull(f"Uploads under way take {others} bytes already, of {self._most}; try again later.")
        self._held += more
        self._metrics.uploaded.set(self._held)

    def _let_go(self, counted: int) -> None:
        if counted:
            self._held -= counted
            self._metrics.uploaded.set(self._held)
