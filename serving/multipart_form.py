"""multipart/form-data (RFC 7578) -> its parts, within limits."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

MAX_PARTS = 100
# Reading a header takes a microsecond for each parameter, whether it means anything or not.
MAX_PARAMETERS = 50

# It warns of every malformed form, and whoever sends one is told.
logging.getLogger("python_multipart").setLevel("ERROR")


class MalformedForm(Exception):
    """The body is no form that can be read; the text is one sentence."""


@dataclass
class Part:
    """One field of a form."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)

    @cached_property
    def _options(self) -> dict[bytes, bytes]:
        disposition = self.headers.get("content-disposition", "")
        if disposition.count(";") > MAX_PARAMETERS:
            raise MalformedForm(f"A field's Content-Disposition has more than {MAX_PARAMETERS} parameters.")
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
        self.parts: list[Part] = []
        self.complete = False
        self._header_name = bytearray()
        self._header_value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise MalformedForm(f"The form has more than {MAX_PARTS} fields.")
        self.parts.append(Part())

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


def parse_form(body: bytes, content_type: str) -> list[Part]:
    """Return the parts in the order in which they stand in the body, whose Content-Type names their boundary.

    Raises MalformedForm; so may a part, where it is asked for its name.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedForm("The Content-Type multipart/form-data names no boundary.")
    # The parser stops wherever a field could end, even where none does.
    if body.count(b"\r\n--" + boundary) > MAX_PARTS + 1:
        raise MalformedForm(f"The form has more than {MAX_PARTS} fields.")
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
        raise MalformedForm("The form does not follow multipart/form-data.") from None
    if not reader.complete:
        raise MalformedForm("The form ends before its closing boundary.")
    return reader.parts
