"""Which pictures the event loop decodes itself: small, plain ones, and nothing that could keep it."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from serving.cheap_picture import MAX_BYTES, MAX_PIXELS, is_cheap
from serving.picture import BrokenPicture, decode_picture, decode_small
from tests.serving.hostile_pictures import jpeg_of_two_frames, png_of_two_headers
from tests.serving.pictures import encode, flat

SMALL = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
NOISE = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)


def with_text() -> bytes:
    """A small PNG whose text inflates to a megabyte."""
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * 1_000_000, zip=True)
    buffer = BytesIO()
    Image.fromarray(SMALL).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        encode(SMALL),
        encode(Image.fromarray(SMALL).convert("P")),
        encode(Image.fromarray(SMALL).convert("RGBA"), dpi=(72, 72)),
        encode(SMALL, "JPEG"),
        encode(Image.fromarray(SMALL).convert("L"), "JPEG", comment=b"made by hand"),
        encode(flat((1, 2, 3), (128, 128)), "JPEG"),
    ],
)
def test_small_plain_pictures_are_cheap(data: bytes) -> None:
    assert is_cheap(data)


@pytest.mark.parametrize(
    "data",
    [
        encode(flat((1, 2, 3), (129, 128))),
        encode(flat((1, 2, 3), (129, 128)), "JPEG"),
        encode(NOISE),
        encode(SMALL, "JPEG", progressive=True),
        encode(SMALL, "WEBP"),
        encode(SMALL, "GIF"),
        encode(SMALL, "BMP"),
        with_text(),
        encode(SMALL, "JPEG").replace(b"\xff\xda", b"\xff\xda\xff\xda\xff\xda\xff\xda\xff\xda"),
        b"",
        b"no picture",
    ],
    ids=["pixels", "jpeg-pixels", "bytes", "progressive", "webp", "gif", "bmp", "text", "scans", "empty", "text-file"],
)
def test_everything_else_is_not(data: bytes) -> None:
    assert not is_cheap(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_no_truncated_file_makes_it_fail(kind: str) -> None:
    data = encode(SMALL, kind)

    verdicts = [is_cheap(data[:length]) for length in range(len(data) + 1)]

    assert len(data) < MAX_BYTES
    assert (verdicts[0], verdicts[-1]) == (False, True)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_small_picture_is_decoded_like_any_other(kind: str) -> None:
    data = encode(SMALL, kind)

    decoded = decode_small(data, (24, 24), 40_000_000, MAX_PIXELS)

    assert decoded is not None
    assert np.array_equal(decoded, decode_picture(data, (24, 24), 40_000_000))


@pytest.mark.parametrize(("width", "is_decoded"), [(128, True), (129, False)])
def test_as_many_pixels_as_allowed_are_decoded(width: int, is_decoded: bool) -> None:
    decoded = decode_small(encode(flat((1, 2, 3), (width, 128))), (32, 32), 40_000_000, MAX_PIXELS)

    assert (decoded is not None) == is_decoded


def test_what_lies_about_its_size_is_not_decoded() -> None:
    jpeg, png = jpeg_of_two_frames(8000, 5000), png_of_two_headers(8000, 5000)
    assert is_cheap(jpeg)
    assert is_cheap(png)
    assert decode_small(jpeg, (32, 32), 40_000_000, MAX_PIXELS) is None
    with pytest.raises(BrokenPicture):
        decode_small(png, (32, 32), 40_000_000, MAX_PIXELS)
