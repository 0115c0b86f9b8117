"""From shades of 0 to 255 to what the first layer sees. Part of the network, and so of its checkpoints and graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PIXELS_AT_ONCE = 2_000_000  # of pictures, while they are measured


class PictureStandardization(nn.Module):
    """Each picture by its own mean and standard deviation, as in the tutorial; see `standardize`."""

    def fit(self, images: Tensor) -> None:
        """There is nothing to learn from the training pictures."""

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, 3, H, W], 0 to 255 -> the same shape, in channels_last memory."""
        return standardize(images)


class ChannelNormalization(nn.Module):
    """Each channel by its mean and standard deviation over all training pictures."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("deviation", torch.ones(3))

    def fit(self, images: Tensor) -> None:
        """images: uint8 [M, 3, H, W], the training split."""
        counts = torch.zeros(3, 256, dtype=torch.int64)
        for part in images.split(max(1, _PIXELS_AT_ONCE // images[0, 0].numel())):
            for channel in range(3):
                counts[channel] += torch.bincount(part[:, channel].flatten(), minlength=256).cpu()
        shares, shades = counts / counts.sum(dim=1, keepdim=True, dtype=torch.float64), torch.arange(256)
        mean = shares @ shades.double()
        variance = (shares * (shades - mean[:, None]).square()).sum(dim=1)
        self.mean.copy_(mean)
        # Of pictures that are all of one colour nothing is left to divide; a shade is the least there can be.
        self.deviation.copy_(variance.sqrt().clamp(min=1.0))

    def forward(self, images: Tensor) -> Tensor:
        """float32 [N, 3, H, W], 0 to 255 -> the same shape, in channels_last memory."""
        normalized = (images - self.mean[:, None, None]) / self.deviation[:, None, None]
        return normalized.contiguous(memory_format=torch.channels_last)


def standardize(images: Tensor) -> Tensor:
    """Each picture less its mean, divided by its standard deviation, or by 1 / sqrt(its numbers) where that is larger.

    images: float32 [N, C, H, W]; returns the same shape, in channels_last memory. Source:
    `tf.image.per_image_standardization` (population standard deviation over all pixels and channels of a picture).
    """
    centered = images - images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = centered.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    smallest = images[0].numel() ** -0.5
    return (centered / deviation.clamp(min=smallest)).contiguous(memory_format=torch.channels_last)


NORMALIZATIONS: dict[str, type[PictureStandardization] | type[ChannelNormalization]] = {
    "picture": PictureStandardization,
    "channel": ChannelNormalization,
}
