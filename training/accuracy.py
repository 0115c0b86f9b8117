"""Precision @ 1, overall and per class.

Every picture of a split counts once. (The tutorial's cifar10_eval.py counts 79 batches of 128, 112 pictures twice.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.dataset import Split
from training.distributed import World
from training.inference import logits_of
from training.network import Network


@dataclass(frozen=True)
class Accuracy:
    """How many pictures of each class there were, and how many of them were recognized."""

    correct: tuple[int, ...]
    pictures: tuple[int, ...]

    @property
    def overall(self) -> float:
        return sum(self.correct) / sum(self.pictures)

    def per_class(self, class_names: tuple[str, ...]) -> dict[str, float]:
        """Class name to accuracy; classes of which the split has no picture are left out."""
        counts = zip(class_names, self.correct, self.pictures, strict=True)
        return {name: correct / pictures for name, correct, pictures in counts if pictures}


@torch.inference_mode()
def measure(network: Network, split: Split, classes: int, device: torch.device, world: World | None = None) -> Accuracy:
    """Of the network, which is on the device, in float32, on the whole split.

    Each rank of the world counts a part of the pictures, and all of them get the sum.
    """
    world = world or World()
    part = world.shard(len(split))
    predicted = [logits.argmax(dim=1) for logits in logits_of(network, split.images[part], device)]
    found = torch.cat([torch.empty(0, dtype=torch.int64), *(labels.cpu() for labels in predicted)])
    counted = count(found, split.labels[part], classes)
    correct, pictures = world.sum(torch.tensor([counted.correct, counted.pictures])).tolist()
    return Accuracy(tuple(correct), tuple(pictures))


def count(predicted: Tensor, labels: Tensor, classes: int) -> Accuracy:
    """predicted, labels: int64 [M], on the CPU."""
    right = labels[predicted == labels]
    return Accuracy(
        tuple(torch.bincount(right, minlength=classes).tolist()),
        tuple(torch.bincount(labels, minlength=classes).tolist()),
    )
