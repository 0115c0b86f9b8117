"""What a person sees of a training: a live panel on a terminal, the tutorial's log lines everywhere else."""

from __future__ import annotations

import sys
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console

from training.interval import Interval
from training.panel import Panel


class Reporter(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def report(self, interval: Interval) -> None: ...
    def evaluated(self, precision: float | None) -> None: ...
    def say(self, sentence: str) -> None: ...
    def finish(self, steps: int) -> None: ...


class Silence:
    """What a person sees of the ranks that are not rank 0."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def report(self, interval: Interval) -> None:
        pass

    def evaluated(self, precision: float | None) -> None:
        pass

    def say(self, sentence: str) -> None:
        pass

    def finish(self, steps: int) -> None:
        pass


class LogLines:
    """`2026-11-22 18:40:36.645593: step 10, loss = 4.64 (1829.2 examples/sec; 0.070 sec/batch)`"""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def report(self, interval: Interval) -> None:
        self.say(
            f"{datetime.now()}: step {interval.step}, loss = {interval.losses['total_loss']:.2f} "
            f"({interval.examples_per_sec:.1f} examples/sec; {interval.sec_per_batch:.3f} sec/batch)"
        )

    def evaluated(self, precision: float | None) -> None:
        """The sentence that is said tells it."""

    def say(self, sentence: str) -> None:
        print(sentence, flush=True)

    def finish(self, steps: int) -> None:
        """The tutorial has no line for it."""


def reporter(total: int, first_step: int, title: str, *, silent: bool = False) -> Reporter:
    """For a run of `total` updates that begins at `first_step`; the panel is headed by `title`."""
    if silent:
        return Silence()
    console = Console(highlight=False, soft_wrap=True)
    return Panel(total, first_step, title, console) if can_draw(console) else LogLines()


def can_draw(console: Console) -> bool:
    """Whether panels and bars can be drawn there, and over each other."""
    # Not console.is_terminal, which is true of a file where FORCE_COLOR is set.
    return sys.stdout.isatty() and not console.is_dumb_terminal and console.encoding.startswith("utf")
