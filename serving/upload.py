"""A request's body -> the picture's bytes: read within limits, raw or from multipart/form-data."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

FIELD = "file"
MAX_PARTS = 100
HOW_TO_SEND = "send it as the multipart field 'file', or as the body with a header such as 'Content-Type: image/png'"


class NothingSent(Exception):
    """The request holds no picture at all; the text is one sentence."""


class MalformedUpload(Exception):
    """The request's form does not say which bytes are the picture; the text is one sentence."""


class UnacceptableType(Exception):
    """The Content-Type is neither a picture's nor a form's; the text is one sentence."""


class BodyTooLarge(Exception):
    """The body is over the limit; the text is one sentence."""


class UploadTooSlow(Exception):
    """The body did not arrive in time; the text is one sentence."""


class Interrupted(Exception):
    """The server stops and cannot wait for the request any longer; the text is one sentence."""


class SentPicture(NamedTuple):
    filename: str
    content: bytes


@contextmanager
def told_when_interrupted() -> Iterator[None]:
    """Around a request's work: its cancellation is Interrupted, which is answered."""
    try:
        yield
    except asyncio.CancelledError:
        # Only uvicorn cancels, when the time for a graceful stop is over.
        raise Interrupted("The server stopped before this request was complete.") from None


async def read_body(request: Request, max_bytes: int, timeout: float) -> bytes:
    """Read the whole body, at most ``max_bytes``, within ``timeout`` seconds.

    The announced length and the type are checked before a byte is read. Raises NothingSent, UnacceptableType,
    BodyTooLarge or UploadTooSlow; starlette's ClientDisconnect when the client goes away.
    """
    length = request.headers.get("content-length")
    if length is not None and int(length) > max_bytes:
        raise BodyTooLarge(f"The body has {length} bytes, more than the {max_bytes} allowed.")
    if length == "0" or (length is None and "transfer-encoding" not in request.headers):
        raise NothingSent(f"The request has no body: {HOW_TO_SEND}.")
    _check_type(request.headers.get("content-type"))
    body = bytearray()
    try:
        async with asyncio.timeout(timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise BodyTooLarge(f"The body has more than the {max_bytes} bytes allowed.")
    except TimeoutError:
        raise UploadTooSlow(f"The body did not arrive within {timeout:g} seconds.") from None
    if not body:
        raise NothingSent(f"The request has no body: {HOW_TO_SEND}.")
    return bytes(body)


def _check_type(content_type: str | None) -> None:
    """Let through pictures, forms, and bytes of no stated kind; decoding shows what they are."""
    kind = _media_type(content_type)
    if kind.startswith("image/") or kind in ("", "application/octet-stream", "multipart/form-data"):
        return
    raise UnacceptableType(f"The Content-Type {kind[:100]!r} is not a picture's: {HOW_TO_SEND}.")


def _media_type(content_type: str | None) -> str:
    return parse_options_header(content_type)[0].decode("latin-1").strip()


def extract_picture(body: bytes, content_type: str | None) -> bytes:
    """Return the picture's bytes: the part ``file`` of a form, or the body itself.

    Raises NothingSent or MalformedUpload.
    """
    if not _is_form(content_type):
        return body
    parts = _files(body, content_type)
    if len(parts) > 1:
        raise MalformedUpload(f"The form has {len(parts)} fields {FIELD!r}; send them to /predict/batch.")
    return _content(parts[0])


def extract_pictures(body: bytes, content_type: str | None, most: int) -> list[SentPicture]:
    """Return all parts ``file`` of a form, in order. Raises NothingSent or MalformedUpload."""
    if not _is_form(content_type):
        raise MalformedUpload(f"Several pictures are sent as multipart/form-data, each as a field {FIELD!r}.")
    parts = _files(body, content_type)
    if len(parts) > most:
        raise MalformedUpload(f"The form has {len(parts)} fields {FIELD!r}, more than the {most} allowed.")
    return [SentPicture(part.filename, _content(part)) for part in parts]


def _is_form(content_type: str | None) -> bool:
    return _media_type(content_type) == "multipart/form-data"


def _files(body: bytes, content_type: str | None) -> list[_Part]:
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedUpload("The Content-Type multipart/form-data names no boundary.")
    parts = [part for part in _parse_form(body, boundary) if part.name == FIELD]
    if not parts:
        raise NothingSent(f"The form has no field {FIELD!r}: {HOW_TO_SEND}.")
    return parts


def _content(part: _Part) -> bytes:
    if not part.is_file:
        raise MalformedUpload(f"The field {FIELD!r} was sent as text, not as a file; with curl: -F file=@picture.png.")
    if not part.data:
        raise NothingSent(f"The field {FIELD!r} is an empty file.")
    return bytes(part.data)


@dataclass
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    @property
    def name(self) -> str:
        options = parse_options_header(self.headers.get("content-disposition"))[1]
        return options.get(b"name", b"").decode("latin-1")

    @property
    def filename(self) -> str:
        """Empty where it has none."""
        options = parse_options_header(self.headers.get("content-disposition"))[1]
        return options.get(b"filename", b"").decode("utf-8", "replace")

    @property
    def is_file(self) -> bool:
        """A file has a name, or at least a type; RFC 7578 sections 4.2 and 4.4."""
        options = parse_options_header(self.headers.get("content-disposition"))[1]
        return b"filename" in options or "content-type" in self.headers


class _FormReader:
    """Collects the parts of one multipart/form-data body (RFC 7578)."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.complete = False
        self._header_name = bytearray()
        self._header_value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise MalformedUpload(f"The form has more than {MAX_PARTS} fields.")
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        name = self._header_name.decode("latin-1").lower()
        self.parts[-1].headers[name] = self._header_value.decode("latin-1")
        self._header_name.clear()
        self._header_value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += data[start:end]

    def on_end(self) -> None:
        self.complete = True


def _parse_form(body: bytes, boundary: bytes) -> list[_Part]:
    reader = _FormReader()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.on_part_begin,
                "on_header_field": reader.on_header_field,
                "on_header_value": reader.on_header_value,
                "on_header_end": reader.on_header_end,
                "on_part_data": reader.on_part_data,
                "on_end": reader.on_end,
            },
        )
        parser.write(body)
    except FormParserError:
        raise MalformedUpload("The form does not follow multipart/form-data.") from None
    if not reader.complete:
        raise MalformedUpload("The form ends before its closing boundary.")
    return reader.parts
