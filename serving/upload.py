"""A request's body -> the picture's bytes: read within limits, raw or from multipart/form-data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serving.multipart_form import MAX_PARAMETERS, MalformedForm, Part, parse_form

FIELD = "file"
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


class SentPicture(NamedTuple):
    filename: str
    content: bytes


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


def _files(body: bytes, content_type: str) -> list[Part]:
    try:
        parts = [part for part in parse_form(body, content_type) if part.name == FIELD]
    except MalformedForm as error:
        raise MalformedUpload(str(error)) from None
    if not parts:
        raise NothingSent(f"The form has no field {FIELD!r}: {HOW_TO_SEND}.")
    return parts


def _content(part: Part) -> bytes:
    if not part.is_file:
        raise MalformedUpload(f"The field {FIELD!r} was sent as text, not as a file; with curl: -F file=@picture.png.")
    if not part.data:
        raise NothingSent(f"The field {FIELD!r} is an empty file.")
    return bytes(part.data)
