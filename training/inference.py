"""From stored pictures to logits, as they are evaluated and served: central crop, normalization, network, views.

Source: `inputs` of the tutorial's cifar10_input.py.
"""

from __future__ import annotations

from torch import Tensor

from training.network import Network
from training.views import averaged_logits


def logits_of_pictures(network: Network, images: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] on the network's device -> float32 [N, classes]. The network is in evaluation mode.

    They are divided by the network's temperature.
    """
    shades = central_crop(images, network.recipe.input_size).float()
    logits = averaged_logits(network, network.normalization(shades), network.recipe.test_time_views)
    return logits / network.temperature


def central_crop(images: Tensor, size: int) -> Tensor:
    """The central square of [N, 3, H, W].

    Where the margin is odd the extra row or column is cut from the bottom and right, as
    `tf.image.resize_with_crop_or_pad` does.
    """
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]
