"""Muon: momentum whose direction is made orthogonal, for weights that are matrices.

Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024
(https://kellerjordan.github.io/posts/muon/), as airbench94_muon.py uses it for convolutions: a filter is a row, and
before each update the weights are scaled back to a norm. (PyTorch's own `torch.optim.Muon` takes matrices alone, and a
learning rate that a CUDA graph would freeze.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Of a polynomial whose repetition brings all singular values near 1, and the small ones there quickly.
LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
REPETITIONS = 3


class Muon(torch.optim.Optimizer):
    """w <- w * sqrt(filters) / |w| - lr * orthogonal(gradient + momentum * velocity), Nesterov's way.

    Nothing in a step waits for the device; each group's `lr` may be a tensor there.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], dtype: torch.dtype) -> None:
        """Each group has "params", float32 [filters, …], "lr" and "momentum"; products of matrices are of `dtype`."""
        super().__init__(groups, {"lr": None, "momentum": None})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        for group in self.param_groups:
            for weights in group["params"]:
                self._update(weights, group["lr"], group["momentum"])

    def _update(self, weights: Tensor, learning_rate: Tensor, momentum: float) -> None:
        state, gradient = self.state[weights], weights.grad
        assert gradient is not None
        if not state:
            state["velocity"] = torch.zeros_like(weights)
        velocity = state["velocity"].mul_(momentum).add_(gradient)
        direction = torch.add(gradient, velocity, alpha=momentum)
        weights.mul_(len(weights) ** 0.5 / weights.norm())
        weights.sub_(_orthogonal(direction, self._dtype) * learning_rate)


def _orthogonal(direction: Tensor, dtype: torch.dtype) -> Tensor:
    """U S V of a matrix [filters, …] with all singular values S near 1; Newton and Schulz's iteration, not exact."""
    # The order of the columns makes no difference, and this one needs no copy of weights in channels_last memory.
    rows = direction.movedim(1, -1)
    x = rows.flatten(1)
    x = (x / (x.norm() + 1e-7)).to(dtype)  # no singular value is over 1
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(REPETITIONS):
        products = x @ x.T
        x = LINEAR * x + (CUBIC * products + QUINTIC * products @ products) @ x
    x = x.T if tall else x
    result: Tensor = x.to(direction.dtype).unflatten(1, rows.shape[1:])
    return result.movedim(-1, 1)
