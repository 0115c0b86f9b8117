"""Trainings beside each other: a Markdown table of their outcomes over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.outcome import Outcome
from benchmarks.spread import spread

HEAD = (
    "precision @ 1, %, mean ± standard error",
    "standard deviation",
    "points above {baseline}, ± standard error",
    "training, s, median (min to max)",
    "of {baseline}'s time, median (min to max)",
    "evaluation, s",
    "process, s",
)


def table(outcomes: Mapping[str, Sequence[Outcome]], baseline: str, heading: str) -> str:
    """`outcomes` by the names of their rows, in the same order of seeds everywhere; they are compared with `baseline`,
    a row whose name up to the first comma the head of the table names.

    Accuracies are compared as independent samples, for one seed means other weights in each; times within a round. A
    training that diverged counts nowhere but in "diverged".
    """
    columns = [heading, *(column.format(baseline=baseline.split(",")[0]) for column in HEAD)]
    rows = [_row(columns), "|" + "---|" * len(columns)]
    for name, found in outcomes.items():
        compared = outcomes.get(baseline, []) if name != baseline else []
        rows.append(_row([name, *_accuracies(found, compared), *_times(found, compared)]))
    return "\n".join(rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _accuracies(found: Sequence[Outcome], compared: Sequence[Outcome]) -> list[str]:
    percents, others = _percents(found), _percents(compared)
    diverged = len(found) - len(percents)
    cells = [_with_error(statistics.mean(percents), _error(percents), ".2f")] if percents else []
    cells += [f"diverged, {diverged} of {len(found)}"] if diverged else []
    deviation = f"{statistics.stdev(percents):.2f}" if len(percents) > 1 else ""
    above = ""
    if percents and others:
        difference = statistics.mean(percents) - statistics.mean(others)
        above = _with_error(difference, math.hypot(_error(percents), _error(others)), "+.2f")
    return [", ".join(cells), deviation, above]


def _times(found: Sequence[Outcome], compared: Sequence[Outcome]) -> list[str]:
    ratios = [one.training / other.training for one, other in zip(found, compared, strict=True)] if compared else []
    return [
        _spread([outcome.training for outcome in found]),
        _spread(ratios),
        _median([outcome.evaluation for outcome in found]),
        _median([outcome.process for outcome in found]),
    ]


def _percents(outcomes: Sequence[Outcome]) -> list[float]:
    return _finite([100 * outcome.accuracy for outcome in outcomes])


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _error(values: Sequence[float]) -> float:
    """The standard error of their mean; not a number for a single one."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def _with_error(value: float, error: float, digits: str) -> str:
    return f"{value:{digits}} ± {error:.2f}" if math.isfinite(error) else f"{value:{digits}}"


def _spread(values: Sequence[float]) -> str:
    finite = _finite(values)
    return spread(finite, ".2f") if finite else ""


def _median(values: Sequence[float]) -> str:
    finite = _finite(values)
    return f"{statistics.median(finite):.1f}" if finite else ""
