"""A small picture in every format, and every variant of it that its format has."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.serving.hostile_pictures import SIGNATURE, chunk, png_of_zeros, run_length_bitmap
from tests.serving.pictures import encode


@cache
def variants() -> dict[str, bytes]:
    """All of them, by name."""
    return _png() | _jpeg() | _webp() | _gif() | _bmp()


def _picture() -> Image.Image:
    noise = np.random.default_rng(3).integers(0, 256, (24, 20, 4), dtype=np.uint8)
    return Image.fromarray(noise)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x0128], exif[0x010E] = 6, 72.0, 2, "a picture"
    return exif


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _encode_all(kind: str, picture: Image.Image, **options: dict[str, Any]) -> dict[str, bytes]:
    return {f"{kind} {name}": encode(picture, kind, **chosen) for name, chosen in options.items()}


def _png() -> dict[str, bytes]:
    picture = _picture()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "long " * 50, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3"/>')
    raw = PngImagePlugin.PngInfo()
    raw.add_text("Raw profile type exif", f"\nexif\n 99\n{_exif().tobytes().hex()}", zip=True)
    modes = {f"PNG {mode}": encode(picture.convert(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")}
    modes["PNG I;16"] = encode(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))  # width and height of Adam7's, in 8 x 8 pixels
    rows = b"".join(bytes(1 + width) * height for width, height in passes)
    interlaced = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")
    deep = {f"PNG 16-bit {color}": png_of_zeros(9, 7, 16, color) for color in (2, 4, 6)}
    metadata = _encode_all(
        "PNG",
        picture.convert("RGB"),
        exif={"exif": _exif()},
        profile={"icc_profile": _profile()},
        texts={"pnginfo": texts},
        raw={"pnginfo": raw},
        transparency={"transparency": (1, 2, 3)},
        animated={"save_all": True, "append_images": [picture.convert("RGB").rotate(90)]},
    )
    return modes | deep | metadata | {"PNG interlaced": interlaced}


def _jpeg() -> dict[str, bytes]:
    picture = _picture()
    pictures = _encode_all(
        "JPEG",
        picture.convert("RGB"),
        plain={},
        progressive={"progressive": True},
        restarts={"restart_marker_blocks": 1},
        full={"subsampling": 0},
        exif={"exif": _exif()},
        profile={"icc_profile": _profile()},
        comment={"comment": b"a picture"},
    )
    pictures["JPEG gray"] = encode(picture.convert("L"), "JPEG")
    pictures["JPEG cmyk"] = encode(picture.convert("CMYK"), "JPEG", progressive=True)
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "MPO", save_all=True, append_images=[picture.convert("RGB")])
    return pictures | {"JPEG of two": buffer.getvalue()}


def _webp() -> dict[str, bytes]:
    picture = _picture()
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "lossless": {"lossless": True},
        "metadata": {"exif": _exif(), "icc_profile": _profile(), "xmp": b'<x tiff:Orientation="3"/>'},
        "animated": {"save_all": True, "append_images": [picture.rotate(90)]},
    }
    opaque = {f"{name} opaque": data for name, data in _encode_all("WEBP", picture.convert("RGB"), **options).items()}
    return opaque | _encode_all("WEBP", picture, **options)


def _gif() -> dict[str, bytes]:
    picture = _picture().convert("RGB").quantize(16)
    return _encode_all(
        "GIF",
        picture,
        plain={"interlace": 0},
        interlaced={"interlace": 1},
        comment={"comment": b"a picture"},
        transparent={"transparency": 3},
        animated={"save_all": True, "append_images": [picture.rotate(90)], "disposal": 2, "loop": 0},
    )


def _bmp() -> dict[str, bytes]:
    picture = _picture()
    modes = {f"BMP {mode}": encode(picture.convert(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")}
    runs = b"\5\1\3\2\0\4\1\2\3\4\10\3\0\0" * 9 + b"\0\2\0\1\0\1"  # the last row is jumped over
    header = struct.pack("<2sIHHI", b"BM", 26 + 3 * 8 * 8, 0, 0, 26) + struct.pack("<IHHHH", 12, 8, 8, 1, 24)
    return modes | {"BMP run-length": run_length_bitmap(20, 10, runs), "BMP of OS/2": header + bytes(192)}
