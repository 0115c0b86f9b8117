"""A request's body, decompressed within a limit (RFC 9110 section 8.4.1)."""

import zlib

from serving.upload import BodyTooLarge, MalformedUpload, UnacceptableType

# zlib's wbits: RFC 1952's header, and RFC 1950's, which HTTP calls deflate.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def decoded(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Return the content of a body that was sent with this Content-Encoding.

    Never holds more than ``max_bytes`` of it. Raises UnacceptableType, BodyTooLarge or MalformedUpload.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name not in _WINDOWS:
        raise UnacceptableType(f"The Content-Encoding {name[:100]!r} is not read; send gzip, deflate or none.")
    decompressor = zlib.decompressobj(_WINDOWS[name])
    try:
        content = decompressor.decompress(body, max_bytes + 1)
    except zlib.error:
        raise MalformedUpload(f"The body is not compressed with {name}, as its Content-Encoding says.") from None
    if len(content) > max_bytes:
        raise BodyTooLarge(f"The decompressed body has more than the {max_bytes} bytes allowed.")
    if not decompressor.eof:
        raise MalformedUpload(f"The body ends before its {name} data do.")
    if decompressor.unused_data:
        raise MalformedUpload(f"The body goes on after the end of its {name} data.")
    return content
