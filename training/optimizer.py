"""All of a network's parameters, each group moved as the recipe says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.errors import UserError
from training.muon import Muon
from training.network import Network
from training.recipe import Recipe
from training.recipe_parts import ParameterGroup
from training.schedule import learning_rate


class Optimizer:
    """Nothing in it waits for the device, and the learning rates are there: a captured update can be replayed."""

    def __init__(self, network: Network, recipe: Recipe, device: torch.device, precision: str) -> None:
        """`network` is on the device; `precision` is "fp32" or "bf16". Raises UserError for weight decay with Muon."""
        self._recipe = recipe
        self._rates = {group: torch.tensor(0.0, device=device) for group in recipe.groups}
        self._values: dict[ParameterGroup, float] = {}
        members = network.parameter_groups()
        self._optimizers: dict[str, torch.optim.Optimizer] = {}
        if by_sgd := [self._settings(group, members) for group in recipe.groups if group.optimizer == "sgd"]:
            self._optimizers["sgd"] = torch.optim.SGD(by_sgd, fused=True)
        if by_muon := [self._settings(group, members) for group in recipe.groups if group.optimizer == "muon"]:
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            self._optimizers["muon"] = Muon(by_muon, dtype)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """As PyTorch's optimizers have them: "params", "lr", "weight_decay", …"""
        return [group for optimizer in self._optimizers.values() for group in optimizer.param_groups]

    def momenta(self) -> list[Tensor]:
        """Those that there are by now: each is made by the first step that needs it."""
        states = [state for optimizer in self._optimizers.values() for state in optimizer.state.values()]
        return [value for state in states for value in state.values() if isinstance(value, Tensor)]

    def set_learning_rates(self, pictures: int, step: int) -> None:
        """Of update `step` (0 for the first); `pictures` is the size of an epoch."""
        for group, rate in self._rates.items():
            value = float(learning_rate(self._recipe, group, pictures, step))
            if value != self._values.get(group):  # the tutorial's stand still, and telling a GPU takes microseconds
                rate.fill_(value)
                self._values[group] = value

    def zero_grad(self) -> None:
        for optimizer in self._optimizers.values():
            optimizer.zero_grad()

    def step(self) -> None:
        for optimizer in self._optimizers.values():
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The momenta; all else is the recipe's."""
        return {name: optimizer.state_dict()["state"] for name, optimizer in self._optimizers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, optimizer in self._optimizers.items():
            rates = [group["lr"] for group in optimizer.param_groups]
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state[name]})
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate  # loading has put a copy in its place

    def _settings(self, group: ParameterGroup, members: dict[str, Any]) -> dict[str, Any]:
        settings = {"params": members[group.parameters], "lr": self._rates[group], "momentum": group.momentum}
        if group.optimizer == "sgd":
            # The L2 terms' gradient is weight_decay * w, which SGD adds by itself: autograd need not see them.
            settings |= {"weight_decay": group.weight_decay, "nesterov": group.momentum > 0}
        elif group.weight_decay:
            raise UserError(f"Muon keeps the norm of weights; leave the weight_decay of {group.parameters} at 0.")
        return settings
