"""The tutorial's local response normalization, fast on CPUs too."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEPTH_RADIUS = 4  # channels on either side; with ALPHA the tutorial's numbers
ALPHA = 0.001 / 9


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
    """`tf.nn.lrn(x, DEPTH_RADIUS, bias=1, alpha=ALPHA, beta=0.75)` on float [N, C, H, W].

    Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 3.3.
    The sum over neighbouring channels is a 1x1 convolution of x^2 with a banded matrix: the operators called LRN are
    several times slower, in PyTorch and in onnxruntime, on a CPU.
    """

    band: Tensor
    ones: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        channel = torch.arange(channels)
        near = (channel[:, None] - channel[None, :]).abs() <= DEPTH_RADIUS
        # Constants of the architecture, not weights: they stay out of the state dict.
        self.register_buffer("band", (ALPHA * near)[:, :, None, None], persistent=False)
        self.register_buffer("ones", torch.ones(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        band, ones = self.band.to(x.dtype), self.ones.to(x.dtype)
        if torch.is_grad_enabled() and x.requires_grad:
            # All is of x's type already; CUDA's autocast would compute the root in float32, and mix types backwards.
            with torch.autocast(x.device.type, enabled=False):
                return _FastLocalResponseNorm.apply(x, band, ones)  # type: ignore[no-any-return]
        # The same in plain operations, which the ONNX exporter can follow.
        rsqrt = torch.rsqrt(F.conv2d(x * x, band, ones))
        return x * (rsqrt * torch.sqrt(rsqrt))
