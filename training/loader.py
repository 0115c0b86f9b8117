"""Which pictures an update sees, and how they are distorted.

All pictures stay on the training device as uint8 (CIFAR-10 is 180 MB); a batch is an index into them, gathered and
distorted there as a part of the update: there is nothing to prefetch. Which pictures,
in which order, with which distortions is drawn on the CPU, an epoch at a time, by a generator that the seed and the
epoch's number alone decide. So batch k can be made without the k - 1 before it, resuming needs no replay, and neither
the device, the number of ranks nor the time of day changes what is trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.dataset import Split
from training.device import sent
from training.distortions import Draws, blanked, distorted_inputs, draw
from training.distributed import World
from training.errors import UserError
from training.recipe import Recipe


class Batch(NamedTuple):
    images: Tensor  # float32 [N, 3, S, S], distorted and normalized, channels_last
    labels: Tensor  # int64 [N]


@dataclass(frozen=True)
class Plan:
    """What happens at a run of consecutive positions in the stream of training pictures."""

    index: Tensor  # int64 [N], into the training split
    draws: Draws

    def tensors(self) -> list[Tensor]:
        return [self.index, *self.draws.tensors()]

    def clone(self) -> Plan:
        return Plan(self.index.clone(), self.draws.clone())


class Loader:
    """The endless stream of training batches, from any update on.

    Picture p of the stream belongs to epoch p // M at position p % M, where M is the number of pictures. Every epoch
    holds every picture once; where the batch size does not divide M, a batch takes the end of one epoch and the
    beginning of the next.
    """

    def __init__(
        self,
        split: Split,
        recipe: Recipe,
        normalization: Callable[[Tensor], Tensor],
        seed: int,
        device: torch.device,
        world: World | None = None,
    ) -> None:
        """Of the batches of the whole `world`, this loader makes its rank's part. `normalization` is the network's."""
        self.pictures = len(split)
        self._images = _moved(split.images, device)
        self._labels = split.labels.to(device)
        self._recipe = recipe
        self._normalization = normalization
        self._seed = seed
        self._device = device
        self._world = world or World()
        self._epochs: dict[int, Plan] = {}

    def plan(self, step: int) -> Plan:
        """The pictures and draws of update `step` (0 for the first), on the loader's device."""
        part = self._world.shard(self._recipe.batch_size)
        first = step * self._recipe.batch_size + part.start
        end = first + part.stop - part.start
        index, draws = [], []
        while first < end:
            epoch, offset = divmod(first, self.pictures)
            part = slice(offset, min(self.pictures, offset + end - first))
            whole = self._epoch(epoch)
            index.append(whole.index[part])
            draws.append(whole.draws[part])
            first += part.stop - part.start
        joined = draws[0]
        for more in draws[1:]:
            joined = joined.followed_by(more)
        return Plan(torch.cat(index) if len(index) > 1 else index[0], joined)

    def batch(self, plan: Plan) -> Batch:
        """The pictures of a plan, distorted and normalized."""
        distortions = self._recipe.distortions
        images = self._normalization(distorted_inputs(self._images, plan.index, plan.draws, distortions))
        return Batch(blanked(images, plan.draws, distortions), self._labels[plan.index])

    def _epoch(self, epoch: int) -> Plan:
        if epoch not in self._epochs:
            # The previous epoch is kept for the batch that straddles the two.
            self._epochs = {key: plan for key, plan in self._epochs.items() if key == epoch - 1}
            generator = self._generator(epoch)
            index = torch.randperm(self.pictures, generator=generator)
            draws = draw(self._recipe.distortions, self.pictures, self._images.shape[-1], generator)
            if self._recipe.distortions.flip == "alternating":
                draws = replace(draws, flip=self._alternating(epoch)[index])
            self._epochs[epoch] = Plan(sent(index, self._device), draws.to(self._device))
        return self._epochs[epoch]

    def _alternating(self, epoch: int) -> Tensor:
        """bool [M]: whether each picture is flipped. One epoch shows it as it is, the next in the mirror, and so on.

        Which way round it starts is drawn once. Source: Jordan, 2024 (arXiv:2404.00498), section 3.6: with independent
        flips two epochs show a picture the same way round half of the time.
        """
        starts = torch.rand(self.pictures, generator=self._generator()) < 0.5
        return starts ^ (epoch % 2 == 1)

    def _generator(self, *epoch: int) -> torch.Generator:
        """Of an epoch, or of what is drawn once and for all."""
        words = np.random.SeedSequence([self._seed, *epoch]).generate_state(2, np.uint32)
        return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))


def _moved(images: Tensor, device: torch.device) -> Tensor:
    try:
        return images.to(device)
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"The GPU has not enough free memory for the training pictures, {images.nbytes / 1e9:.1f} GB; choose a "
            "smaller --image-size, or end what else uses it."
        ) from error
