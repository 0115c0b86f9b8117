"""What is told of a training between two log lines: to people, to TensorBoard and to metrics.jsonl alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch


@dataclass(frozen=True)
class Interval:
    """The newest step, and the speed since the interval before it."""

    step: int
    """The update's number, counted as the tutorial counts: the first is 0."""
    losses: dict[str, float]
    """Before the update, by the names that `loss_names` lists."""
    averaged_losses: dict[str, float]
    """Their moving averages."""
    learning_rate: float
    """Of the update."""
    examples_per_sec: float
    sec_per_batch: float


class Speed(NamedTuple):
    examples_per_sec: float
    sec_per_batch: float


class Stopwatch:
    """The speed between two log lines, checkpoints and evaluations included, as the tutorial counts it."""

    def __init__(self, batch_size: int, first_step: int) -> None:
        self._batch_size = batch_size
        self._step, self._time = first_step - 1, time.perf_counter()

    def lap(self, step: int) -> Speed:
        now = time.perf_counter()
        sec_per_batch = (now - self._time) / (step - self._step)
        self._step, self._time = step, now
        return Speed(self._batch_size / sec_per_batch, sec_per_batch)


class TrainingTime:
    """What a process spends on updates, checkpoints and evaluations left out."""

    def __init__(self, device: torch.device) -> None:
        """The time begins, once the device has done what it was told to."""
        self._device = device
        self._earlier, self._since = 0.0, self._now()

    def seconds(self) -> float:
        """So far, and until the device has done what it was told to, for which it waits."""
        return self._earlier + self._now() - self._since

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What the block takes does not count."""
        self._earlier = self.seconds()
        yield
        self._since = time.perf_counter()

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
