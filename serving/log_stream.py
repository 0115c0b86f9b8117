"""Standard error as the log's stream: nobody who reads it badly, or not at all, holds up who writes."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Callable

logger = logging.getLogger(__name__)

WriteLine = Callable[[str], None]

PIECE = 4096  # bytes: a pipe that can be written to takes so many in one piece, and at once (POSIX's PIPE_BUF)
# Answers wait so long for a reader that has fallen behind, once; then lines are lost until it has caught up.
PATIENCE = 0.1  # seconds


def line_writer() -> WriteLine:
    """What writes a line to standard error, whole and at once.

    Python's own stream would wait for ever for a reader that has stopped reading; it would keep what a closed pipe does
    not take, and end the process with status 120 for it.
    """
    if sys.stderr is None:  # closed before the start: its number may be a socket's by now
        return lambda _line: None
    descriptor = sys.stderr.fileno()
    lost = 0

    def write(line: str) -> None:
        nonlocal lost
        rest = f"{line}\n".encode(errors="backslashreplace")
        try:
            while rest:
                if not select.select((), (descriptor,), (), 0 if lost else PATIENCE)[1]:
                    lost += 1
                    return
                rest = rest[os.write(descriptor, rest[:PIECE]) :]
        except OSError:
            # A log that is gone or full is no reason not to answer, and there is nowhere to say so.
            return
        if lost:
            told, lost = lost, 0
            logger.warning("%d lines of the log before this one were lost: nobody read them in time.", told)

    return write
