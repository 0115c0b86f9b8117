"""Untrusted bytes -> uint8 [height, width, 3] RGB, or a clear refusal.

The header is checked against the limits before anything is decoded, and nothing that Pillow raises gets
through unnamed.
"""

import re
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.BmpImagePlugin import BmpImageFile

from serving.picture_container import MAX_ORIENTATION_BYTES, DamagedContainer, opened
from serving.picture_fitting import REDUCING_GAP, fitted_rgb
from serving.pixel_budget import SMALL_PIXELS, PixelBudget

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
FORMATS_IN_WORDS = "PNG, JPEG, WebP, GIF and BMP"
# A row of pixels costs memory of its own, whatever its width; JPEG and GIF end at 65,535 anyway.
MAX_SIDE = 65_535
# Each scan of a progressive JPEG is a pass over the whole picture, and costs its sender a few bytes. Encoders
# write about ten.
MAX_JPEG_SCANS = 50
# Pillow fills a run-length bitmap's rows one pixel after the other.
MAX_RUN_LENGTH_PIXELS = 1_000_000
RUN_LENGTHS = (BmpImageFile.COMPRESSIONS["RLE8"], BmpImageFile.COMPRESSIONS["RLE4"])
EXIF_ORIENTATION = 0x0112
ORIENTED_BY = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow's getexif looks
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OTHER_PICTURE = re.compile(
    rb"(II\*\0|MM\0\*|II\+\0|MM\0\+)"  # TIFF and BigTIFF
    rb"|8BP[SB]"  # Photoshop
    rb"|\0\0[\1\2]\0[^\0]\0?"  # ICO and CUR
    rb"|\0\0\0.ftyp(avif|avis|heic|heix|hevc|mif1|msf1|crx )"  # AVIF, HEIF, Canon raw
    rb"|\0\0\0\x0cjP  |\xff\x4f\xff\x51"  # JPEG 2000
    rb"|\0\0\0\x0cJXL |\xff\x0a"  # JPEG XL
    rb"|P[1-7][ \t\r\n#]|qoif|DDS |\x76\x2f\x31\x01|icns|FORM....ILBM",  # Netpbm, QOI, DDS, OpenEXR, ...
    re.DOTALL,
)

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")

# Pieces of Pillow's pictures in bytes: the C library gives those beyond 32 MB back to the system as soon as they are
# freed, and smaller ones when it likes, for each thread.
Image.core.set_block_size(64 * 2**20)  # type: ignore[attr-defined]
# One process has one memory.
_BUDGET = PixelBudget()


class UnreadableType(Exception):
    """A picture, but of a format that is not read; the text is one sentence."""


class BrokenPicture(Exception):
    """Not a picture, or a damaged or truncated one; the text is one sentence."""


class TooManyPixels(Exception):
    """A picture of too many pixels; the text is one sentence."""


class _LargePicture(Exception):
    """The picture is not decoded before there is room for it."""

    def __init__(self, pixels: int) -> None:
        """``pixels``: how many are in memory while it is decoded."""
        super().__init__()
        self.pixels = pixels


def decode_picture(data: bytes, size: tuple[int, int], max_pixels: int) -> NDArray[np.uint8]:
    """Decode the first frame of ``data`` to uint8 [height, width, 3] RGB, where ``size`` is (height, width).

    The picture is turned upright (EXIF), scaled with antialiasing until it covers ``size``, center-cropped,
    and blended over white where it is transparent. One that has ``size`` already keeps its pixels. A side
    longer than ``MAX_SIDE`` counts as too many pixels. Colour profiles are not applied.

    Raises UnreadableType, BrokenPicture or TooManyPixels.
    """
    try:
        return _decode(data, size, max_pixels, SMALL_PIXELS)
    except _LargePicture as large:
        pixels = large.pixels
    with _BUDGET.room_for(pixels, max_pixels):
        return _decode(data, size, max_pixels, max_pixels)


def decode_small(data: bytes, size: tuple[int, int], max_pixels: int, most: int) -> NDArray[np.uint8] | None:
    """Decode the same of a picture of ``most`` pixels at most; return None where it has more.

    That is decided by what Pillow has read of the file, before anything is decoded. Raises UnreadableType,
    BrokenPicture or TooManyPixels.
    """
    try:
        return _decode(data, size, max_pixels, most)
    except _LargePicture:
        return None


def _decode(data: bytes, size: tuple[int, int], max_pixels: int, most_pixels: int) -> NDArray[np.uint8]:
    try:
        with Image.open(opened(data), formats=FORMATS) as picture:
            _check_limits(picture, data, max_pixels)
            if picture.width * picture.height > most_pixels:
                raise _LargePicture(_pixels_in_memory(picture, size))
            return _scaled(picture, size)
    except (UnreadableType, BrokenPicture, TooManyPixels, _LargePicture):
        raise
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, MemoryError and more.
        raise _refusal(error, data) from None


def _scaled(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    _reduce(picture, size)
    picture.load()
    orientation = _orientation(picture)  # of a PNG it may stand behind the pixels
    fitted = fitted_rgb(picture, _stored_size(size, orientation))
    if orientation in TRANSPOSITIONS:
        fitted = fitted.transpose(TRANSPOSITIONS[orientation])
    return np.asarray(fitted, dtype=np.uint8)


def _pixels_in_memory(picture: Image.Image, size: tuple[int, int]) -> int:
    """How many there are while it is decoded; of a progressive JPEG all, whatever it is reduced to."""
    pixels = picture.width * picture.height
    _reduce(picture, size)
    return pixels if "progressive" in picture.info else picture.width * picture.height


def _reduce(picture: Image.Image, size: tuple[int, int]) -> None:
    """Have a JPEG decoded at an eighth of its size, or so."""
    if picture.format == "JPEG":
        across, down = _stored_size(size, _orientation(picture))
        picture.draft(None, (int(across * REDUCING_GAP), int(down * REDUCING_GAP)))


def _stored_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of what becomes (height, width) when it is turned upright."""
    return size if orientation in (5, 6, 7, 8) else (size[1], size[0])


def _orientation(picture: Image.Image) -> int:
    """As EXIF numbers them; 1 is upright. Looked for only where there is something to look in: it takes a while."""
    if ORIENTED_BY.isdisjoint(picture.info):
        return 1
    if any(len(picture.info[key]) > MAX_ORIENTATION_BYTES for key in ORIENTED_BY & picture.info.keys()):
        return 1
    return int(picture.getexif().get(EXIF_ORIENTATION, 1))


def _check_limits(picture: Image.Image, data: bytes, max_pixels: int) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise BrokenPicture("The picture has no pixels.")
    if width * height > max_pixels:
        raise TooManyPixels(
            f"The picture has {width} x {height} pixels, over the {max_pixels / 1e6:g} megapixels allowed."
        )
    if max(width, height) > MAX_SIDE:
        raise TooManyPixels(f"The picture has {width} x {height} pixels, more than {MAX_SIDE} on one side.")
    if (
        picture.format == "BMP"
        and picture.info["compression"] in RUN_LENGTHS
        and width * height > MAX_RUN_LENGTH_PIXELS
    ):
        raise TooManyPixels(f"The run-length bitmap has more than {MAX_RUN_LENGTH_PIXELS / 1e6:g} megapixels.")
    if picture.format == "JPEG" and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise BrokenPicture(f"The JPEG has more than {MAX_JPEG_SCANS} scans, which no encoder writes.")


def _is_svg(beginning: bytes) -> bool:
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text


def _refusal(error: Exception, data: bytes) -> Exception:
    """Name what Pillow raised."""
    if isinstance(error, DamagedContainer):
        return BrokenPicture(str(error))
    if isinstance(error, Image.DecompressionBombError):
        return TooManyPixels("The picture has far more pixels than allowed.")
    if not isinstance(error, UnidentifiedImageError):
        return BrokenPicture("The picture is damaged or truncated.")
    if OTHER_PICTURE.match(data) or _is_svg(data[:2048]):
        return UnreadableType(f"This picture format is not read; {FORMATS_IN_WORDS} are.")
    return BrokenPicture("This is not a picture, or its beginning is damaged.")
