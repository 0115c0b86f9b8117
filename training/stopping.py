"""Being asked to stop: SIGTERM and Ctrl-C end the loop between two updates, not the process in the middle of one.

A launcher asks too: as soon as one rank has failed it sends SIGTERM to all others, also to the one that is about to say
what is wrong.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self


class StopRequest:
    """While it is open, `signal` is None until SIGTERM or SIGINT arrives, then that signal's number.

    A second signal is handled as though this class did not exist: who asks twice wants out at once. With `repeated`,
    under a launcher, it is not, nor is any after an error, which is then still to be told.
    """

    _SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, *, repeated: bool = False) -> None:
        self.signal: int | None = None
        self._repeated = repeated

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in self._SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not self._repeated:
            self._restore()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        if not self._repeated:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def outlast_other_ranks() -> None:
    """For a rank that knows what is wrong, before any other can end of it: lets it say so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
