"""Pictures as data URIs."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_SIDE = 8  # screen pixels for each weight of a filter


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """pixels: uint8 [H, W, 3] or, with transparency, [H, W, 4]; losslessly, as a PNG."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def stored_picture(image: Tensor) -> str:
    """image: uint8 [3, H, W], as data sets hold them."""
    return data_uri(image.permute(1, 2, 0).cpu().contiguous().numpy())


def filters_picture(weights: Tensor) -> str:
    """All filters of a first layer, row by row, as near to a square as they go.

    weights: float32 [filters, 3, height, width]. Each filter is scaled by itself: its least weight is black, its
    greatest full colour; one whose weights are all the same is grey.
    """
    least, greatest = weights.amin(dim=(1, 2, 3), keepdim=True), weights.amax(dim=(1, 2, 3), keepdim=True)
    spread = greatest - least
    shares = torch.where(spread > 0, (weights - least) / spread.clamp(min=torch.finfo(weights.dtype).tiny), 0.5)
    tiles = (shares * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    tiles = tiles.repeat(_SIDE, axis=1).repeat(_SIDE, axis=2)
    filters, height, width, _ = tiles.shape
    columns = math.ceil(math.sqrt(filters))
    rows = math.ceil(filters / columns)
    sheet = np.zeros((rows * (height + _SIDE) - _SIDE, columns * (width + _SIDE) - _SIDE, 4), np.uint8)
    for position, tile in enumerate(tiles):
        top, left = position // columns * (height + _SIDE), position % columns * (width + _SIDE)
        sheet[top : top + height, left : left + width, :3] = tile
        sheet[top : top + height, left : left + width, 3] = 255
    return data_uri(sheet)
