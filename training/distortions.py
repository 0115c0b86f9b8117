"""From stored pictures to what the network sees: whole batches at once, on whatever device the pictures are on.

Source: `distorted_inputs` and `inputs` of the tutorial's cifar10_input.py, and TensorFlow's `random_crop`,
`random_flip_left_right`, `random_brightness`, `random_contrast` and `per_image_standardization`. There each picture is
distorted by itself, by Python-driven graph nodes; here one batch is a handful of tensor operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.recipe import Distortions


@dataclass(frozen=True)
class Draws:
    """The random numbers of N pictures, one entry each, so that a distortion is a pure function of them."""

    top: Tensor  # int64 [N], first row of the crop
    left: Tensor  # int64 [N], first column of the crop
    flip: Tensor  # bool [N]
    brightness: Tensor  # float32 [N], added to every pixel, scale 0..255
    contrast: Tensor  # float32 [N], factor on the distance from the channel's mean

    def __getitem__(self, part: slice) -> Draws:
        return Draws(*(values[part] for values in self.tensors()))

    def to(self, device: torch.device) -> Draws:
        return Draws(*(values.to(device, non_blocking=True) for values in self.tensors()))

    def clone(self) -> Draws:
        return Draws(*(values.clone() for values in self.tensors()))

    def followed_by(self, other: Draws) -> Draws:
        return Draws(*(torch.cat(pair) for pair in zip(self.tensors(), other.tensors(), strict=True)))

    def tensors(self) -> tuple[Tensor, ...]:
        return self.top, self.left, self.flip, self.brightness, self.contrast


def draw(distortions: Distortions, count: int, image_size: int, generator: torch.Generator) -> Draws:
    """Draws for `count` square pictures of `image_size` pixels a side, on the generator's device."""
    low, high = distortions.contrast
    offsets = image_size - distortions.crop_size + 1
    return Draws(
        top=torch.randint(offsets, (count,), generator=generator),
        left=torch.randint(offsets, (count,), generator=generator),
        flip=(torch.rand(count, generator=generator) < 0.5) & distortions.flip,
        brightness=(torch.rand(count, generator=generator) * 2 - 1) * distortions.brightness,
        contrast=low + (high - low) * torch.rand(count, generator=generator),
    )


def distorted_inputs(images: Tensor, index: Tensor, draws: Draws, crop_size: int) -> Tensor:
    """What the network sees of the pictures `images[index]` during training.

    images: uint8 [M, 3, H, W], the whole split; index: int64 [N]; draws: of N pictures. All on one device.
    Returns float32 [N, 3, crop_size, crop_size], standardized, in channels_last memory.
    """
    windows = images.unfold(2, crop_size, 1).unfold(3, crop_size, 1)  # a view: every crop of every picture
    crops = windows[index, :, draws.top, draws.left].float()
    crops = torch.where(draws.flip[:, None, None, None], crops.flip(3), crops)
    return standardize(adjust(crops, draws.brightness, draws.contrast))


def adjust(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Brightness, then contrast: (x + b - mean) * c + mean, mean over each channel of x + b; nothing is clipped.

    images: float32 [N, 3, H, W]; brightness, contrast: float32 [N]. Source: `tf.image.adjust_brightness` and
    `tf.image.adjust_contrast`. The standardization that follows takes the brightness out again; it is kept because the
    tutorial has it and other recipes need not standardize.
    """
    images = images + brightness[:, None, None, None]
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean, images, contrast[:, None, None, None])


def standardize(images: Tensor) -> Tensor:
    """Each picture less its mean, divided by its standard deviation, or by 1 / sqrt(its numbers) where that is larger.

    images: float32 [N, C, H, W]; returns the same shape, in channels_last memory. Source:
    `tf.image.per_image_standardization` (population standard deviation over all pixels and channels of a picture).
    """
    centered = images - images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = centered.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    smallest = images[0].numel() ** -0.5
    return (centered / deviation.clamp(min=smallest)).contiguous(memory_format=torch.channels_last)


def inputs(images: Tensor, crop_size: int) -> Tensor:
    """What the network sees in evaluation: the central crop, standardized.

    images: uint8 [N, 3, H, W]; returns float32 [N, 3, crop_size, crop_size] in channels_last memory. Where the margin
    is odd the extra row or column is cut from the bottom and right, as `tf.image.resize_with_crop_or_pad` does.
    """
    top, left = (images.shape[2] - crop_size) // 2, (images.shape[3] - crop_size) // 2
    return standardize(images[:, :, top : top + crop_size, left : left + crop_size].float())
