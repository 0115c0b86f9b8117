"""One picture file -> the square that is stored, trained on and tested with.

The rule, which the server follows for the pictures that it is sent (serving/picture.py), to the byte: a network is to
see the same pixels of the same file in both places.

1. The first frame, or page, of what the file's content says it is: PNG, JPEG, WebP, GIF or BMP.
2. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, as long as both sides stay at REDUCING_GAP times the square's.
3. Palettes and single bits become RGB, or RGBA where anything in them is transparent, before anything is averaged.
4. The central part that has the square's shape is scaled to it: a box filter down to REDUCING_GAP times the square's
   side, where the picture is larger, then Pillow's bicubic filter, which looks at all pixels. One that has the size
   already keeps its pixels.
5. 16 bits a channel are rounded to 8; what is transparent is blended over white; grey becomes RGB.
6. It is turned upright, as EXIF (or XMP) says. Colour profiles are not applied.
"""

from __future__ import annotations

from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

RULE_VERSION = 1  # to be raised with every change of what comes out: what is in caches is then decoded again
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
REDUCING_GAP = 3.0

_EXIF_ORIENTATION = 0x0112
_ORIENTED_BY = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow's getexif looks
_LONGEST_ORIENTATION = 65_536  # bytes; in a longer text the server does not look
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def square_rgb(file: IO[bytes], side: int) -> NDArray[np.uint8]:
    """uint8 [side, side, 3].

    Raises whatever Pillow raises for a file that is damaged, truncated or no picture (OSError, SyntaxError, ValueError,
    struct.error, …), and Image.DecompressionBombError for one of more than twice Image.MAX_IMAGE_PIXELS.
    """
    with Image.open(file, formats=FORMATS) as picture:
        if isinstance(picture, JpegImageFile):
            picture.draft(None, (int(side * REDUCING_GAP), int(side * REDUCING_GAP)))
        picture.load()
        orientation = _orientation(picture)  # of a PNG it may stand behind the pixels
        square = _rgb(_fitted(_averageable(picture), side))
        if orientation in _TURNS:
            square = square.transpose(_TURNS[orientation])
        return np.asarray(square, dtype=np.uint8)


def _averageable(picture: Image.Image) -> Image.Image:
    if picture.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):
        return picture
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture.convert("L" if picture.mode == "1" else "RGB")


def _fitted(picture: Image.Image, side: int) -> Image.Image:
    if picture.size == (side, side):
        return picture
    width, height = picture.size
    scale = min(width / side, height / side)
    left, top = (width - side * scale) / 2, (height - side * scale) / 2
    box = (max(left, 0), max(top, 0), min(left + side * scale, width), min(top + side * scale, height))
    # Pillow cannot reduce 16-bit pictures.
    gap = None if picture.mode.startswith("I;16") else REDUCING_GAP
    return picture.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=gap)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        wide = np.asarray(picture, dtype=np.uint32)
        picture = Image.fromarray(((wide * 255 + 32_767) // 65_535).astype(np.uint8))
    if picture.mode in ("LA", "RGBA"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def _orientation(picture: Image.Image) -> int:
    """As EXIF numbers them; 1 is upright."""
    found = _ORIENTED_BY & picture.info.keys()
    # Pillow joins the pieces of a JPEG's EXIF, of which the first alone tells the orientation.
    if not isinstance(picture, JpegImageFile) and any(len(picture.info[key]) > _LONGEST_ORIENTATION for key in found):
        return 1
    return int(picture.getexif().get(_EXIF_ORIENTATION, 1)) if found else 1
