"""A training on a terminal: one live panel, above which sentences scroll by."""

from __future__ import annotations

import time
from typing import Self

from rich import box, panel
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from training.interval import Interval
from training.loss_curve import curve

SECONDS_BETWEEN_DRAWINGS = 0.25  # drawn by the training itself, not by a thread that would take turns with it
CURVE_LINES = 5
WIDEST = 100  # characters


class Panel:
    """Step, time left, speed, losses, learning rate, last accuracy, and the loss so far as a curve."""

    def __init__(self, total: int, first_step: int, title: str, console: Console) -> None:
        self._title = title
        self._newest: Interval | None = None
        self._accuracy = ""
        self._losses: list[float] = []
        self._drawn = 0.0
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            expand=True,
            speed_estimate_period=120,
        )
        self._task = self._progress.add_task("train", total=total, completed=first_step)
        self._live = Live(self, console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()  # draws once more

    def report(self, interval: Interval) -> None:
        self._newest = interval
        self._losses.append(interval.averaged_losses["total_loss"])
        self._progress.update(self._task, completed=interval.step + 1)
        if time.monotonic() - self._drawn > SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def evaluated(self, precision: float | None) -> None:
        """`precision` is the newest, None before the first."""
        self._accuracy = "not evaluated yet" if precision is None else f"{precision:.2%}"
        self._draw()

    def say(self, sentence: str) -> None:
        self._live.console.print(sentence, markup=False)

    def finish(self, steps: int) -> None:
        self._progress.update(self._task, completed=steps)

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.refresh()

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, WIDEST)
        content = Table.grid(expand=True)
        content.add_row(self._progress)
        content.add_row(self._figures(columns=3 if width >= 76 else 2))
        content.add_row(self._curve(width - 4))
        title = Text(self._title)
        title.truncate(width - 6, overflow="ellipsis")  # a longer one would widen the panel
        yield panel.Panel(content, title=title, box=box.ROUNDED, width=width)

    def _figures(self, columns: int) -> Table:
        newest = self._newest
        shown = {
            "loss": f"{newest.losses['total_loss']:.3f}" if newest else "",
            "moving average": f"{newest.averaged_losses['total_loss']:.3f}" if newest else "",
            "learning rate": f"{newest.learning_rate:g}" if newest else "",
            "pictures/s": f"{newest.examples_per_sec:,.0f}" if newest else "",
            "ms/step": f"{newest.sec_per_batch * 1000:,.1f}" if newest else "",
            "precision @ 1": self._accuracy,
        }
        table = Table.grid(expand=True, padding=(0, 1))
        for _ in range(columns):
            table.add_column(ratio=1)
        cells = [Text.assemble((f"{name}  ", "dim"), (value, "bold")) for name, value in shown.items()]
        for first in range(0, len(cells), columns):
            table.add_row(*cells[first : first + columns])
        return table

    def _curve(self, width: int) -> Table:
        """The moving average of the loss, with its greatest and least value beside it."""
        labels = [f"{limit:.2f}" for limit in (max(self._losses, default=0), min(self._losses, default=0))]
        margin = max(map(len, labels))
        lines = curve(self._losses, width - margin - 1, CURVE_LINES)
        table = Table.grid(padding=(0, 1))
        table.add_column(width=margin, justify="right", style="dim")
        table.add_column(no_wrap=True, style="cyan")
        for row, line in enumerate(lines):
            label = labels[0] if row == 0 else labels[1] if row == CURVE_LINES - 1 else ""
            table.add_row(label if self._losses else "", line)
        return table
