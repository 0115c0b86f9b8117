"""Which pictures an update sees, how they are distorted, and getting them ready in time.

All pictures stay on the training device as uint8 (CIFAR-10 is 180 MB); a batch is an index into them. Which pictures,
in which order, with which distortions is drawn on the CPU, an epoch at a time, by a generator that the seed and the
epoch's number alone decide. So batch k can be made without the k - 1 before it, resuming needs no replay, and neither
the device nor the time of day changes what is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.dataset import Split
from training.distortions import Draws, distorted_inputs, draw
from training.recipe import Recipe


class Batch(NamedTuple):
    images: Tensor  # float32 [N, 3, crop, crop], distorted and standardized, channels_last
    labels: Tensor  # int64 [N]


@dataclass(frozen=True)
class Plan:
    """What happens at a run of consecutive positions in the stream of training pictures."""

    index: Tensor  # int64 [N], into the training split
    draws: Draws


class Loader:
    """The endless stream of training batches, from any update on.

    Picture p of the stream belongs to epoch p // M at position p % M, where M is the number of pictures. Every epoch
    holds every picture once; where the batch size does not divide M, a batch takes the end of one epoch and the
    beginning of the next.
    """

    def __init__(self, split: Split, recipe: Recipe, seed: int, device: torch.device) -> None:
        self._images = split.images.to(device)
        self._labels = split.labels.to(device)
        self._recipe = recipe
        self._seed = seed
        self._device = device
        self._epochs: dict[int, Plan] = {}

    def batches(self, first_step: int = 0) -> Iterator[Batch]:
        """The batches of update `first_step` (0 for a new run) and all after it, each ready before it is asked for.

        On a GPU the next batch is gathered and distorted on a stream of its own beside the current update. On a CPU
        it is made when asked for: it takes 3 % of the update, and a second thread would take its cores from the update.
        """
        batches = self._made_when_asked(first_step)
        return _one_ahead(batches, self._device) if self._device.type == "cuda" else batches

    def plan(self, step: int) -> Plan:
        """The pictures and draws of update `step`, on the loader's device."""
        first = step * self._recipe.batch_size
        end = first + self._recipe.batch_size
        pictures = len(self._labels)
        index, draws = [], []
        while first < end:
            epoch, offset = divmod(first, pictures)
            part = slice(offset, min(pictures, offset + end - first))
            whole = self._epoch(epoch)
            index.append(whole.index[part])
            draws.append(whole.draws[part])
            first += part.stop - part.start
        joined = draws[0]
        for more in draws[1:]:
            joined = joined.followed_by(more)
        return Plan(torch.cat(index) if len(index) > 1 else index[0], joined)

    def _made_when_asked(self, step: int) -> Iterator[Batch]:
        crop_size = self._recipe.distortions.crop_size
        while True:
            plan = self.plan(step)
            images = distorted_inputs(self._images, plan.index, plan.draws, crop_size)
            yield Batch(images, self._labels[plan.index])
            step += 1

    def _epoch(self, epoch: int) -> Plan:
        if epoch not in self._epochs:
            # The previous epoch is kept for the batch that straddles the two.
            self._epochs = {key: plan for key, plan in self._epochs.items() if key == epoch - 1}
            words = np.random.SeedSequence([self._seed, epoch]).generate_state(2, np.uint32)
            generator = torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))
            pictures = len(self._labels)
            index = torch.randperm(pictures, generator=generator)
            draws = draw(self._recipe.distortions, pictures, self._images.shape[-1], generator)
            self._epochs[epoch] = Plan(index.to(self._device, non_blocking=True), draws.to(self._device))
        return self._epochs[epoch]


def _one_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches; while one is in use, the next is being made on a second CUDA stream."""
    stream = torch.cuda.Stream(device)

    def start_next() -> Batch:
        with torch.cuda.stream(stream):
            return next(batches)

    upcoming = start_next()
    while True:
        current = torch.cuda.current_stream(device)
        current.wait_stream(stream)
        batch = upcoming
        for tensor in batch:
            # Made on one stream, used on another: its memory must not be handed out again before the use is over.
            tensor.record_stream(current)
        upcoming = start_next()
        yield batch
