"""One training as a process of its own, and the time of its steps as its log lines tell it."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import log_lines
from benchmarks.log_lines import Interval
from training.errors import UserError

REPOSITORY = Path(__file__).resolve().parent.parent
TRAINING = ("-m", "training", "train", "--no-report")  # what Python is told; the report comes after all that is timed


def seconds_per_step(command: Sequence[str], warm_up: int, variables: Mapping[str, str] | None = None) -> float:
    """The median over the intervals between log lines; arguments and errors as for `intervals`."""
    measured = intervals(command, warm_up, variables)
    return statistics.median(interval.seconds / interval.steps for interval in measured)


def intervals(command: Sequence[str], warm_up: int, variables: Mapping[str, str] | None = None) -> list[Interval]:
    """Those between log lines, without those that begin before step `warm_up`; one at least.

    `variables` and errors as for `output`; too few lines are a UserError too.
    """
    measured = log_lines.intervals(output(command, variables), warm_up)
    if not measured:
        raise UserError(f"{shlex.join(command)} printed too few log lines from step {warm_up} on; give more --steps.")
    return measured


def output(command: Sequence[str], variables: Mapping[str, str] | None = None) -> str:
    """What the command prints, once it has ended. Raises UserError if it fails.

    `variables` are added to the environment.
    """
    finished = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | dict(variables or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if finished.returncode:
        print(finished.stderr.strip(), file=sys.stderr)
        raise UserError(f"{shlex.join(command)} ended with status {finished.returncode}; what it said is above.")
    return finished.stdout
