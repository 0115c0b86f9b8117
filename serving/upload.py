"""A request's body -> the picture's bytes: read within limits, raw or from multipart/form-data."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive

FIELD = "file"
MAX_PARTS = 100
# Reading a header takes a microsecond for each parameter, whether it means anything or not.
MAX_PARAMETERS = 50
HOW_TO_SEND = "send it as the multipart field 'file', or as the body with a header such as 'Content-Type: image/png'"

# It warns of every malformed form, and whoever sends one is told.
logging.getLogger("python_multipart").setLevel("ERROR")


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


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int, timeout: float) -> bytes:
    """Read the whole body of a picture's ASGI request, at most ``max_bytes``, within ``timeout`` seconds.

    The announced length and the type are checked before a byte is read. Raises NothingSent, UnacceptableType,
    BodyTooLarge or UploadTooSlow; starlette's ClientDisconnect when the client goes away.
    """
    length = headers.get(b"content-length")
    if length == b"0" or (length is None and b"transfer-encoding" not in headers):
        raise NothingSent(f"The request has no body: {HOW_TO_SEND}.")
    _check_length(length, max_bytes)
    _check_type(content_type_of(headers))
    body = await _read_within(receive, max_bytes, timeout)
    if not body:
        raise NothingSent(f"The request has no body: {HOW_TO_SEND}.")
    return body


async def read_bounded(receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int, timeout: float) -> bytes:
    """Read the whole body, whatever it is. Raises BodyTooLarge, UploadTooSlow or ClientDisconnect."""
    _check_length(headers.get(b"content-length"), max_bytes)
    return await _read_within(receive, max_bytes, timeout)


async def _read_within(receive: Receive, max_bytes: int, timeout: float) -> bytes:
    try:
        async with asyncio.timeout(timeout):
            return await _read(receive, max_bytes)
    except TimeoutError:
        raise UploadTooSlow(f"The body did not arrive within {timeout:g} seconds.") from None


async def _read(receive: Receive, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_bytes:
            raise BodyTooLarge(f"The body has more than the {max_bytes} bytes allowed.")
        more = message.get("more_body", False)
    return b"".join(chunks)


def _check_length(length: bytes | None, max_bytes: int) -> None:
    if length is not None and int(length) > max_bytes:
        raise BodyTooLarge(f"The body has {int(length)} bytes, more than the {max_bytes} allowed.")


def content_type_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the Content-Type as it was sent, empty where none was."""
    return headers.get(b"content-type", b"").decode("latin-1")


def _check_type(content_type: str) -> None:
    """Let through pictures, forms, and bytes of no stated kind; decoding shows what they are."""
    if content_type.count(";") > MAX_PARAMETERS:
        raise UnacceptableType(f"The Content-Type has more than {MAX_PARAMETERS} parameters.")
    kind = _media_type(content_type)
    if kind.startswith("image/") or kind in ("", "application/octet-stream", "multipart/form-data"):
        return
    raise UnacceptableType(f"The Content-Type {kind[:100]!r} is not a picture's: {HOW_TO_SEND}.")


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def extract_picture(body: bytes, content_type: str) -> bytes:
    """Return the picture's bytes: the part ``file`` of a form, or the body itself.

    Raises NothingSent or MalformedUpload.
    """
    if not _is_form(content_type):
        return body
    parts = _files(body, content_type)
    if len(parts) > 1:
        raise MalformedUpload(f"The form has {len(parts)} fields {FIELD!r}; send them to /predict/batch.")
    return _content(parts[0])


def extract_pictures(body: bytes, content_type: str, most: int) -> list[SentPicture]:
    """Return all parts ``file`` of a form, in order. Raises NothingSent or MalformedUpload."""
    if not _is_form(content_type):
        raise MalformedUpload(f"Several pictures are sent as multipart/form-data, each as a field {FIELD!r}.")
    parts = _files(body, content_type)
    if len(parts) > most:
        raise MalformedUpload(f"The form has {len(parts)} fields {FIELD!r}, more than the {most} allowed.")
    return [SentPicture(part.filename, _content(part)) for part in parts]


def _is_form(content_type: str) -> bool:
    return _media_type(content_type) == "multipart/form-data"


def _files(body: bytes, content_type: str) -> list[_Part]:
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

    @cached_property
    def _options(self) -> dict[bytes, bytes]:
        disposition = self.headers.get("content-disposition", "")
        if disposition.count(";") > MAX_PARAMETERS:
            raise MalformedUpload(f"A field's Content-Disposition has more than {MAX_PARAMETERS} parameters.")
        return parse_options_header(disposition)[1]

    @property
    def name(self) -> str:
        return self._options.get(b"name", b"").decode("latin-1")

    @property
    def filename(self) -> str:
        """Empty where it has none."""
        return self._options.get(b"filename", b"").decode("utf-8", "replace")

    @property
    def is_file(self) -> bool:
        """A file has a name, or at least a type; RFC 7578 sections 4.2 and 4.4."""
        return b"filename" in self._options or "content-type" in self.headers


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
    # The parser stops wherever a field could end, even where none does.
    if body.count(b"\r\n--" + boundary) > MAX_PARTS + 1:
        raise MalformedUpload(f"The form has more than {MAX_PARTS} fields.")
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
