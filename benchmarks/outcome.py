"""What a whole training comes to: how much its network recognizes, and how long that took."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from training.metrics_log import MetricsLog


class Outcome(NamedTuple):
    """Times in seconds."""

    accuracy: float
    """Precision @ 1 on the test split, as the recipe looks at pictures in the end: with its test-time views."""
    training: float
    """After start-up, until the last update is done; checkpoints and evaluations left out."""
    evaluation: float
    """The one after the last update."""
    process: float
    """From the start of the process to its end: start-up, checkpoints and everything else included."""

    def sentence(self) -> str:
        if math.isnan(self.accuracy):
            return "diverged"
        return (
            f"{100 * self.accuracy:.2f} %, {self.training:.2f} s of training and {self.evaluation:.2f} s of evaluation "
            f"in {self.process:.1f} s"
        )


DIVERGED = Outcome(math.nan, math.nan, math.nan, math.nan)


def of_run(run_dir: Path, process: float) -> Outcome:
    """Of a run of `python -m training train` that has ended, after `process` seconds, and was never resumed."""
    records = MetricsLog(run_dir).read()
    (end,) = (record for record in records if record["kind"] == "end")
    evaluated = records[-1]
    evaluation = (_time(evaluated) - _time(end)).total_seconds()
    return Outcome(evaluated["precision_at_1"], end["seconds"], evaluation, process)


def _time(record: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(record["time"])
