"""How many pixels are decoded at one time, by all threads together: what bounds the memory of decoding."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

SMALL_PIXELS = 1_000_000  # need not ask: a few megabytes for each thread


class PixelBudget:
    """Lets large pictures in while there is room for them, in the order in which they came."""

    def __init__(self) -> None:
        self._taken = 0
        self._given_back = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def room_for(self, pixels: int, most: int) -> Iterator[None]:
        """Waits until all that are inside, with these pixels, have no more than ``most``. One alone always gets in."""
        if pixels <= SMALL_PIXELS:
            yield
            return
        with self._turn, self._given_back:
            self._given_back.wait_for(lambda: self._taken == 0 or self._taken + pixels <= most)
            self._taken += pixels
        try:
            yield
        finally:
            with self._given_back:
                self._taken -= pixels
                self._given_back.notify()
