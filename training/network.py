"""The tutorial's network, layer for layer (`inference` and `loss` of its cifar10.py).

    conv1 5x5x64 - pool1 - norm1 - conv2 5x5x64 - norm2 - pool2 - local3 384 - local4 192 - softmax_linear

Activations live in channels_last memory: it is the fast layout on CPUs and tensor cores, and it makes the flattened
order of pool2 (row, column, channel) the same as TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.recipe import Initialization, Recipe


class _FastLocalResponseNorm(torch.autograd.Function):
    """y = x * s^-0.75 with s = 1 + conv1x1(x^2, band), and its gradient, in as few passes over memory as they need.

    The power is r * sqrt(r) with r = 1 / sqrt(s): a general power costs two to three times as much on a CPU. With
    respect to x the gradient is g * s^-0.75 - 1.5 * x * conv1x1(g * y / s, band), since the band is symmetric.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, band: Tensor, ones: Tensor) -> Tensor:
        s = F.conv2d(x * x, band, ones)
        rsqrt = s.rsqrt()
        power = rsqrt.sqrt().mul_(rsqrt)
        y = x * power
        ctx.save_for_backward(x, y, s, power, band)
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None, None]:
        (grad,) = grad_outputs
        x, y, s, power, band = ctx.saved_tensors
        across = F.conv2d((grad * y).div_(s), band)
        return torch.addcmul(grad * power, x, across, value=-1.5), None, None


class LocalResponseNorm(nn.Module):
    """`tf.nn.lrn(x, depth_radius=4, bias=1, alpha=0.001 / 9, beta=0.75)` on float [N, C, H, W].

    Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 3.3.
    The sum over neighbouring channels is a 1x1 convolution of x^2 with a banded matrix: the operators called LRN are
    several times slower, in PyTorch and in onnxruntime, on a CPU.
    """

    band: Tensor
    ones: Tensor

    def __init__(self, channels: int, depth_radius: int = 4, alpha: float = 0.001 / 9) -> None:
        super().__init__()
        channel = torch.arange(channels)
        near = (channel[:, None] - channel[None, :]).abs() <= depth_radius
        # Constants of the architecture, not weights: they stay out of the state dict.
        self.register_buffer("band", (alpha * near)[:, :, None, None], persistent=False)
        self.register_buffer("ones", torch.ones(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        band, ones = self.band.to(x.dtype), self.ones.to(x.dtype)
        if torch.is_grad_enabled() and x.requires_grad:
            return _FastLocalResponseNorm.apply(x, band, ones)  # type: ignore[no-any-return]
        # The same in plain operations, which the ONNX exporter can follow.
        rsqrt = torch.rsqrt(F.conv2d(x * x, band, ones))
        return x * (rsqrt * torch.sqrt(rsqrt))


class Network(nn.Module):
    """float32 [N, 3, crop, crop], standardized -> logits [N, classes] (bfloat16 under autocast, else float32)."""

    def __init__(self, recipe: Recipe, classes: int) -> None:
        super().__init__()
        self.crop_size = recipe.distortions.crop_size
        pooled = -(-self.crop_size // 4)  # two poolings, each halves and rounds up
        self.conv1 = nn.Conv2d(3, 64, kernel_size=5, padding=2)
        self.norm1 = LocalResponseNorm(64)
        self.conv2 = nn.Conv2d(64, 64, kernel_size=5, padding=2)
        self.norm2 = LocalResponseNorm(64)
        self.local3 = nn.Linear(pooled * pooled * 64, 384)
        self.local4 = nn.Linear(384, 192)
        self.softmax_linear = nn.Linear(192, classes)

    def forward(self, images: Tensor) -> Tensor:
        # The tutorial has the ReLU before pool1. The order makes no difference to a maximum, nor to its gradient, and
        # a quarter of the numbers are left after it.
        x = F.relu(_max_pool(self.conv1(images)))
        x = self.norm1(x)
        x = F.relu(self.conv2(x))
        x = _max_pool(self.norm2(x))
        x = x.permute(0, 2, 3, 1).flatten(1)
        x = F.relu(self.local3(x))
        x = F.relu(self.local4(x))
        return self.softmax_linear(x)  # type: ignore[no-any-return]

    def layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """The five layers with weights, first to last, under the tutorial's names."""
        named = self.named_children()
        return {name: layer for name, layer in named if isinstance(layer, nn.Conv2d | nn.Linear)}

    def activations(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the tutorial calls a layer's activations, from what the layers themselves put out: their ReLU, but the
        last layer's as it is."""
        return {name: output if name == "softmax_linear" else F.relu(output) for name, output in outputs.items()}

    def decayed_layers(self) -> tuple[nn.Linear, nn.Linear]:
        """The layers whose weights (not biases) decay."""
        return self.local3, self.local4

    def initialize(self, initialization: Initialization, generator: torch.Generator) -> Network:
        """Fresh weights, in place, decided by the generator alone; returns the network."""
        deviations = (
            initialization.conv1,
            initialization.conv2,
            initialization.local3,
            initialization.local4,
            initialization.softmax_linear,
        )
        for layer, std, bias in zip(self.layers().values(), deviations, initialization.biases, strict=True):
            # tf.truncated_normal draws again beyond two standard deviations.
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
            nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
        return self.to(memory_format=torch.channels_last)


def _max_pool(x: Tensor) -> Tensor:
    # SAME padding of an even map: a row and a column at the bottom and right only, which is what ceil_mode does.
    return F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)


LOSS_NAMES = ("total_loss", "cross_entropy", "local3/weight_loss", "local4/weight_loss")  # the tutorial's


def cross_entropy(logits: Tensor, labels: Tensor, pictures: float) -> Tensor:
    """The sum of the cross-entropies of logits [N, classes] with int64 labels [N], divided by `pictures`.

    With `pictures` = N it is the mean. float32, whatever the logits are.
    """
    return F.cross_entropy(logits.float(), labels, reduction="sum") / pictures


def weight_losses(network: Network, weight_decay: float) -> tuple[Tensor, Tensor]:
    """The L2 terms of local3 and local4, the two layers that have one in the tutorial: weight_decay * sum(w^2) / 2."""
    local3, local4 = (layer.weight.square().sum() for layer in network.decayed_layers())
    return local3 * (weight_decay / 2), local4 * (weight_decay / 2)
