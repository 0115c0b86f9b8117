"""Threads that decode pictures, and how long the next one would wait for its turn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

RECENT = 8  # pictures, of which the mean time is that of the next

T = TypeVar("T")


class Decoders:
    """Used by one event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decoding")
        self._under_way = 0
        self._noting = threading.Lock()
        self._seconds = 0.0  # that a picture has taken lately

    def close(self) -> None:
        """Waits for what is being decoded; the rest is cancelled."""
        self._pool.shutdown(cancel_futures=True)

    @property
    def wait(self) -> float:
        """Seconds until those that have been let in are decoded, if they take as long as the last ones took."""
        return self._under_way * self._seconds / self._threads

    async def decode(self, function: Callable[..., T], *arguments: object) -> T:
        """What the function returns for a picture, timed; a picture that nobody waits for any longer is not begun."""
        self._under_way += 1
        try:
            return await self.apart(self._timed, function, *arguments)
        finally:
            self._under_way -= 1

    def apart(self, function: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """On one of the threads, for what would keep the event loop from everybody else's requests."""
        return asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)

    def _timed(self, function: Callable[..., T], *arguments: object) -> T:
        began = time.monotonic()
        try:
            return function(*arguments)
        finally:  # also of a picture that is broken
            self._note(time.monotonic() - began)

    def _note(self, seconds: float) -> None:
        with self._noting:
            self._seconds += (seconds - self._seconds) / RECENT if self._seconds else seconds
