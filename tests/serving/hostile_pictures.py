"""Files that cost their reader far more than their sender; each is below the 5 MB that the server takes."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.serving.pictures import RED, encode, flat

MOST_BYTES = 4_900_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"
BEFORE_IDAT = 33  # signature and IHDR


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def segment(marker: int, data: bytes = b"") -> bytes:
    """One segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(data)) + data


def filled_up(before: bytes, piece: bytes, after: bytes) -> bytes:
    """As many pieces as a request can hold."""
    return before + piece * ((MOST_BYTES - len(before) - len(after)) // len(piece)) + after


def png_of_zeros(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    """A PNG of a thousandth of its pixels' size."""
    bits = {0: 1, 2: 3, 4: 2, 6: 4}[color] * depth
    row = bytes(1 + (width * bits + 7) // 8)
    compressor = zlib.compressobj(9)
    pixels = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND")


def png_of_chunks(kind: bytes, data: bytes = b"") -> bytes:
    """A red PNG with as many such chunks before its pixels as a request can hold."""
    return filled_up(RED[:BEFORE_IDAT], chunk(kind, data), RED[BEFORE_IDAT:])


def png_of_one_byte_chunks() -> bytes:
    """A PNG whose pixels come in 370,000 pieces."""
    pixels = zlib.compress(np.random.default_rng(1).bytes(349 * (1 + 3 * 350)), 0)
    header = struct.pack(">IIBBBBB", 350, 349, 8, 2, 0, 0, 0)
    pieces = b"".join(chunk(b"IDAT", pixels[at : at + 1]) for at in range(len(pixels)))
    return SIGNATURE + chunk(b"IHDR", header) + pieces + chunk(b"IEND")


def png_of_two_headers(width: int, height: int) -> bytes:
    """A small file that says first that it is 32 x 32, and then how large it is."""
    return RED[:BEFORE_IDAT] + png_of_zeros(width, height, 1, 0)[len(SIGNATURE) :]


def apng_of_frames() -> bytes:
    """A red PNG, animated with 30,000 tiny frames."""
    control = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 10, 0, 0)
    frame = chunk(b"fcTL", control) + chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(4)))
    begin = RED[:BEFORE_IDAT] + chunk(b"acTL", struct.pack(">II", 30_000, 0))
    return begin + RED[BEFORE_IDAT:-12] + frame * 30_000 + RED[-12:]


def directory(entries: int, kind: int, count: int, size: int) -> bytes:
    """Exif of ``size`` bytes whose entries all lead to the same data."""
    rows = b"".join(struct.pack("<HHII", tag, kind, count, 8) for tag in range(entries))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + rows).ljust(size, b"\1")


def jpeg(size: tuple[int, int] = (32, 32), progressive: bool = False) -> bytes:
    """A red JPEG, without a resolution, which Pillow would look for in Exif."""
    data = encode(flat((200, 30, 20), size), "JPEG", progressive=progressive)
    return data.replace(b"JFIF\0\1\1\0", b"JFIF\0\1\1\3")


def jpeg_of_segments(marker: int, data: bytes = b"") -> bytes:
    """A red JPEG with as many such segments before its picture as a request can hold."""
    red = jpeg()
    return filled_up(red[:20], segment(marker, data), red[20:])


def jpeg_of_scans(size: tuple[int, int], scans: int) -> bytes:
    """A progressive JPEG that says it is larger than it is, and refines its last coefficients again and again."""
    small = bytearray(jpeg(progressive=True))
    at = small.index(b"\xff\xc2")
    small[at + 5 : at + 9] = struct.pack(">HH", size[1], size[0])
    last = bytes(small[small.rindex(b"\xff\xda") : -2])
    return bytes(small[:-2]) + last * (scans - small.count(b"\xff\xda")) + b"\xff\xd9"


def jpeg_of_two_frames(width: int, height: int) -> bytes:
    """A small file that holds the header of a frame of 32 x 32 in a comment, before that of its own.

    Who takes what follows a restart marker for its length, though it has none, finds the former.
    """
    red = bytearray(jpeg())
    at = red.index(b"\xff\xc0")
    hidden = bytes(red[at : at + 19])
    red[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(red[:20]) + b"\xff\xd0\0\6" + segment(0xFE, hidden) + bytes(red[20:])


def gif(extensions: bytes = b"", piece: bytes = b"", after: bytes = b"") -> bytes:
    """A red GIF with an extension before its picture, filled up with pieces."""
    red = encode(Image.fromarray(flat((200, 30, 20))), "GIF")
    at = red.rindex(b"\x2c\0\0\0\0")
    return filled_up(red[:at] + extensions, piece, after + red[at:])


def gif_of_frames() -> bytes:
    """A red GIF that goes on with as many frames as a request can hold."""
    red = encode(Image.fromarray(flat((200, 30, 20))), "GIF")
    at = red.rindex(b"\x2c\0\0\0\0")
    return filled_up(red[:-1], red[at:-1], b";")


def webp_of_frames() -> bytes:
    """A red animation with as many frames of one pixel as a request can hold."""
    pixel = encode(flat((0, 0, 0), (1, 1)), "WEBP", lossless=True)[12:]
    frame = _riff_chunk(b"ANMF", bytes(12) + b"\x0a\0\0\0" + pixel)
    frames = [Image.fromarray(flat(color)) for color in ((200, 30, 20), (20, 30, 200))]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    data = filled_up(buffer.getvalue(), frame, b"")
    return b"RIFF" + struct.pack("<I", len(data) - 8) + data[8:]


def webp_of_canvas(width: int, height: int) -> bytes:
    """An animation of one small frame on a large canvas."""
    pixel = encode(flat((200, 30, 20), (2, 2)), "WEBP", lossless=True)[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = bytes(6) + b"\1\0\0\1\0\0" + b"\x0a\0\0\0" + pixel
    chunks = [(b"VP8X", b"\x02\0\0\0" + size), (b"ANIM", bytes(6)), (b"ANMF", frame), (b"ANMF", frame)]
    data = b"WEBP" + b"".join(_riff_chunk(kind, content) for kind, content in chunks)
    return b"RIFF" + struct.pack("<I", len(data)) + data


def _riff_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def run_length_bitmap(width: int, height: int, runs: bytes) -> bytes:
    """A BMP of 256 colours that is compressed."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    offset = 14 + 40 + 1024
    return struct.pack("<2sIHHI", b"BM", offset + len(runs), 0, 0, offset) + header + bytes(1023) + b"\1" + runs


END_OF_LINE = b"\0\0"

# All that are read are red, or no colour is stronger, which the tests' bundle calls red too.
READ: dict[str, Callable[[], bytes]] = {
    "png of inflating texts": lambda: png_of_chunks(b"zTXt", b"k\0\0" + zlib.compress(bytes(1_000_000), 9)),
    "png of inflating profiles": lambda: png_of_chunks(b"iCCP", b"k\0\0" + zlib.compress(bytes(1_000_000), 9)),
    "png of one text of 200 MB": lambda: (
        RED[:BEFORE_IDAT] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200_000_000), 9)) + RED[BEFORE_IDAT:]
    ),
    "png of a large directory": lambda: (
        RED[:BEFORE_IDAT] + chunk(b"eXIf", directory(65_535, 1, 74, MOST_BYTES - 200)) + RED[BEFORE_IDAT:]
    ),
    "png of 40 megapixels": lambda: png_of_zeros(8000, 5000, 16, 6),
    "png of 1 x 65535": lambda: png_of_zeros(1, 65_535),
    "apng of 30,000 frames": apng_of_frames,
    "jpeg of fill bytes": lambda: filled_up(jpeg()[:20], b"\xff", jpeg()[20:]),
    "jpeg of junk": lambda: filled_up(jpeg()[:20], b"\0", jpeg()[20:]),
    "jpeg of stuffed zeros": lambda: filled_up(jpeg()[:20], b"\xff\0", jpeg()[20:]),
    "jpeg of many pictures": lambda: jpeg_of_segments(0xE2, b"MPF\0" + directory(5000, 5, 1, 65_000)),
    "jpeg of 10 scans of 40 megapixels": lambda: jpeg_of_scans((8000, 5000), 10),
    "jpeg of 40 megapixels that looks small": lambda: jpeg_of_two_frames(8000, 5000),
    "jpeg of 1 x 65500": lambda: jpeg((1, 65_500)),
    "gif of 19,000 comment blocks": lambda: gif(b"!\xfe", b"\xff" + bytes(255), b"\0"),
    "gif of 60,000 frames": gif_of_frames,
    "gif of 40 megapixels": lambda: encode(Image.new("P", (8000, 5000), 1), "GIF", transparency=0),
    "webp of 80,000 frames": webp_of_frames,
    "webp of a 40-megapixel canvas": lambda: webp_of_canvas(8000, 5000),
    "webp of 40 megapixels": lambda: encode(Image.new("RGBA", (8000, 5000)), "WEBP", lossless=True, method=0),
    "bmp of ends of lines, smaller": lambda: run_length_bitmap(65_000, 15, (b"\1\0" + END_OF_LINE) * 16),
    "bmp of jumps": lambda: run_length_bitmap(1000, 999, b"\0\2\xff\xff" * 1000 + b"\0\1"),
}
BROKEN: dict[str, Callable[[], bytes]] = {
    "png of 400,000 chunks": lambda: png_of_chunks(b"prVt"),
    "png of 400,000 empty pieces": lambda: png_of_chunks(b"IDAT"),
    "png of 370,000 pieces": png_of_one_byte_chunks,
    "png of 300,000 texts": lambda: png_of_chunks(b"tEXt", b"k\0v"),
    "png of 40 megapixels that looks small": lambda: png_of_two_headers(8000, 5000),
    "png of inflating exif": lambda: png_of_chunks(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 9\n" + b"4d" * 400_000, 9)
    ),
    "jpeg of 250,000 pieces of exif": lambda: jpeg_of_segments(0xE1, b"Exif\0\0" + bytes(10)),
    "jpeg of 76 pieces of exif": lambda: jpeg_of_segments(0xE1, b"Exif\0\0" + directory(5000, 1, 60, 65_000)),
    "jpeg of a million segments": lambda: jpeg_of_segments(0xE3),
    "jpeg of a million comments": lambda: jpeg_of_segments(0xFE),
    "jpeg of a million jfif segments": lambda: jpeg_of_segments(0xE0),
    "jpeg of restarts": lambda: filled_up(jpeg()[:20], b"\xff\xd0", jpeg()[20:]),
    "jpeg of 100 scans of 40 megapixels": lambda: jpeg_of_scans((8000, 5000), 100),
    "jpeg of 3,000 scans": lambda: jpeg_of_scans((1000, 1000), 3000),
    "gif of a million comments": lambda: gif(b"", b"!\xfe\1x\0"),
    "gif of 2,000,000 blocks": lambda: gif(b"!\xff", b"\1x", b"\0"),
    "gif of a million extensions": lambda: gif(b"", b"!\x01\1x\0"),
    "bmp of runs of one": lambda: filled_up(run_length_bitmap(1000, 999, b""), b"\1\1", b""),
    "bmp of no runs": lambda: filled_up(run_length_bitmap(1000, 999, b""), END_OF_LINE, b""),
}
TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "png of 1 x 100000": lambda: png_of_zeros(1, 100_000),
    "png of 100000 x 1": lambda: png_of_zeros(100_000, 1),
    "webp of a 4-gigapixel canvas": lambda: webp_of_canvas(65_535, 65_535),
    "bmp of ends of lines": lambda: run_length_bitmap(65_000, 600, (b"\1\0" + END_OF_LINE) * 601),
    "bmp of 1 x 100000": lambda: encode(flat((1, 2, 3), (1, 100_000)), "BMP"),
}
