"""What is minimized: cross-entropy, and the L2 terms of weights that decay (tutorial: `loss` of its cifar10.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.recipe import Recipe


def loss_names(recipe: Recipe) -> tuple[str, ...]:
    """total_loss, which is the sum of all others, cross_entropy, and one for each group that decays."""
    decaying = (group.parameters for group in recipe.groups if group.weight_decay)
    return "total_loss", "cross_entropy", *(f"{name}/weight_loss" for name in decaying)


def cross_entropy(logits: Tensor, labels: Tensor, pictures: float, label_smoothing: float = 0.0) -> Tensor:
    """The sum of the cross-entropies of logits [N, classes] with int64 labels [N], divided by `pictures`.

    With `pictures` = N it is the mean. float32, whatever the logits are. `label_smoothing` spreads a share of each
    label over all classes (Szegedy et al., Rethinking the Inception Architecture, 2015, section 7).
    """
    summed = F.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=label_smoothing)
    return summed / pictures


def weight_losses(groups: Iterable[Mapping[str, Any]]) -> list[Tensor]:
    """weight_decay * sum(w^2) / 2 of each group that decays, in the order of `loss_names`.

    `groups` are an optimizer's `param_groups`.
    """
    return [
        reduce(torch.add, (weight.square().sum() for weight in group["params"])) * (group["weight_decay"] / 2)
        for group in groups
        if group.get("weight_decay")
    ]
