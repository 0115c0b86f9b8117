"""The upload path under mutation: whatever arrives is read, or refused by name, and soon."""

import re
import time
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.picture import BrokenPicture, TooManyPixels, UnreadableType, decode_picture
from serving.upload import MalformedUpload, NothingSent, SentPicture, extract_picture, extract_pictures
from tests.serving.hostile_pictures import SIGNATURE
from tests.serving.picture_variants import variants
from tests.serving.pictures import RED

MAX_PIXELS = 1_000_000
MOST_SECONDS = 1.0  # of this thread's own time
QUIETLY = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))

PICTURES = st.sampled_from(sorted(variants().values()))
LENGTHS = st.integers(0, 40)
PNG_TOKENS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"IDAT", b"tRNS", b"fcTL", b"Exif\0\0II*\0"]
JPEG_TOKENS = [b"\xff\xda", b"\xff\xc0", b"\xff\xc4", b"\xff\xd8", b"\xff\xe1"]
OTHER_TOKENS = [b"VP8X", b"ALPH", b"ANMF", b"!\xf9\x04", b"!\xfe", b",", b"\0\2\xff\xff"]
FORM_TOKENS = [
    b"\r\n--b",
    b"\r\n--b--",
    b"; name=",
    b'filename="',
    b"filename*=utf-8''%e7",
    b"\r\n\r\n",
    b"Content-Type: ",
]
TOKENS = st.sampled_from(PNG_TOKENS + JPEG_TOKENS + OTHER_TOKENS + FORM_TOKENS)


@st.composite
def damaged(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """One of the originals after a few changes."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 6))):
        at, length = draw(st.integers(0, len(data))), draw(LENGTHS)
        change = draw(st.sampled_from(["set", "insert", "delete", "repeat", "cut", "splice"]))
        if change == "set":
            data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif change == "insert":
            data[at:at] = draw(TOKENS)
        elif change == "delete":
            del data[at : at + length]
        elif change == "repeat":
            data[at:at] = data[at : at + length] * draw(st.integers(1, 200))
        elif change == "cut":
            del data[at:]
        else:
            other = draw(originals)
            data[at:] = other[draw(st.integers(0, len(other))) :]
    return with_checksums(bytes(data)) if draw(st.booleans()) else bytes(data)


def with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that what is wrong with it is found later."""
    mended, begin = bytearray(data), len(SIGNATURE)
    while data.startswith(SIGNATURE) and begin + 12 <= len(mended):
        end = begin + 8 + int.from_bytes(mended[begin : begin + 4])
        mended[end : end + 4] = zlib.crc32(mended[begin + 4 : end]).to_bytes(4) if end + 4 <= len(mended) else b""
        begin = end + 4
    return bytes(mended)


def soon(work: Callable[[], object]) -> None:
    """Does it, or is refused by name, in bounded time."""
    began = time.thread_time()
    sentence = "Read."
    try:
        work()
    except (BrokenPicture, TooManyPixels, UnreadableType, MalformedUpload, NothingSent) as refusal:
        sentence = str(refusal)
    assert re.fullmatch(r"[A-Z].*\.", sentence, re.DOTALL)
    assert time.thread_time() - began < MOST_SECONDS


def decode(data: bytes) -> NDArray[np.uint8]:
    decoded = decode_picture(data, (32, 32), MAX_PIXELS)
    assert decoded.shape == (32, 32, 3)
    assert decoded.dtype == np.uint8
    return decoded


def test_every_variant_is_read() -> None:
    for data in variants().values():
        decode(data)


@settings(QUIETLY, max_examples=500)
@given(damaged(PICTURES))
def test_damaged_pictures_are_read_or_refused(data: bytes) -> None:
    soon(lambda: decode(data))


def form(*parts: tuple[bytes, bytes]) -> bytes:
    return b"".join(b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + b"--b--\r\n"


FILE = b'Content-Disposition: form-data; name="file"; filename="a.png"'
FORMS = st.sampled_from(
    [
        form((FILE, RED)),
        form((FILE + b"\r\nContent-Type: image/png", RED), (FILE, b"x")),
        form((b'Content-Disposition: form-data; name="other"', b"1"), (FILE, RED)),
        form((b'content-disposition: form-data; name=file; filename*="a;b\\".png"', RED)),
        b"before\r\n" + form((FILE, RED)) + b"after",
    ]
)
TYPES = st.sampled_from(
    ["multipart/form-data; boundary=b", 'multipart/form-data; boundary="b"', "multipart/form-data", "image/png", ""]
) | st.text(st.characters(max_codepoint=255), max_size=100).map("multipart/form-data; boundary=b;{}".format)


@settings(QUIETLY, max_examples=200)
@given(damaged(FORMS), TYPES)
def test_damaged_forms_are_read_or_refused(body: bytes, content_type: str) -> None:
    def several() -> Sequence[SentPicture]:
        return extract_pictures(body, content_type, 64)

    soon(lambda: decode(extract_picture(body, content_type)))
    soon(several)
