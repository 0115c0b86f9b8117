"""Tells pictures that are decoded in a millisecond at most, for a network of 224 x 224 pixels (a quarter of one for
32 x 32), by their bytes.

Only those may be decoded on the event loop. Formats and features whose cost takes more than a glance are not cheap:
text chunks that inflate, progressive scans. How many pixels there are is taken from the first place that says so, which
a sender can make lie: whoever decodes goes by what the decoder itself has read.
"""

from __future__ import annotations

from serving.picture_container import JPEG_SIGNATURE, PNG_SIGNATURE

MAX_BYTES = 32_768
MAX_PIXELS = 16_384  # 128 x 128

# Those of the PNG specification that say something about pixels and are not compressed (sections 11.2 and 11.3).
PNG_CHUNKS = frozenset(
    (
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"cHRM",
        b"gAMA",
        b"sBIT",
        b"sRGB",
        b"bKGD",
        b"hIST",
        b"pHYs",
        b"tIME",
    )
)

JPEG_SEQUENTIAL = (0xC0, 0xC1)  # start of frame: baseline, extended sequential (ITU-T T.81, table B.1)
JPEG_START_OF_SCAN = b"\xff\xda"
MAX_JPEG_SCANS = 4  # one a component


def is_cheap(data: bytes) -> bool:
    """Says nothing about whether `data` is intact, or honest about its size."""
    if len(data) > MAX_BYTES:
        return False
    if data.startswith(PNG_SIGNATURE):
        return _is_cheap_png(data)
    if data.startswith(JPEG_SIGNATURE):
        return _is_cheap_jpeg(data)
    return False


def _is_cheap_png(data: bytes) -> bool:
    if int.from_bytes(data[16:20]) * int.from_bytes(data[20:24]) > MAX_PIXELS:
        return False
    begin = len(PNG_SIGNATURE)
    while begin + 8 <= len(data):
        if data[begin + 4 : begin + 8] not in PNG_CHUNKS:
            return False
        begin += 12 + int.from_bytes(data[begin : begin + 4])
    return True


def _is_cheap_jpeg(data: bytes) -> bool:
    if data.count(JPEG_START_OF_SCAN) > MAX_JPEG_SCANS:
        return False
    begin = 2
    while begin + 9 <= len(data) and data[begin] == 0xFF:
        marker = data[begin + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            height, width = int.from_bytes(data[begin + 5 : begin + 7]), int.from_bytes(data[begin + 7 : begin + 9])
            return marker in JPEG_SEQUENTIAL and height * width <= MAX_PIXELS
        begin += 2 + int.from_bytes(data[begin + 2 : begin + 4])
    return False
