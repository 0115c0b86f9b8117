"""Moving averages: of the weights, which are what is evaluated and served, and of the losses, which are what is read.

Source: `tf.train.ExponentialMovingAverage` as the tutorial uses it, `MOVING_AVERAGE_DECAY` for the weights and 0.9 for
the losses.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class WeightAverages(Generic[AnyModule]):
    """average <- decay * average + (1 - decay) * weight, with decay = min(`decay`, (1 + n) / (10 + n)) at update n.

    The smaller decay of the first updates lets the averages leave the initial weights behind. `network` is a copy that
    holds the averages: evaluate it like any other.
    """

    def __init__(self, network: AnyModule, decay: float) -> None:
        self.network: AnyModule = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self._averages: list[Tensor] = [parameter.detach() for parameter in self.network.parameters()]
        self._weights: list[Tensor] = [parameter.detach() for parameter in network.parameters()]

    def update(self, updates_done: int) -> None:
        """Call after the weights' update; `updates_done` counts that one too, so it is 1 at the first call."""
        decay = min(self.decay, (1 + updates_done) / (10 + updates_done))
        torch._foreach_lerp_(self._averages, self._weights, 1 - decay)


class LossAverages:
    """Averages with decay 0.9 over the last ten steps or so, started at zero and corrected for that start.

    The correction, divided by 1 - 0.9^n, is TensorFlow's `zero_debias`: the first average is the first loss itself.
    """

    decay = 0.9

    def __init__(self, device: torch.device) -> None:
        self._sums: Tensor = torch.zeros(0, device=device)
        self._updates = 0

    def update(self, values: Iterable[Tensor]) -> None:
        """Takes scalars, always as many and in the same order; nothing waits for the device."""
        current = torch.stack([value.detach() for value in values])
        if not self._updates:
            self._sums = torch.zeros_like(current)
        self._sums.lerp_(current, 1 - self.decay)
        self._updates += 1

    def values(self) -> list[float]:
        """The averages now; waits for the device."""
        return (self._sums / (1 - self.decay**self._updates)).tolist()

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums.cpu(), "updates": self._updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums = state["sums"].to(self._sums.device)
        self._updates = state["updates"]
