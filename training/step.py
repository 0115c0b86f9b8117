"""One training step, the hot path: forward, loss, backward, update, average. `distort` is the loader's part of it."""

from __future__ import annotations

from typing import Any

import torch

from training.averages import LossAverages, WeightAverages
from training.device import autocast
from training.loader import Batch
from training.network import Losses, Network, losses
from training.recipe import Recipe
from training.schedule import learning_rate


class TrainingStep:
    """A network in training, with everything that an update changes (tutorial: `train` in cifar10.py)."""

    def __init__(self, network: Network, recipe: Recipe, pictures: int, device: torch.device, precision: str) -> None:
        """`pictures` is the size of an epoch, `precision` "fp32" or "bf16"; the network moves to the device."""
        self.network = network.to(device)
        self.averages = WeightAverages(self.network, recipe.ema_decay)
        self.loss_averages = LossAverages(device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=recipe.learning_rate, foreach=True)
        self.updates_done = 0
        self._recipe, self._pictures = recipe, pictures
        self._device, self._precision = device, precision

    def __call__(self, batch: Batch) -> Losses:
        """One update; returns the losses before it, on the device. The host does not wait for the device."""
        with autocast(self._precision, self._device):
            logits = self.network(batch.images)
        batch_losses = losses(self.network, logits, batch.labels, self._recipe.weight_decay)
        self.optimizer.zero_grad()
        batch_losses.total.backward()
        self.optimizer.param_groups[0]["lr"] = self.learning_rate()
        self.optimizer.step()
        self.updates_done += 1
        self.averages.update(self.updates_done)
        batch_losses = Losses(*(loss.detach() for loss in batch_losses))
        self.loss_averages.update([batch_losses.total, *batch_losses])
        return batch_losses

    def learning_rate(self) -> float:
        """The rate that the next update will use."""
        return float(learning_rate(self._recipe, self._pictures, self.updates_done))

    def is_finite(self) -> bool:
        """Whether every weight is a number; waits for the device."""
        return all(bool(weight.isfinite().all()) for weight in self.network.parameters())

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on, except the pictures."""
        return {
            "step": self.updates_done,
            "network": self.network.state_dict(),
            "averages": self.averages.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss_averages": self.loss_averages.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates_done = state["step"]
        self.network.load_state_dict(state["network"])
        self.averages.network.load_state_dict(state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss_averages.load_state_dict(state["loss_averages"])
