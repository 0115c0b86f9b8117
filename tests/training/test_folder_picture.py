"""A network sees the same pixels of a file wherever it meets it: in training, and in the server."""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from serving.picture import decode_picture
from tests.serving.picture_variants import variants
from training.folder.picture import square_rgb

MAX_PIXELS = 40_000_000


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Soft shapes and sharp noise, so that every way of scaling gives other pixels."""
    random = np.random.default_rng(width * height)
    coarse = Image.fromarray(random.integers(0, 256, (9, 12, 4), dtype=np.uint8)).resize((width, height))
    fine = Image.fromarray(random.integers(0, 256, (height, width, 4), dtype=np.uint8))
    return Image.blend(coarse, fine.filter(ImageFilter.SHARPEN), 0.3).convert(mode)


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@cache
def zoo() -> dict[str, bytes]:
    """Every variant of every format as a small picture; and large ones, long ones, turned ones."""
    large = photo(1100, 740)
    with_alpha = photo(300, 210, "RGBA")
    palette = photo(200, 150).quantize(64)
    pictures = dict(variants())
    for orientation in range(1, 9):
        pictures[f"JPEG orientation {orientation}"] = encode(large, "JPEG", exif=turned(orientation))
        pictures[f"PNG orientation {orientation}"] = encode(photo(90, 61), "PNG", exif=turned(orientation))
        pictures[f"WebP orientation {orientation}"] = encode(photo(90, 61), "WEBP", exif=turned(orientation))
    for width, height in [(1, 1), (1, 700), (700, 1), (31, 33), (32, 32), (64, 64), (65, 64), (2000, 40), (224, 224)]:
        for kind in ("PNG", "JPEG"):
            pictures[f"{kind} {width} x {height}"] = encode(photo(width, height), kind)
    pictures |= {
        "JPEG large": encode(large, "JPEG", quality=90),
        "JPEG large progressive": encode(large, "JPEG", progressive=True),
        "JPEG large grey": encode(large.convert("L"), "JPEG"),
        "JPEG large CMYK": encode(large.convert("CMYK"), "JPEG"),
        "JPEG large with a preview": encode(large, "MPO", save_all=True, append_images=[photo(160, 120)]),
        "JPEG in two scans": encode(large, "JPEG", progressive=True, subsampling=0, exif=turned(6)),
        "JPEG with a long EXIF": encode(large, "JPEG", exif=turned(8).tobytes() + bytes(60_000)),
        "PNG with a longer EXIF": encode(photo(80, 50), "PNG", exif=turned(8).tobytes() + bytes(70_000)),
        "PNG large": encode(large, "PNG", compress_level=1),
        "PNG transparent": encode(with_alpha, "PNG"),
        "PNG grey and transparent": encode(with_alpha.convert("LA"), "PNG"),
        "PNG palette": encode(palette, "PNG"),
        "PNG palette, one color transparent": encode(palette, "PNG", transparency=7),
        "PNG palette, half transparent": encode(palette, "PNG", transparency=bytes(range(0, 256, 4))),
        "PNG single bits": encode(photo(333, 200, "1"), "PNG"),
        "PNG grey, one grey transparent": encode(photo(99, 70, "L"), "PNG", transparency=80),
        "PNG 16 bits, large": encode(
            Image.fromarray(np.random.default_rng(1).integers(0, 65_536, (300, 420), dtype=np.uint16)), "PNG"
        ),
        "WebP transparent": encode(with_alpha, "WEBP"),
        "WebP large": encode(large, "WEBP"),
        "GIF of frames": encode(palette, "GIF", save_all=True, append_images=[palette.rotate(90)], disposal=3),
        "GIF large, transparent": encode(photo(500, 400).quantize(32), "GIF", transparency=3),
        "BMP large": encode(large, "BMP"),
        "BMP transparent": encode(with_alpha, "BMP"),
    }
    return pictures


@pytest.mark.parametrize("side", [32, 64, 224])
@pytest.mark.parametrize("name", sorted(zoo()))
def test_same_pixels_as_the_server(name: str, side: int) -> None:
    data = zoo()[name]
    served = decode_picture(data, (side, side), MAX_PIXELS)
    stored = square_rgb(io.BytesIO(data), side)
    assert stored.shape == (side, side, 3)
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, served)


def test_a_picture_that_has_the_size_keeps_its_pixels() -> None:
    picture = photo(48, 48)
    assert np.array_equal(square_rgb(io.BytesIO(encode(picture, "PNG")), 48), np.asarray(picture))


def test_center_upright_and_on_white() -> None:
    """Left to right: red, transparent, blue; stored lying on its right side."""
    picture = Image.new("RGBA", (96, 32), (255, 0, 0, 255))
    picture.paste((9, 9, 9, 0), (32, 0, 64, 32))
    picture.paste((0, 0, 255, 255), (64, 0, 96, 32))
    center = square_rgb(io.BytesIO(encode(picture, "PNG")), 32)
    assert (center[:, 1:-1] == 255).all()
    lying = picture.transpose(Image.Transpose.ROTATE_90).crop((0, 0, 32, 64))
    upright = square_rgb(io.BytesIO(encode(lying, "PNG", exif=turned(6))), 64)
    assert upright.shape == (64, 64, 3)
    assert upright[32, 60, 2] > upright[32, 60, 0]  # the blue end is to the right


def test_a_huge_picture_is_not_decoded() -> None:
    header = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 30_000, 30_000, 1, 24, *[0] * 6
    )
    with pytest.raises(Image.DecompressionBombError):
        square_rgb(io.BytesIO(header), 32)
