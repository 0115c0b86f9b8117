"""What onnxruntime alone computes: the limit of any server on this machine, with the session that ours has."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks import machine
from benchmarks.serving_peers import MODEL
from benchmarks.spread import spread
from serving.bundle import Threads, read_bundle
from serving.providers import choose_provider

BATCHES = (1, 8, 32)  # pictures
SECONDS = 1.0  # for each


class Ceiling:
    """Measured a round at a time, as the servers are."""

    def __init__(self) -> None:
        provider, _ = choose_provider()
        self.provider = provider.name
        self._bundle = read_bundle(MODEL, provider, Threads(batch=machine.cores(), lone=1))
        self.rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}

    def measure(self) -> None:
        for batch, rates in self.rates.items():
            rates.append(self._pictures_a_second(batch))

    def _pictures_a_second(self, batch: int) -> float:
        shape = (batch, self._bundle.height, self._bundle.width, 3)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        self._bundle.session.run(None, {"images": images})
        runs, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < SECONDS:
            self._bundle.session.run(None, {"images": images})
            runs += 1
        return runs * batch / spent


def table(ceiling: Mapping[int, Sequence[float]], ours: Mapping[str, Sequence[float]]) -> str:
    """Markdown. Pictures a second, a list over rounds; shares are of the best batch, within a round."""
    rows = ["| | pictures/s, median (min to max) | of onnxruntime's best |", "|---|---|---|"]
    best = [max(rates) for rates in zip(*ceiling.values(), strict=True)]
    named = {f"onnxruntime alone, batches of {batch}": rates for batch, rates in ceiling.items()} | dict(ours)
    for name, rates in named.items():
        shares = [rate / limit for rate, limit in zip(rates, best, strict=True)]
        rows.append(f"| {name} | {spread(rates, ',.0f')} | {spread(shares, '.0%')} |")
    return "\n".join(rows)
