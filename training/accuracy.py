"""Precision @ 1, overall and per class.

Every picture of a split counts once. (The tutorial's cifar10_eval.py counts 79 batches of 128, 112 pictures twice.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.dataset import Split
from training.distributed import World
from training.inference import logits_of_pictures
from training.network import Network
from training.recipe import Recipe
from training.views import VIEWS

PIXELS = 1_500_000  # of what networks see at once, which fits any device


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


def logits_of(network: Network, images: Tensor, device: torch.device) -> Iterator[Tensor]:
    """float32 [N, classes] on the device, N pictures at once, for uint8 [M, 3, H, W] wherever they are, in their order.

    To be used under torch.inference_mode; the network is on the device.
    """
    for part in images.split(pictures_at_once(network.recipe)):
        if len(part):  # of an empty tensor split makes an empty part
            yield logits_of_pictures(network, part.to(device))


def pictures_at_once(recipe: Recipe) -> int:
    """How many pictures a batch of an evaluation has."""
    return max(1, PIXELS // (recipe.input_size**2 * VIEWS[recipe.test_time_views]))


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
