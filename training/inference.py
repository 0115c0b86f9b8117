"""From stored pictures to logits, as they are evaluated and served: central crop, normalization, network, views.

Source: `inputs` of the tutorial's cifar10_input.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from training.network import Network
from training.recipe import Recipe
from training.views import VIEWS, averaged_logits

PIXELS = 1_500_000  # of what networks see at once, which fits any device


def logits_of_pictures(network: Network, images: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] on the network's device -> float32 [N, classes]. The network is in evaluation mode.

    They are divided by the network's temperature.
    """
    shades = central_crop(images, network.recipe.input_size).float()
    logits = averaged_logits(network, network.normalization(shades), network.recipe.test_time_views)
    return logits / network.temperature


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


def central_crop(images: Tensor, size: int) -> Tensor:
    """The central square of [N, 3, H, W].

    Where the margin is odd the extra row or column is cut from the bottom and right, as
    `tf.image.resize_with_crop_or_pad` does.
    """
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]
