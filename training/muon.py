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
            for alike in _of_one_shape(group["params"]):
                self._update(alike, group["lr"], group["momentum"])

    def _update(self, weights: list[Tensor], learning_rate: Tensor, momentum: float) -> None:
        # The order of a matrix's columns makes no difference, and this one copies nothing of channels_last memory.
        directions = [self._direction(each, momentum).movedim(1, -1) for each in weights]
        changes = _orthogonal(torch.stack([each.flatten(1) for each in directions]), self._dtype)
        for each, change in zip(weights, changes.unflatten(2, directions[0].shape[1:]), strict=True):
            each.mul_(len(each) ** 0.5 / each.norm())
            each.sub_(change.movedim(-1, 1) * learning_rate)

    def _direction(self, weights: Tensor, momentum: float) -> Tensor:
        state, gradient = self.state[weights], weights.grad
        assert gradient is not None
        if not state:
            state["velocity"] = torch.zeros_like(weights)
        velocity = state["velocity"].mul_(momentum).add_(gradient)
        return torch.add(gradient, velocity, alpha=momentum)


def _of_one_shape(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    """Matrices that are multiplied together: one at a time, they are too small for a GPU."""
    alike: dict[torch.Size, list[Tensor]] = {}
    for each in weights:
        alike.setdefault(each.shape, []).append(each)
    return list(alike.values())


def _orthogonal(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """U S V of each of [matrices, rows, columns] with all singular values S near 1.

    Newton and Schulz's iteration, not exact.
    """
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)  # no singular value is over 1
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(REPETITIONS):
        products = x @ x.mT
        factor = torch.baddbmm(products, products, products, beta=CUBIC, alpha=QUINTIC)
        x = torch.baddbmm(x, factor, x, beta=LINEAR)
    result: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return result
