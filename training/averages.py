"""Moving averages: of the weights, which are what is evaluated and served, and of the losses, which are what is read.

Source: `tf.train.ExponentialMovingAverage` as the tutorial uses it, `MOVING_AVERAGE_DECAY` for the weights and 0.9 for
the losses.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class WeightAverages(Generic[AnyModule]):
    """average <- decay * average + (1 - decay) * weight, with decay = min(`decay`, (1 + n) / (10 + n)) at update n.

    The smaller decay of the first updates lets the averages leave the initial weights behind; with a decay of 0 they
    are the weights themselves. The running statistics of batch normalization are averaged in the same way. `network` is
    a copy that holds the averages: evaluate it like any other.
    """

    def __init__(self, network: AnyModule, decay: float, device: torch.device) -> None:
        """`network` is on the device."""
        self.network: AnyModule = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self._averages, self._weights = _numbers(self.network), _numbers(network)
        # On the device, so that an update that has been captured once can be replayed with another decay.
        self._share_of_weights = torch.zeros((), device=device)

    def set_decay(self, updates_done: int) -> None:
        """The decay of the next `update`; `updates_done` counts that one too, so it is 1 before the first call."""
        self._share_of_weights.fill_(1 - min(self.decay, (1 + updates_done) / (10 + updates_done)))

    def update(self) -> None:
        """Call after the weights' update."""
        if self.decay == 0:
            torch._foreach_copy_(self._averages, self._weights)
            return
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.lerp_(weight, self._share_of_weights)


def _numbers(network: nn.Module) -> list[Tensor]:
    """All of the state that is measured, not counted."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]


class LossAverages:
    """Averages with decay 0.9 over the last ten steps or so, started at zero and corrected for that start.

    The correction, divided by 1 - 0.9^n, is TensorFlow's `zero_debias`: the first average is the first loss itself.
    """

    decay = 0.9

    def __init__(self, terms: int, device: torch.device) -> None:
        self._sums: Tensor = torch.zeros(terms, device=device)

    def update(self, losses: Tensor) -> None:
        """Takes float32 [terms]; nothing waits for the device."""
        self._sums.lerp_(losses, 1 - self.decay)

    def state(self) -> Tensor:
        """float32 [terms]: the averages before the correction."""
        return self._sums

    def load_state(self, sums: Tensor) -> None:
        self._sums.copy_(sums)

    def corrected(self, sums: Sequence[float], updates: int) -> list[float]:
        """The averages after so many updates, from what was the state."""
        return [value / (1 - self.decay**updates) for value in sums]
