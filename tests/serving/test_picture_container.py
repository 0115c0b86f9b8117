"""What Pillow gets to read of a file."""

import io

import numpy as np
import pytest
from PIL import Image

from serving.picture_container import DamagedContainer, opened
from tests.serving.hostile_pictures import chunk, png_of_two_headers, segment
from tests.serving.picture_variants import variants
from tests.serving.pictures import RED, encode, flat

JPEG = encode(flat((200, 30, 20)), "JPEG")


@pytest.mark.parametrize("name", variants())
def test_the_pixels_stay(name: str) -> None:
    data = variants()[name]
    with Image.open(io.BytesIO(data)) as whole, Image.open(opened(data)) as rest:
        assert rest.mode == whole.mode
        assert np.array_equal(np.asarray(rest), np.asarray(whole))


@pytest.mark.parametrize("name", [name for name in variants() if name.startswith(("PNG", "JPEG"))])
def test_the_orientation_stays(name: str) -> None:
    data = variants()[name]
    with Image.open(io.BytesIO(data)) as whole, Image.open(opened(data)) as rest:
        whole.load()
        rest.load()
        assert rest.getexif().get(0x0112) == whole.getexif().get(0x0112)


@pytest.mark.parametrize("data", [RED, JPEG, b"", b"x", encode(flat((1, 2, 3)), "WEBP")])
def test_what_has_no_metadata_is_not_copied(data: bytes) -> None:
    assert opened(data).getvalue() is data


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iCCP", b"prVt", b"acTL", b"tIME"])
@pytest.mark.parametrize("place", [33, -12])
def test_chunks_for_people_are_left_out(kind: bytes, place: int) -> None:
    assert opened(RED[:place] + chunk(kind, bytes(50)) + RED[place:] + b"trailing").getvalue() == RED


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED, 0xFE])
def test_segments_for_people_are_left_out(marker: int) -> None:
    data = JPEG[:20] + segment(marker, b"\xff\xda\xff\xd8") + b"junk" + segment(marker) + b"\xff\xff" + JPEG[20:]
    assert opened(data).getvalue() == JPEG


def test_a_gif_keeps_what_is_transparent_and_not_what_becomes_of_it() -> None:
    data = encode(Image.new("P", (8, 8), 3), "GIF", transparency=3, disposal=2, comment=b"a picture")
    at = data.index(b"!\xf9\4")
    assert data[at + 3] == 0b00001001
    kept = opened(data).getvalue()
    assert kept[kept.index(b"!\xf9\4") + 3] == 0b00000001
    assert b"a picture" not in kept


def test_only_the_first_exif_counts() -> None:
    exif = [segment(0xE1, b"Exif\0\0" + text) for text in (b"one", b"two")]
    assert opened(JPEG[:20] + exif[0] + exif[1] + JPEG[20:]).getvalue() == JPEG[:20] + exif[0] + JPEG[20:]


@pytest.mark.parametrize(
    "data",
    [
        JPEG[:2] + b"\xff\xd9",
        JPEG[:4],
        JPEG[:40],
        RED[:-1],
        RED[:40],
        RED[:20] + b"x" + RED[21:],
        png_of_two_headers(32, 32),
        RED[:8] + chunk(b"tIME", bytes(7)) + RED[8:],
        b"GIF89a",
        b"GIF89a" + bytes(99),
    ],
)
def test_a_file_without_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedContainer):
        opened(data)
