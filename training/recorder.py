"""What a run writes down about itself while it trains: TensorBoard's files and metrics.jsonl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.interval import Interval
from training.metrics_log import MetricsLog, Record, measured
from training.observation import Observation
from training.summaries import TrainingSummaries


class Recorder:
    """Every method, the constructor too, raises UserError where the run's directory cannot be written to."""

    def __init__(self, run_dir: Path | None, first_step: int, summaries: str, session: dict[str, Any]) -> None:
        """`summaries` is "off", "scalars" or "full"; `session` is what metrics.jsonl is to say of this process.

        Without a directory nothing is written: of several ranks, one writes.
        """
        self._metrics = MetricsLog(run_dir) if run_dir else None
        self._summaries = TrainingSummaries(run_dir, first_step) if run_dir and summaries != "off" else None
        self._unwritten: list[Record] = []
        before = self._metrics.start(first_step, session) if self._metrics else []
        accuracies = (record["precision_at_1"] for record in reversed(before) if record["kind"] == "eval")
        self.last_accuracy: float | None = next(accuracies, None)
        """Precision @ 1 as it was last measured by a process that this one goes on from, if it was."""

    def add(self, interval: Interval) -> None:
        """For metrics.jsonl; nothing is written yet."""
        if self._metrics:
            self._unwritten.append(measured("train", interval.step, _values(interval)))

    def summarize(self, interval: Interval, observation: Observation | None) -> None:
        """For TensorBoard; writes, and what has been added as well."""
        if self._summaries:
            self._summaries.write(interval, observation)
        self.flush()

    def ended(self, step: int, updates: int, seconds: float) -> None:
        """For metrics.jsonl: the last update is done, and saved; nothing is written yet."""
        if self._metrics:
            self._unwritten.append(measured("end", step, {"updates": updates, "seconds": round(seconds, 3)}))

    def flush(self) -> None:
        """What has been added can be read from here on."""
        unwritten, self._unwritten = self._unwritten, []
        if self._metrics:
            self._metrics.append(unwritten)

    def sync(self) -> None:
        """Lasts: what has been added survives a loss of power from here on."""
        self.flush()
        if self._metrics:
            self._metrics.sync()
        if self._summaries:
            self._summaries.sync()

    def close(self) -> None:
        self.flush()
        if self._summaries:
            self._summaries.close()


def _values(interval: Interval) -> Record:
    return {
        "losses": {name: _rounded(loss) for name, loss in interval.losses.items()},
        "averaged_losses": {name: _rounded(loss) for name, loss in interval.averaged_losses.items()},
        "learning_rate": _rounded(interval.learning_rate),
        "examples_per_sec": round(interval.examples_per_sec, 1),
    }


def _rounded(value: float) -> float:
    """To the seven digits that a float32 has."""
    return float(f"{value:.7g}")
