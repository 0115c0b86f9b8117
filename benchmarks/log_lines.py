"""The tutorial's log line: the peers write it, and every benchmark takes its times from it.

`2026-11-22 18:40:36.645593: step 10, loss = 4.64 (1829.2 examples/sec; 0.070 sec/batch)`

Needs Python alone, since TensorFlow's environment has no PyTorch.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

EVERY = 10  # steps, as in the tutorial

_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}): step (\d+), loss = \S+ \(", re.MULTILINE)


class LogLines:
    """Prints a line for step 0, 10, 20, …; its speed is that since the line before it."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._step, self._time = -1, time.perf_counter()

    def print(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        sec_per_batch = (now - self._time) / (step - self._step)
        self._step, self._time = step, now
        print(
            f"{datetime.now().isoformat(' ', 'microseconds')}: step {step}, loss = {loss:.2f} "
            f"({self._batch_size / sec_per_batch:.1f} examples/sec; {sec_per_batch:.3f} sec/batch)",
            flush=True,
        )


class Interval(NamedTuple):
    """What lies between two log lines."""

    steps: int
    seconds: float


def intervals(output: str, warm_up: int) -> list[Interval]:
    """The intervals between the log lines in `output` that begin at step `warm_up` or later.

    The times are those at which the lines were written, which have microseconds; the printed sec/batch has only three
    decimals.
    """
    lines = [(int(match[2]), datetime.fromisoformat(match[1])) for match in _LINE.finditer(output)]
    measured = [line for line in lines if line[0] >= warm_up]
    return [
        Interval(step - earlier_step, (now - earlier).total_seconds())
        for (earlier_step, earlier), (step, now) in pairwise(measured)
    ]
