"""What metrics.jsonl tells of a run, as curves and sums. (No PyTorch: a comparison starts quickly.)"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics_log import MetricsLog

Record = dict[str, Any]
Values = NDArray[np.float64]

POINTS = 500  # of a drawn curve; more cannot be told apart


@dataclass(frozen=True)
class History:
    """Records of one run, oldest first. Any of them may be missing."""

    starts: tuple[Record, ...]
    trained: tuple[Record, ...]
    evaluated: tuple[Record, ...]
    """One a step, the newest where a step was evaluated several times."""
    ended: Record | None
    """Of the process that did the last update."""

    @staticmethod
    def read(run_dir: Path) -> History:
        """Raises UserError where the file can't be read; a run that wrote none has an empty history."""
        records = MetricsLog(run_dir).read()
        by_kind = {
            kind: [each for each in records if each["kind"] == kind] for kind in ("start", "train", "eval", "end")
        }
        evaluated = {record["step"]: record for record in by_kind["eval"]}
        return History(
            starts=tuple(by_kind["start"]),
            trained=tuple(by_kind["train"]),
            evaluated=tuple(evaluated[step] for step in sorted(evaluated)),
            ended=by_kind["end"][-1] if by_kind["end"] else None,
        )

    def steps(self) -> Values:
        """float64 [R]: updates done when each "train" record was written."""
        return np.array([record["step"] + 1 for record in self.trained], np.float64)

    def updates_done(self) -> int:
        """As far as it tells; 0 where it tells nothing."""
        trained = [record["step"] + 1 for record in self.trained]
        others: list[int] = [record["step"] for record in (*self.starts, *self.evaluated)]
        return max([*trained, *others], default=0)

    def values(self, *keys: str) -> Values:
        """float64 [R]: what each "train" record holds under the keys, one inside the other; NaN where it has none."""
        return np.array([_value(record, keys) for record in self.trained], np.float64)

    def seconds(self, batch_size: int) -> Values:
        """float64 [R]: time spent training up to each "train" record, as its speed and those before it tell.

        Waiting between two sessions is not in it.
        """
        first = self.starts[0]["step"] if self.starts else 0
        updates = np.diff(self.steps(), prepend=float(first))
        spent: Values = np.cumsum(updates * batch_size / self.values("examples_per_sec"))
        return spent

    def seconds_in_all(self, batch_size: int) -> float | None:
        """Time spent training: as it was measured where one process did all updates, else as the speeds tell."""
        if self.ended and self.ended.get("updates") == self.ended["step"]:
            return float(self.ended["seconds"])
        spent = self.seconds(batch_size)
        return float(spent[-1]) if len(spent) and np.isfinite(spent[-1]) else None

    def median_speed(self) -> float | None:
        """Pictures a second."""
        speeds = self.values("examples_per_sec")
        return median(speeds[np.isfinite(speeds)].tolist()) if np.isfinite(speeds).any() else None

    def learning_rates(self) -> list[tuple[int, float]]:
        """(updates done, rate) of the first "train" record, and of those whose rate is not that of the one before."""
        told = [(record["step"], record.get("learning_rate")) for record in self.trained]
        known = [(step, float(rate)) for step, rate in told if rate is not None]
        return known[:1] + [after for before, after in pairwise(known) if after[1] != before[1]]

    def last_time(self) -> str | None:
        """When it was last trained, ISO 8601."""
        records = (*self.starts, *self.trained, *([self.ended] if self.ended else []))
        times = [record["time"] for record in records if "time" in record]
        return max(times, default=None)


def thinned(values: Values) -> Values:
    """At most `POINTS` numbers: the means of as many stretches of equal length."""
    if len(values) <= POINTS:
        return values
    return np.array([part.mean() for part in np.array_split(values, POINTS)])


def _value(record: Record, keys: tuple[str, ...]) -> float:
    found: Any = record
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return float("nan") if found is None else float(found)
