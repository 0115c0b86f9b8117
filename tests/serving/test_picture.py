"""Every kind of picture that people have, and what the network gets to see of it."""

import io
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.picture import BrokenPicture, TooManyPixels, UnreadableType, decode_picture
from tests.serving.pictures import RED, encode, flat

LIMIT = 40_000_000
RANDOM = np.random.default_rng(2)
NOISE = RANDOM.integers(0, 256, (32, 32, 3), dtype=np.uint8)
ACROSS, DOWN = np.meshgrid(np.linspace(20, 230, 96), np.linspace(240, 10, 64))
SMOOTH = np.stack([ACROSS, DOWN, np.full((64, 96), 90)], axis=2).round().astype(np.uint8)


def decode(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    decoded = decode_picture(data, (32, 32), LIMIT)
    assert decoded.dtype == np.uint8
    assert decoded.shape == (32, 32, 3)
    return decoded


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("PNG", {"optimize": True}), ("BMP", {}), ("WEBP", {"lossless": True})],
)
def test_a_picture_of_the_right_size_keeps_its_pixels(kind: str, options: dict[str, Any]) -> None:
    assert np.array_equal(decode(encode(NOISE, kind, **options)), NOISE)


def test_an_opaque_alpha_channel_keeps_the_pixels() -> None:
    assert np.array_equal(decode(encode(Image.fromarray(NOISE).convert("RGBA"))), NOISE)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_equals_what_pillow_decodes(progressive: bool, subsampling: int) -> None:
    data = encode(NOISE, "JPEG", progressive=progressive, subsampling=subsampling)
    assert np.array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


def test_gray_one_bit_and_palette_pictures_keep_their_colors() -> None:
    gray = Image.fromarray(NOISE).convert("L")
    assert np.array_equal(decode(encode(gray)), np.repeat(np.asarray(gray)[..., None], 3, 2))
    bits = gray.convert("1")
    assert np.array_equal(decode(encode(bits)), np.asarray(bits.convert("RGB")))
    palette = Image.fromarray(NOISE).quantize(64)
    for kind in ("PNG", "GIF", "BMP"):
        assert np.array_equal(decode(encode(palette, kind)), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("size", [(32, 32), (96, 96), (640, 480)])
def test_sixteen_bit_gray_is_scaled_not_clipped(size: tuple[int, int]) -> None:
    ramp = np.linspace(0, 65535, size[0]).round().astype(np.uint16)
    decoded = decode(encode(np.tile(ramp, (size[1], 1))))
    as_bytes = encode(np.tile((ramp / 257).round().astype(np.uint8), (size[1], 1)))
    assert difference(decoded, decode(as_bytes)) <= 1


def test_transparency_becomes_white() -> None:
    clear = np.zeros((32, 32, 4), np.uint8)
    assert (decode(encode(clear)) == 255).all()
    half = np.full((32, 32, 4), (255, 0, 0, 128), np.uint8)
    assert difference(decode(encode(half)), flat((255, 127, 127))) <= 1
    assert difference(decode(encode(half, "WEBP", lossless=True)), flat((255, 127, 127))) <= 1
    gray = Image.merge("LA", [Image.new("L", (32, 32), 0), Image.new("L", (32, 32), 64)])
    assert difference(decode(encode(gray)), flat((191, 191, 191))) <= 1


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_color_becomes_white(kind: str) -> None:
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([10, 20, 30, 200, 30, 20])
    picture.paste(0, (0, 0, 16, 32))
    decoded = decode(encode(picture, kind, transparency=0))
    assert (decoded[:, :16] == 255).all()
    assert (decoded[:, 16:] == (200, 30, 20)).all()


def test_a_transparent_color_of_rgb_and_gray_png_becomes_white() -> None:
    assert (decode(encode(flat((1, 2, 3)), transparency=(1, 2, 3))) == 255).all()
    assert (decode(encode(Image.new("L", (32, 32), 7), transparency=7)) == 255).all()


def test_the_hidden_color_of_transparent_pixels_does_not_bleed() -> None:
    checkered = np.zeros((64, 64, 4), np.uint8)
    checkered[::2] = (255, 0, 0, 255)
    checkered[1::2] = (0, 255, 0, 0)
    decoded = decode(encode(checkered))
    assert difference(decoded[4:-4], flat((255, 127, 127))[4:-4]) <= 3


def test_cmyk_jpeg_is_read() -> None:
    data = encode(Image.fromarray(flat((200, 30, 20))).convert("CMYK"), "JPEG", quality=95)
    assert difference(decode(data), flat((200, 30, 20))) <= 6


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    # What a camera stores when the upright picture is SMOOTH.
    undo = {2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    upright = Image.fromarray(SMOOTH)
    transpositions = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    stored = upright.transpose(transpositions[undo[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, dict[str, Any]] = {
        "PNG": {},
        "JPEG": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
    }
    data = encode(stored, kind, exif=exif, **options[kind])
    assert difference(decode(data), decode(encode(upright))) <= 8


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (64, 96), (33, 32), (1000, 700), (16, 16), (20, 300), (7, 3)])
def test_scaling_covers_and_center_crops_with_antialiasing(size: tuple[int, int]) -> None:
    picture = Image.fromarray(SMOOTH).resize(size, Image.Resampling.BICUBIC)
    side = min(size)
    left, top = (size[0] - side) / 2, (size[1] - side) / 2
    box = (left, top, left + side, top + side)
    expected = picture.resize((32, 32), Image.Resampling.BICUBIC, box=box)
    assert difference(decode(encode(picture)), np.asarray(expected)) <= 3


def test_fine_stripes_average_out() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert difference(decode(encode(stripes)), flat((128, 128, 128))) <= 4


def test_a_huge_jpeg_looks_like_the_same_picture_as_png() -> None:
    big = Image.fromarray(SMOOTH).resize((2400, 1600), Image.Resampling.BICUBIC)
    assert difference(decode(encode(big, "JPEG", quality=95)), decode(encode(big))) <= 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.fromarray(flat(color)) for color in ((200, 30, 20), (20, 200, 30), (20, 30, 200))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode(data) == (200, 30, 20)).all()


def test_the_wanted_size_may_be_another() -> None:
    picture = np.zeros((50, 80, 3), np.uint8)
    picture[:, :40] = 255
    decoded = decode_picture(encode(picture), (10, 40), LIMIT)
    assert decoded.shape == (10, 40, 3)
    assert (decoded[:, :18] > 240).all()
    assert (decoded[:, 22:] < 15).all()


@pytest.mark.parametrize("size", [(40_000, 1), (1, 40_000), (65_535, 2)])
def test_extreme_shapes_are_cropped(size: tuple[int, int]) -> None:
    assert difference(decode(encode(flat((200, 30, 20), size))), flat((200, 30, 20))) <= 1


@pytest.mark.parametrize("size", [(1, 100_000), (1, 40_000_000), (6_400, 6_300), (70_000, 1), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int]) -> None:
    data = bytearray(RED)
    data[16:24] = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(TooManyPixels, match="pixels"):
        decode(bytes(data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    data = encode(NOISE, kind)
    # A GIF's last bytes end the file, not the picture.
    last = len(data) - (8 if kind == "GIF" else 0)
    for length in [*range(0, last, 41), last - 1]:
        with pytest.raises(BrokenPicture):
            decode(data[:length])


def test_a_flipped_bit_in_a_png_is_noticed() -> None:
    data = encode(NOISE)
    for position in range(8, len(data), 97):
        with pytest.raises((BrokenPicture, TooManyPixels)):
            decode(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    "data",
    [
        encode(NOISE, "TIFF"),
        encode(NOISE, "ICO"),
        encode(NOISE, "PPM"),
        encode(NOISE, "DDS"),
        encode(NOISE, "JPEG2000"),
        SVG,
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC "a" "b">\n' + SVG,
        b"8BPS\0\1" + bytes(100),
        b"\0\0\0\x20ftypavif" + bytes(100),
        b"\0\0\0\x18ftypheic" + bytes(100),
    ],
)
def test_pictures_of_other_kinds_are_told_apart(data: bytes) -> None:
    with pytest.raises(UnreadableType, match="PNG, JPEG, WebP, GIF and BMP are"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [b"x", b"hello, world", b"%PDF-1.7\n", b"PK\3\4" + bytes(50), bytes(5000), b"<html><svg></svg></html>"],
)
def test_what_is_no_picture_is_told_so(data: bytes) -> None:
    with pytest.raises(BrokenPicture, match="not a picture"):
        decode(data)


def test_a_jpeg_of_thousands_of_scans_is_refused_quickly() -> None:
    data = encode(flat((200, 30, 20), (4000, 4000)), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(BrokenPicture, match="scans"):
        decode(data[:-2] + scan * 1000 + b"\xff\xd9")
