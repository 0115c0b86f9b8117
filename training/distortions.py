"""What is done to training pictures: whole batches at once, on whatever device the pictures are on.

Source: `distorted_inputs` of the tutorial's cifar10_input.py, and TensorFlow's `random_crop`, `random_flip_left_right`,
`random_brightness` and `random_contrast`. There each picture is distorted by itself, by Python-driven graph nodes; here
one batch is a handful of tensor operations. Other recipes move pictures beyond their edges, and blank parts of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.device import sent
from training.recipe_parts import Distortions


@dataclass(frozen=True)
class Draws:
    """The random numbers of N pictures, one entry each, so that a distortion is a pure function of them."""

    top: Tensor  # int64 [N], first row of the crop, counted from the first row of the mirrored margin
    left: Tensor  # int64 [N], first column of the crop
    flip: Tensor  # bool [N]
    brightness: Tensor  # float32 [N], added to every pixel, scale 0..255
    contrast: Tensor  # float32 [N], factor on the distance from the channel's mean
    blank_top: Tensor  # int64 [N], first row of the square that is blanked
    blank_left: Tensor  # int64 [N], its first column

    def __getitem__(self, part: slice) -> Draws:
        return Draws(*(values[part] for values in self.tensors()))

    def to(self, device: torch.device) -> Draws:
        return Draws(*(sent(values, device) for values in self.tensors()))

    def clone(self) -> Draws:
        return Draws(*(values.clone() for values in self.tensors()))

    def followed_by(self, other: Draws) -> Draws:
        return Draws(*(torch.cat(pair) for pair in zip(self.tensors(), other.tensors(), strict=True)))

    def tensors(self) -> tuple[Tensor, ...]:
        return self.top, self.left, self.flip, self.brightness, self.contrast, self.blank_top, self.blank_left


def draw(distortions: Distortions, count: int, image_size: int, generator: torch.Generator) -> Draws:
    """Draws for `count` square pictures of `image_size` pixels a side, on the generator's device."""
    low, high = distortions.contrast
    crop_size = distortions.crop_size or image_size
    offsets = image_size + 2 * _margin(distortions, image_size) - crop_size + 1
    places = crop_size - _blank_side(distortions, crop_size) + 1
    return Draws(
        top=torch.randint(offsets, (count,), generator=generator),
        left=torch.randint(offsets, (count,), generator=generator),
        flip=(torch.rand(count, generator=generator) < 0.5) & (distortions.flip == "random"),
        brightness=(torch.rand(count, generator=generator) * 2 - 1) * distortions.brightness,
        contrast=low + (high - low) * torch.rand(count, generator=generator),
        blank_top=torch.randint(places, (count,), generator=generator),
        blank_left=torch.randint(places, (count,), generator=generator),
    )


def distorted_inputs(images: Tensor, index: Tensor, draws: Draws, distortions: Distortions) -> Tensor:
    """What becomes of the pictures `images[index]`, all but the blank square, which `blanked` adds.

    images: uint8 [M, 3, H, H], the whole split; index: int64 [N]; draws: of N pictures. All on one device.
    Returns float32 [N, 3, S, S], shades of 0 to 255 or thereabouts, S the size of the crop.
    """
    crops = _crops(images, index, draws, distortions).float()
    if distortions.brightness or distortions.contrast != (1.0, 1.0):
        crops = adjust(crops, draws.brightness, draws.contrast)
    return crops


def blanked(images: Tensor, draws: Draws, distortions: Distortions) -> Tensor:
    """A square of each picture set to zero, which, once they are normalized, is the mean of all.

    images: float32 [N, 3, S, S]; returns the same. Source: DeVries, Taylor: Improved Regularization of Convolutional
    Neural Networks with Cutout, 2017; here the square lies wholly inside the picture, as in airbench.
    """
    side = _blank_side(distortions, images.shape[-1])
    if not side:
        return images
    position = torch.arange(images.shape[-1], device=images.device)
    rows = (position >= draws.blank_top[:, None]) & (position < draws.blank_top[:, None] + side)
    columns = (position >= draws.blank_left[:, None]) & (position < draws.blank_left[:, None] + side)
    # Filled in a copy, whose memory is laid out alike: masked_fill's own result would be contiguous.
    return images.clone().masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], 0)


def _margin(distortions: Distortions, image_size: int) -> int:
    return round(distortions.translate * image_size)


def _blank_side(distortions: Distortions, size: int) -> int:
    return round(distortions.cutout * size)


def _crops(images: Tensor, index: Tensor, draws: Draws, distortions: Distortions) -> Tensor:
    """uint8 [N, 3, S, S], a square of each picture and of the margin around it, in which its edge is mirrored.

    Some are flipped, from left to right.
    """
    side = images.shape[-1]
    crop_size, margin = distortions.crop_size or side, _margin(distortions, side)
    if not margin:
        windows = images.unfold(2, crop_size, 1).unfold(3, crop_size, 1)  # a view: every crop of every picture
        crops = windows[index, :, draws.top, draws.left]
        return torch.where(draws.flip[:, None, None, None], crops.flip(3), crops)
    position = torch.arange(crop_size, device=images.device) - margin
    rows, columns = (_mirrored(first[:, None] + position, side) for first in (draws.top, draws.left))
    columns = torch.where(draws.flip[:, None], columns.flip(1), columns)
    channels = torch.arange(3, device=images.device)
    return images[
        index[:, None, None, None], channels[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]


def _mirrored(position: Tensor, side: int) -> Tensor:
    """Positions beyond the edges, as in a mirror that stands on the outermost pixel."""
    inside = position.abs()
    return torch.where(inside < side, inside, 2 * (side - 1) - inside)


def adjust(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Brightness, then contrast: (x + b - mean) * c + mean, mean over each channel of x + b; nothing is clipped.

    images: float32 [N, 3, H, W]; brightness, contrast: float32 [N]. Source: `tf.image.adjust_brightness` and
    `tf.image.adjust_contrast`. The standardization that follows takes the brightness out again; it is kept because the
    tutorial has it and other normalizations keep it.
    """
    images = images + brightness[:, None, None, None]
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.lerp(mean, images, contrast[:, None, None, None])
