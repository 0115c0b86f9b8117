"""Untrusted bytes -> uint8 [height, width, 3] RGB, or a clear refusal.

The header is checked against the limits before anything is decoded, and nothing that Pillow raises gets
through unnamed.
"""

import contextlib
import io
import re
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
FORMATS_IN_WORDS = "PNG, JPEG, WebP, GIF and BMP"
# A row of pixels costs memory of its own, whatever its width; JPEG and GIF end at 65,535 anyway.
MAX_SIDE = 65_535
# Each scan of a progressive JPEG is a pass over the whole picture, and costs its sender a few bytes. Encoders
# write about ten.
MAX_JPEG_SCANS = 100
# Decoding and reducing stop at this many times the wanted size, where the final filter takes over.
REDUCING_GAP = 3.0
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
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


class UnreadableType(Exception):
    """A picture, but of a format that is not read; the text is one sentence."""


class BrokenPicture(Exception):
    """Not a picture, or a damaged or truncated one; the text is one sentence."""


class TooManyPixels(Exception):
    """A picture of too many pixels; the text is one sentence."""


class LargePicture(Exception):
    """The picture is larger than its caller wants to decode itself."""


def decode_picture(
    data: bytes, size: tuple[int, int], max_pixels: int, most_pixels: int | None = None
) -> NDArray[np.uint8]:
    """Decode the first frame of ``data`` to uint8 [height, width, 3] RGB, where ``size`` is (height, width).

    The picture is turned upright (EXIF), scaled with antialiasing until it covers ``size``, center-cropped,
    and blended over white where it is transparent. One that has ``size`` already keeps its pixels. A side
    longer than ``MAX_SIDE`` counts as too many pixels. Colour profiles are not applied.

    Raises UnreadableType, BrokenPicture or TooManyPixels; LargePicture, before decoding, beyond ``most_pixels``.
    """
    with _refusals(data):
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_limits(picture, data, max_pixels)
            if most_pixels is not None and picture.width * picture.height > most_pixels:
                raise LargePicture
            if picture.format == "PNG":
                picture.load()  # what tells the orientation may stand behind the pixels
            orientation = _orientation(picture)
            turned = orientation in (5, 6, 7, 8)
            stored_size = size if turned else (size[1], size[0])
            if picture.format == "JPEG":
                picture.draft(None, (int(stored_size[0] * REDUCING_GAP), int(stored_size[1] * REDUCING_GAP)))
            picture.load()
            fitted = _to_rgb(_fit(_resizable(picture), stored_size))
        if orientation in TRANSPOSITIONS:
            fitted = fitted.transpose(TRANSPOSITIONS[orientation])
        if data.startswith(PNG_SIGNATURE):
            _verify_png(data)
    return np.asarray(fitted, dtype=np.uint8)


def _orientation(picture: Image.Image) -> int:
    """As EXIF numbers them; 1 is upright. Looked for only where there is something to look in: it takes a while."""
    if not picture.info.keys() & ORIENTED_BY:
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
    if picture.format == "JPEG" and data.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise BrokenPicture(f"The JPEG has more than {MAX_JPEG_SCANS} scans, which no encoder writes.")


def _verify_png(data: bytes) -> None:
    """Check every chunk's checksum, and that the last chunk is there: decoding alone leaves that out."""
    begin = len(PNG_SIGNATURE)
    while begin + 12 <= len(data):  # length, type and checksum of a chunk; PNG specification, section 5.3
        end = begin + 8 + int.from_bytes(data[begin : begin + 4])
        if zlib.crc32(memoryview(data)[begin + 4 : end]) != int.from_bytes(data[end : end + 4]):
            break
        if data[begin + 4 : begin + 8] == b"IEND":
            return
        begin = end + 4
    raise BrokenPicture("The PNG is truncated, or a checksum in it is wrong.")


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


def _is_svg(beginning: bytes) -> bool:
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text


@contextlib.contextmanager
def _refusals(data: bytes) -> Iterator[None]:
    """Name everything that Pillow raises."""
    try:
        yield
    except (UnreadableType, BrokenPicture, TooManyPixels, LargePicture):
        raise
    except UnidentifiedImageError:
        if OTHER_PICTURE.match(data) or _is_svg(data[:2048]):
            raise UnreadableType(f"This picture format is not read; {FORMATS_IN_WORDS} are.") from None
        raise BrokenPicture("This is not a picture, or its beginning is damaged.") from None
    except Image.DecompressionBombError:
        raise TooManyPixels("The picture has far more pixels than allowed.") from None
    except Exception:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, MemoryError and more.
        raise BrokenPicture("The picture is damaged or truncated.") from None
