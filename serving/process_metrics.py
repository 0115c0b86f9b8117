"""What Prometheus is told of the server's processes: of several workers and their supervisor, all together."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

# Of these the sum says nothing: the oldest process, the lowest limit.
LEAST = ("process_start_time_seconds", "process_max_fds")


class ServerProcessCollector(Collector):
    """prometheus_client's process metrics for this process's parent and all of its children, added up.

    Whoever is scraped tells the same. Processor seconds fall where one has died, which Prometheus takes for a restart.
    """

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        supervisor = os.getppid()
        found: dict[str, Metric] = {}
        for process in (supervisor, *_children(supervisor)):
            for metric in ProcessCollector(pid=partial(int, process), registry=None).collect():
                if metric.name not in found:
                    found[metric.name] = metric
                    continue
                combine = min if metric.name in LEAST else sum
                (one,), (other,) = found[metric.name].samples, metric.samples
                found[metric.name].samples = [one._replace(value=combine((one.value, other.value)))]
        return found.values()


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
