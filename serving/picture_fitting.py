"""A picture of any size and mode -> RGB of the size that the network takes."""

import numpy as np
from PIL import Image

# Decoding and reducing stop at this many times the wanted size, where the final filter takes over.
REDUCING_GAP = 3.0


def fitted_rgb(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale ``picture`` until it covers ``size`` (width, height), center-crop, and put it on white."""
    return _to_rgb(_fit(_resizable(picture), size))


def _resizable(picture: Image.Image) -> Image.Image:
    """Return a picture whose mode can be averaged: palettes and single bits cannot."""
    if picture.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):
        return picture
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale and center-crop to ``size`` (width, height) in one step, with no huge picture in between."""
    if picture.size == size:
        return picture
    scale = min(picture.width / size[0], picture.height / size[1])
    left, top = (picture.width - size[0] * scale) / 2, (picture.height - size[1] * scale) / 2
    box = (left, top, left + size[0] * scale, top + size[1] * scale)
    box = (max(box[0], 0), max(box[1], 0), min(box[2], picture.width), min(box[3], picture.height))
    # Pillow cannot reduce 16-bit pictures.
    gap = None if picture.mode.startswith("I;16") else REDUCING_GAP
    return picture.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=gap)


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Convert L, LA, RGB, RGBA or I;16 to RGB; transparency becomes white, 16 bits are scaled to 8."""
    if picture.mode.startswith("I;16"):
        wide = np.asarray(picture, dtype=np.uint32)
        picture = Image.fromarray(((wide * 255 + 32_767) // 65_535).astype(np.uint8))
    if picture.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")
