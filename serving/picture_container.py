"""What Pillow gets to read of a stranger's file: PNG and JPEG without what changes no pixel, others in bounded pieces.

Text, colour profiles, previews and their like cost Pillow far more time and memory than they cost their sender: it
inflates them, joins them one to the other, and reads whole directories of them. So it never gets to see them. What
tells the orientation is kept.
"""

import io
import re
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
GIF_SIGNATURES = (b"GIF87a", b"GIF89a")

# PNG specification, section 5.6. Older software writes Exif as a text.
PNG_PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
PNG_TEXTS = frozenset((b"tEXt", b"zTXt", b"iTXt"))
PNG_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
# No text of a PNG that tells an orientation is longer, and no segment of a JPEG can be.
MAX_ORIENTATION_BYTES = 65_536

# JPEG's markers, ITU-T T.81, table B.1. JFIF's APP0 and Adobe's APP14 say which colours are meant; other APP segments
# and comments are for people and programs.
START_OF_SCAN, APP1 = 0xDA, 0xE1
STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
PIXELS = frozenset((*range(0x02, 0xE0), 0xE0, 0xEE, *range(0xF0, 0xFE)))
# GIF89a, sections 20 to 24; what becomes of a frame afterwards is told by three bits of its graphic control.
EXTENSION, FRAME, TRAILER, GRAPHIC_CONTROL, DISPOSAL = 0x21, 0x2C, 0x3B, 0xF9, 0b00011100
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
NEXT_MARKER = re.compile(rb"\xff[\x01-\xfe]")
# Pillow does a little for each piece of a file: a chunk, a block, a run. No encoder makes so many.
MAX_READS = 250_000
MAX_GIF_BLOCKS = 100_000  # before the first frame
MAX_PNG_CHUNKS = 100_000  # an animation has two for each frame
# Before the first scan. Colour profiles and previews in 64-KB pieces stay below a hundred.
MAX_JPEG_SEGMENTS = 1000


class DamagedContainer(Exception):
    """The file does not follow its format; the text is one sentence."""


class CountedReads(io.BytesIO):
    """A file that raises DamagedContainer where its reader comes back for more too often."""

    _count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """See io.BytesIO."""
        self._count += 1
        if self._count > MAX_READS:
            raise DamagedContainer("The picture is cut into too many pieces.")
        return super().read(size)


def opened(data: bytes) -> io.BytesIO:
    """Return a file that decodes to the same pixels, without what costs much to read. Raises DamagedContainer."""
    if data.startswith(PNG_SIGNATURE):
        return io.BytesIO(_png_pixels(data))
    if data.startswith(JPEG_SIGNATURE):
        return io.BytesIO(_jpeg_pixels(data))
    if data.startswith(GIF_SIGNATURES):
        return io.BytesIO(_gif_pixels(data))
    return CountedReads(data)


def _png_pixels(data: bytes) -> bytes:
    """Return a PNG's chunks that make the picture or tell its orientation; ``data`` itself where it has no others.

    Raises DamagedContainer where the header is not the first chunk and the only one of its kind, where the last chunk
    is missing, or where a checksum is wrong, in any chunk: decoding alone leaves that out.
    """
    kept: list[bytes] = []
    begin = since = len(PNG_SIGNATURE)
    for _ in range(MAX_PNG_CHUNKS):
        # Length, type and checksum of a chunk; PNG specification, section 5.3.
        content = begin + 8
        end = content + int.from_bytes(data[begin : begin + 4]) + 4
        kind = data[begin + 4 : content]
        checksum = data[end - 4 : end]
        if not checksum or zlib.crc32(memoryview(data)[begin + 4 : end - 4]) != int.from_bytes(checksum):
            break
        if (kind == b"IHDR") != (begin == len(PNG_SIGNATURE)):
            raise DamagedContainer("The PNG does not begin with its header, or has another one.")
        if kind not in PNG_PIXELS and not _tells_orientation(kind, data, content, end):
            if since < begin:
                kept.append(data[since:begin])
            since = end
        if kind == b"IEND":
            return data if since == len(PNG_SIGNATURE) else b"".join([PNG_SIGNATURE, *kept, data[since:end]])
        begin = end
    raise DamagedContainer("The PNG is truncated, cut into too many pieces, or a checksum in it is wrong.")


def _tells_orientation(kind: bytes, data: bytes, begin: int, end: int) -> bool:
    if end - begin > MAX_ORIENTATION_BYTES:
        return False
    return kind == b"eXIf" or (kind in PNG_TEXTS and data.startswith(PNG_ORIENTATION, begin))


def _jpeg_pixels(data: bytes) -> bytes:
    """Return a JPEG without the segments that decoding needs not; ``data`` itself where it has none.

    Raises DamagedContainer where there is no scan, or too much before it.
    """
    kept: list[bytes] = []
    at = since = 2
    has_exif = False
    for _ in range(MAX_JPEG_SEGMENTS):
        if at + 4 > len(data):
            break
        if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            kept.append(data[since:at])
            at = since = _next_marker(data, at)
            continue
        marker, begin, end = data[at + 1], at + 4, at + 2 + max(2, data[at + 2] << 8 | data[at + 3])
        if marker == START_OF_SCAN:
            return b"".join([data[:2], *kept, data[since:]]) if kept else data
        if marker in STANDALONE:
            keep, end = True, at + 2
        elif marker == APP1 and data.startswith(EXIF, begin):
            # A longer Exif goes on in further segments; the orientation is in the first.
            keep, has_exif = not has_exif, True
        else:
            keep = marker in PIXELS or (marker == APP1 and data.startswith(XMP, begin))
        if not keep:
            kept.append(data[since:at])
            since = end
        at = end
    raise DamagedContainer("The JPEG ends before its picture begins, or has too many segments before it.")


def _next_marker(data: bytes, begin: int) -> int:
    """Skip bytes between two segments, as decoders do."""
    found = NEXT_MARKER.search(data, begin)
    return found.start() if found else len(data)


def _gif_pixels(data: bytes) -> bytes:
    """Return a GIF whose first frame has no extension before it but the one that says what is transparent.

    What becomes of the frame afterwards is left out as well: Pillow makes room for that before anybody could check the
    frame's size. Raises DamagedContainer where there is no frame, or too much before it.
    """
    if len(data) < 13:
        raise DamagedContainer("The GIF is truncated.")
    begin = at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    control = b""
    for _ in range(MAX_GIF_BLOCKS):
        if at + 3 > len(data) or data[at] == TRAILER:
            break
        if data[at] == FRAME:
            return data[:begin] + control + data[at:]
        if data[at] != EXTENSION:
            at += 1  # as Pillow does
            continue
        if data[at + 1 : at + 3] == bytes((GRAPHIC_CONTROL, 4)) and at + 8 <= len(data):
            control = data[at : at + 3] + bytes((data[at + 3] & ~DISPOSAL,)) + data[at + 4 : at + 7] + b"\0"
        at = _end_of_blocks(data, at + 2)
    raise DamagedContainer("The GIF ends before its picture begins, or has too much before it.")


def _end_of_blocks(data: bytes, begin: int) -> int:
    for _ in range(MAX_GIF_BLOCKS):
        if begin >= len(data) or not data[begin]:
            return begin + 1
        begin += 1 + data[begin]
    raise DamagedContainer("The GIF has too much before its picture.")
