"""The tables of the servers' comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.serving_load import Load
from benchmarks.spread import spread

Loads = Mapping[str, Mapping[int, Sequence[Load]]]  # name of a row -> connections -> rounds


def rates(loads: Loads, connections: Sequence[int], baseline: str) -> str:
    """Markdown: answers a second, and the baseline's (ours) in the same round divided by them."""
    head = "".join(f" answers/s at {count} |" for count in connections)
    times = "".join(f" ours ÷ it at {count} |" for count in connections)
    rows = [f"| server |{head}{times}", "|---|" + "---|" * (2 * len(connections))]
    for name, measured in loads.items():
        found = [f" {spread(_rates(measured[count]), ',.0f')} |" for count in connections]
        for count in connections:
            ours = _rates(loads[baseline][count]) if baseline in loads else []
            ratios = [one / other for one, other in zip(ours, _rates(measured[count]), strict=True)] if ours else []
            found.append(f" {spread(ratios, '.2f')} |")
        rows.append(f"| {name} |{''.join(found)}")
    return "\n".join(rows)


def latencies(loads: Loads, connections: Sequence[int]) -> str:
    """Markdown: median and 99th percentile in milliseconds, each with the rounds' median, least and greatest."""
    head = "".join(f" p50 at {count}, ms | p99 at {count}, ms |" for count in connections)
    rows = [f"| server |{head}", "|---|" + "---|" * (2 * len(connections))]
    for name, measured in loads.items():
        cells = [
            f" {spread([load.p50 for load in measured[count]], '.1f')} |"
            f" {spread([load.p99 for load in measured[count]], '.1f')} |"
            for count in connections
        ]
        rows.append(f"| {name} |{''.join(cells)}")
    return "\n".join(rows)


def failures(loads: Loads) -> list[str]:
    """A line for each row some of whose requests were refused or not answered."""
    lines = []
    for name, measured in loads.items():
        every = [load for rounds in measured.values() for load in rounds]
        refused, unanswered = sum(load.refused for load in every), sum(load.unanswered for load in every)
        if refused or unanswered:
            lines.append(f"- {name}: {refused} answers with an error's status, {unanswered} requests not answered")
    return lines


def _rates(rounds: Sequence[Load]) -> list[float]:
    return [load.rate for load in rounds]
