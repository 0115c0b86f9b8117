"""What a person sees of a training on a terminal."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.processes import REPOSITORY
from tests.training.runs import LOG_LINE, train_command
from training.interval import Interval
from training.loss_curve import curve
from training.panel import Panel

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_a_terminal(arguments: list[object], columns: int, term: str = "xterm-256color") -> str:
    """What the command writes to a terminal of that width, without colours and movements of the cursor."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment | {"TERM": term, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    written = b""
    while chunk := _read(ours):
        written += chunk
    os.close(ours)
    assert process.wait() == 0, written.decode()
    return CONTROL.sub("", written.decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that no one has the other end open any more
        return b""


def test_a_panel(tmp_path: Path, cifar10_dir: Path) -> None:
    shown = on_a_terminal(train_command(tmp_path / "run", cifar10_dir, 60, "--eval-every", 30), 120)
    assert not LOG_LINE.search(shown)
    last = " ".join(shown.split("╭")[-1].split())
    for part in ("60/60", "100%", "loss 4.", "moving average 4.", "learning rate 0.1", "ms/step"):
        assert part in last
    assert re.search(r"precision @ 1 \d+\.\d\d%", last)
    assert re.search(r"4\.\d\d [▁▂▃▄▅▆▇█]", last)
    assert "step 30: precision @ 1 = 0." in shown
    assert "Trained 60 steps; the last checkpoint is" in shown


@pytest.mark.parametrize("columns", [200, 80, 60, 50])
def test_the_panel_fits(columns: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=columns, height=24)
    with Panel(60_000, 0, "tutorial on cifar10, into a/long/path/to/a/run/" + "x" * 100, console) as panel:
        for step in range(0, 60_000, 100):
            losses = {"total_loss": 4.6 - step / 20_000}
            panel.report(Interval(step, losses, losses, 0.1, 12_345.6, 0.0123))
        panel.evaluated(0.8258)
        panel.finish(60_000)
    assert isinstance(console.file, io.StringIO)
    last = CONTROL.sub("", console.file.getvalue()).split("╭")[-1]
    assert max(map(len, ("╭" + last).splitlines())) == min(columns, 100)
    for part in ("60000/60000", "12,346", "82.58%", "4.60", "1.60"):
        assert part in last


def test_log_lines_where_a_terminal_can_draw_none(tmp_path: Path, cifar10_dir: Path) -> None:
    shown = on_a_terminal(train_command(tmp_path / "run", cifar10_dir, 20), 100, term="dumb")
    assert [match[1] for match in LOG_LINE.finditer(shown)] == ["0", "10"]
    assert "╭" not in shown


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 5, ["", ""]),
        ([3.0], 5, [" ", "▁"]),
        ([2.0, 2.0], 5, ["  ", "▁▁"]),
        ([0.0, 1.0], 5, [" █", "▁█"]),
        ([0.0, 0.0, 1.0, 1.0], 2, [" █", "▁█"]),
        ([float(value) for value in range(16)], 16, [" " * 8 + "▁▂▃▄▅▆▇█", "▁▂▃▄▅▆▇█" + "█" * 8]),
    ],
)
def test_the_curve(values: list[float], width: int, expected: list[str]) -> None:
    assert curve(values, width, height=2) == expected
