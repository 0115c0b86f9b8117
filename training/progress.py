"""What a person sees of a training: one live bar on a terminal, the tutorial's log lines everywhere else."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Interval(NamedTuple):
    """The newest step, and the speed since the report before it."""

    step: int
    loss: float
    examples_per_sec: float
    sec_per_batch: float


class Reporter(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def report(self, interval: Interval) -> None: ...
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
        step, loss, examples_per_sec, sec_per_batch = interval
        self.say(
            f"{datetime.now()}: step {step}, loss = {loss:.2f} "
            f"({examples_per_sec:.1f} examples/sec; {sec_per_batch:.3f} sec/batch)"
        )

    def say(self, sentence: str) -> None:
        print(sentence, flush=True)

    def finish(self, steps: int) -> None:
        """The tutorial has no line for it."""


class Bar:
    """A bar with steps, rate, loss and the time that is left; sentences scroll by above it."""

    def __init__(self, total: int, first_step: int) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(highlight=False, soft_wrap=True),
        )
        self._task = self._progress.add_task("train", total=total, completed=first_step, state="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def report(self, interval: Interval) -> None:
        state = f"loss {interval.loss:.2f}, {interval.examples_per_sec:,.0f} pictures/s"
        self._progress.update(self._task, completed=interval.step + 1, state=state)

    def say(self, sentence: str) -> None:
        self._progress.console.print(sentence, markup=False)

    def finish(self, steps: int) -> None:
        self._progress.update(self._task, completed=steps)


def reporter(total: int, first_step: int, *, silent: bool = False) -> Reporter:
    """For a run of `total` updates that begins at `first_step`."""
    if silent:
        return Silence()
    return Bar(total, first_step) if sys.stdout.isatty() else LogLines()


class Stopwatch:
    """The speed between two log lines, checkpoints and evaluations included, as the tutorial counts it."""

    def __init__(self, batch_size: int, first_step: int) -> None:
        self._batch_size = batch_size
        self._step, self._time = first_step - 1, time.perf_counter()

    def lap(self, step: int, loss: float) -> Interval:
        now = time.perf_counter()
        sec_per_batch = (now - self._time) / (step - self._step)
        self._step, self._time = step, now
        return Interval(step, loss, self._batch_size / sec_per_batch, sec_per_batch)
