"""How far a folder's pictures have been decoded: a bar on a terminal, a line now and then everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training.progress import can_draw
from training.say import Say

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def decoding_progress(pictures: int, say: Say | None) -> Iterator[Callable[[int], object]]:
    """What it gives is to be told how many more pictures are done. Without `say` nothing is shown."""
    console = Console()
    if say is None:
        yield lambda _done: None
    elif can_draw(console):
        columns = TextColumn("decoding"), MofNCompleteColumn(), BarColumn(bar_width=None), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("decoding", total=pictures)
            yield lambda done: progress.advance(task, done)
    else:
        yield _Lines(pictures, say).add


class _Lines:
    def __init__(self, pictures: int, say: Say) -> None:
        self._pictures, self._say = pictures, say
        self._done = 0
        self._told = time.monotonic()

    def add(self, done: int) -> None:
        self._done += done
        if time.monotonic() - self._told > SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._say(f"Decoded {self._done:,} of {self._pictures:,} pictures.")
