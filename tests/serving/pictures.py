"""Pictures to send."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image


def encode(pixels: np.ndarray[Any, Any] | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def flat(color: tuple[int, ...], size: tuple[int, int] = (32, 32)) -> np.ndarray[Any, Any]:
    """A picture of one colour: uint8 [H, W, 3] of ``size`` (width, height)."""
    return np.full((size[1], size[0], 3), color, np.uint8)


RED, GREEN, BLUE = encode(flat((200, 30, 20))), encode(flat((30, 190, 20))), encode(flat((20, 30, 210)))
