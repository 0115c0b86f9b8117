"""One training step, the hot path: distort, forward, loss, backward, update, average.

On a GPU nothing in it waits for the device, and all of it is one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.averages import LossAverages, WeightAverages
from training.compilation import compiled
from training.cuda_graph import UPDATES_BEFORE_CAPTURE, CapturedUpdate
from training.device import autocast
from training.distributed import World
from training.loader import Batch, Loader, Plan
from training.losses import cross_entropy, loss_names, weight_losses
from training.network import Network
from training.observation import Observation, observe, watching
from training.optimizer import Optimizer
from training.recipe import Recipe
from training.say import Say
from training.summaries import EVERY as SUMMARY_EVERY

FEWEST_OBSERVED = 20  # updates, from which on it pays to capture them too
UPDATES_BEFORE_OBSERVED_CAPTURE = 1  # it makes all that has to be made once


class Update(NamedTuple):
    """What an update leaves on the device. The next one overwrites it."""

    losses: Tensor
    """float32, before the update, in the order of `loss_names`, of this rank's pictures: their mean over ranks is the
    batch's."""
    observation: Observation | None = None
    """Of this rank's pictures too, but the gradients are all ranks'. Of updates that are observed."""


class TrainingStep:
    """A network in training, with everything that an update changes (tutorial: `train` in cifar10.py)."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        loader: Loader,
        device: torch.device,
        precision: str,
        world: World | None = None,
        fused: bool = False,
        say: Say = print,
    ) -> None:
        """`precision` is "fp32" or "bf16". The network moves to the device; if `fused`, torch.compile fuses its
        kernels. `say` takes sentences for people.
        """
        self.network = network.to(device)
        self.averages = WeightAverages(self.network, recipe.ema_decay, device)
        self._loss_names = loss_names(recipe)
        self.loss_averages = LossAverages(len(self._loss_names), device)
        self.updates_done = 0
        self._recipe, self._loader, self._device, self._precision = recipe, loader, device, precision
        self._world = world or World()
        self.optimizer = Optimizer(self.network, recipe, device, precision)
        model: nn.Module = self.network
        if fused:
            model = compiled(model, self._no_pictures(), precision, say)
        self.fused = model is not self.network  # it is not where it cannot be compiled
        self._model = _averaging_gradients(model) if self._world.size > 1 else model
        self._update: Callable[[Plan], Update] = self._update_once
        self._observed_update: Callable[[Plan], Update] = self._observed_once
        if device.type == "cuda":
            self._update = CapturedUpdate(self._update_once, say)
            if recipe.steps >= FEWEST_OBSERVED * SUMMARY_EVERY:
                name, before = "The step with summaries", UPDATES_BEFORE_OBSERVED_CAPTURE
                self._observed_update = CapturedUpdate(self._observed_once, say, name, before)

    def __call__(self, observed: bool = False) -> Update:
        """One update, with the pictures whose turn it is; all ranks observe it or none."""
        self.optimizer.set_learning_rates(self._loader.pictures, self.updates_done)
        self.averages.set_decay(self.updates_done + 1)
        update = self._observed_update if observed else self._update
        done = update(self._loader.plan(self.updates_done))
        self.updates_done += 1
        return done

    def warm_up(self, observed: bool = False) -> None:
        """As many updates as it takes until the step is captured, of which nothing stays: a GPU loads, allocates and
        captures before the clock of the training starts. So do those that are `observed`, where there will be any. All
        ranks must, after `load_state_dict` if at all.
        """
        before = [(tensor, tensor.clone()) for tensor in self._changing()]
        plan = self._loader.plan(self.updates_done)
        for _ in range(UPDATES_BEFORE_CAPTURE + 1):
            self._update(plan)
        for _ in range(UPDATES_BEFORE_OBSERVED_CAPTURE + 1 if observed else 0):
            self._observed_update(plan)
        # In place, since a graph knows tensors by their addresses.
        for momentum in self.optimizer.momenta():
            momentum.zero_()
        for tensor, value in before:
            tensor.copy_(value)

    def close(self) -> None:
        """Lets go of the graphs; further updates run as written. A process group ends only after graphs that hold its
        collectives have (https://github.com/pytorch/pytorch/issues/115388).
        """
        for update in (self._update, self._observed_update):
            if isinstance(update, CapturedUpdate):
                update.close()

    def _changing(self) -> list[Tensor]:
        networks = self.network.state_dict(), self.averages.network.state_dict()
        weights = [tensor for network in networks for tensor in network.values()]
        return [*weights, self.loss_averages.state(), *self.optimizer.momenta()]

    def _update_once(self, plan: Plan) -> Update:
        losses = self._backward(self._loader.batch(plan))
        self._apply(losses)
        return Update(losses)

    def _observed_once(self, plan: Plan) -> Update:
        batch = self._loader.batch(plan)
        # Fused kernels have no outputs of single layers to look at.
        with watching(self.network) as outputs, torch.compiler.set_stance("force_eager"):
            losses = self._backward(batch)
        observation = observe(self.network, outputs, batch.images, self.optimizer)
        self._apply(losses)
        return Update(losses, observation)

    def _backward(self, batch: Batch) -> Tensor:
        """Leaves the gradients with the weights; returns the losses."""
        with autocast(self._precision, self._device):
            logits = self._model(batch.images)
        # DistributedDataParallel divides the sum of all ranks' gradients by their number.
        pictures = self._recipe.batch_size / self._world.size
        loss = cross_entropy(logits, batch.labels, pictures, self._recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            losses = torch.stack([loss, *weight_losses(self.optimizer.param_groups)])
            return torch.cat([losses.sum(dim=0, keepdim=True), losses])

    def _apply(self, losses: Tensor) -> None:
        """Moves the weights, and all averages after them."""
        with torch.no_grad():
            self.optimizer.step()
            self.averages.update()
            self.loss_averages.update(losses)

    def _no_pictures(self) -> Tensor:
        """A batch of this rank, as the network gets it, without content."""
        part = self._world.shard(self._recipe.batch_size)
        size = self._recipe.input_size
        images = torch.zeros(part.stop - part.start, 3, size, size, device=self._device)
        return images.contiguous(memory_format=torch.channels_last)

    def mean_over_ranks(self, losses: Tensor, number: float) -> tuple[dict[str, float], dict[str, float], float]:
        """The batch's losses, from this rank's, their moving averages, both by name, and the mean of a number that each
        rank brings; all ranks must ask. The one place in a step that waits for the device.
        """
        count = len(self._loss_names)
        mine = torch.cat([losses, self.loss_averages.state(), losses.new_tensor([number])])
        means = self._world.mean(mine).tolist()
        averaged = self.loss_averages.corrected(means[count : 2 * count], self.updates_done)
        by_name = (dict(zip(self._loss_names, values, strict=True)) for values in (means[:count], averaged))
        return *by_name, means[-1]

    def is_finite(self) -> bool:
        """Whether every weight is a number; waits for the device."""
        return all(bool(weight.isfinite().all()) for weight in self.network.parameters())

    def agree_on_statistics(self) -> None:
        """The running statistics of batch normalization, each rank's of its own pictures, become their mean over ranks.

        All ranks must ask. Their next updates go on from there, which changes nothing: the mean of running averages is
        the running average of the means.
        """
        if self._world.size > 1:
            for network in (self.network, self.averages.network):
                for name, values in network.state_dict().items():
                    if name.endswith((".running_mean", ".running_var")):
                        values.copy_(self._world.mean(values))

    def state_dict(self) -> dict[str, Any]:
        """All that the next update depends on; all ranks must ask."""
        self.agree_on_statistics()
        return {
            "step": self.updates_done,
            "network": self.network.state_dict(),
            "averages": self.averages.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss_averages": torch.stack(self._world.gather(self.loss_averages.state().cpu())),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from there, also where another number of ranks had come there."""
        self.updates_done = state["step"]
        self.network.load_state_dict(state["network"])
        self.averages.network.load_state_dict(state["averages"])
        self.optimizer.load_state_dict(state["optimizer"])
        sums = state["loss_averages"]
        self.loss_averages.load_state(sums[self._world.rank] if len(sums) == self._world.size else sums.mean(dim=0))


def _averaging_gradients(network: nn.Module) -> nn.Module:
    return DistributedDataParallel(network, forward_sync_buffers=False, gradient_as_bucket_view=True)
