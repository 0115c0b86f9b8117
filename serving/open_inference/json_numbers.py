"""The numbers of uint8 tensors in a JSON text, read without making a Python object of each.

A megabyte of them would keep the interpreter, and with it the event loop, for tens of milliseconds.
"""

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.upload import BodyTooLarge, MalformedUpload

NOT_BYTES = "The data of 'images' must be a list of whole numbers from 0 to 255."
WRONG_NESTING = "The data of 'images' must be flat, or nested as its shape says."
MAX_LISTS = 8
MAX_OTHER_BYTES = 16_384  # of a JSON, besides the lists
PIECE_BYTES = 1_000_000  # that are read at once: it takes forty times their memory

_DATA = re.compile(rb'"data"\s*:\s*(?=\[)')
_IN_LISTS = np.isin(np.arange(256), list(b"[]0123456789, \t\r\n"))


def without_data(text: bytes) -> tuple[bytes, list[bytes]]:
    """Return the JSON with an index in the place of each list that is a member ``data``, and these lists' texts.

    Raises MalformedUpload where one holds anything but whole numbers, BodyTooLarge where there is much besides them.
    """
    rest, lists, position = [], list[bytes](), 0
    # To look further would take long, and hold up every other thread.
    while found := _DATA.search(text, position, position + 2 * MAX_OTHER_BYTES):
        if len(lists) == MAX_LISTS:
            raise MalformedUpload(f"The request has more than {MAX_LISTS} members 'data'.")
        end = _end_of_list(text, found.end())
        rest += [text[position : found.end()], b"%d" % len(lists)]
        lists.append(text[found.end() : end])
        position = end
    rest.append(text[position:])
    if sum(map(len, rest)) > MAX_OTHER_BYTES:
        raise BodyTooLarge(f"The request's JSON has more than {MAX_OTHER_BYTES} bytes besides the tensor's numbers.")
    return b"".join(rest), lists


def _end_of_list(text: bytes, start: int) -> int:
    """What follows the last bracket belongs to the object around the list; whether that is right, its parser says."""
    end = start
    while end < len(text):
        is_in_list = _IN_LISTS[np.frombuffer(text, np.uint8, min(PIECE_BYTES, len(text) - end), end)]
        if not is_in_list.all():
            end += int(is_in_list.argmin())
            break
        end += len(is_in_list)
    last = text.rfind(b"]", start, end)
    if end < len(text) and (last < 0 or text[end] not in b'}"' or text[last + 1 : end].strip() not in (b"", b",")):
        raise MalformedUpload(NOT_BYTES)
    return end if last < 0 else last + 1


def read_bytes(text: bytes, shape: Sequence[int], piece_bytes: int = PIECE_BYTES) -> NDArray[np.uint8]:
    """Read a list, flat or nested as its shape says, into uint8 [product of the shape].

    Raises MalformedUpload where there are not as many numbers, or one is no byte.
    """
    parts = [_read_piece(piece) for piece in _pieces(text, piece_bytes)]
    count, numbers = sum(len(values) for values, _ in parts), math.prod(shape)
    if count != numbers:
        raise MalformedUpload(f"The data of 'images' has {count} numbers, but its shape takes {numbers}.")
    punctuation = b"".join(between for _, between in parts)
    is_nested = len(shape) > 1 and punctuation.startswith(b"[[")
    if punctuation != _brackets(shape if is_nested else [numbers]):
        raise MalformedUpload(WRONG_NESTING)
    return np.concatenate([values for values, _ in parts])


def _pieces(text: bytes, piece_bytes: int) -> Iterator[bytes]:
    """Cut a list at commas. Each piece but the first begins with the comma that ends the one before."""
    begin = 0
    while begin >= 0:
        end = text.find(b",", begin + piece_bytes, begin + 2 * piece_bytes)
        if end < 0 and len(text) > begin + 2 * piece_bytes:
            raise MalformedUpload(WRONG_NESTING)
        yield text[begin : end + 1] if end >= 0 else text[begin:]
        begin = end


def _read_piece(text: bytes) -> tuple[NDArray[np.uint8], bytes]:
    """The numbers of a piece, and what is between them, without the comma that it begins with."""
    characters = np.frombuffer(text, np.uint8)
    solid = characters[characters > ord(" ")]
    is_digit = solid >= ord("0")
    is_digit[solid > ord("9")] = False
    starts, ends = _edges(is_digit)
    are_between = np.isin(solid[starts - 1], list(b"[,")) & np.isin(solid[ends], list(b",]"))
    # A space within a number makes two of it, until spaces are gone.
    if _count(characters) != len(starts):
        raise MalformedUpload("Two numbers in the data of 'images' have no comma between them.")
    if not are_between.all():
        raise MalformedUpload(WRONG_NESTING)
    return _values(solid, starts, ends), solid[~is_digit].tobytes().removeprefix(b",")


def _edges(is_digit: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where numbers start, and where they have ended."""
    before, after = is_digit[:-1], is_digit[1:]
    return np.flatnonzero(after & ~before) + 1, np.flatnonzero(before & ~after) + 1


def _count(characters: NDArray[np.uint8]) -> int:
    is_digit = (characters >= ord("0")) & (characters <= ord("9"))
    return int(np.count_nonzero(is_digit[1:] & ~is_digit[:-1]))


def _brackets(shape: Sequence[int]) -> bytes:
    """What is left of a list without its numbers."""
    inner = b""
    for length in reversed(shape):
        inner = b"[" + (inner + b",") * (length - 1) + inner + b"]"
    return inner


def _values(solid: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.uint8]:
    if not len(starts):
        return np.zeros(0, np.uint8)
    lengths = ends - starts
    values = np.zeros(len(starts), np.int16)
    for place, weight in enumerate((1, 10, 100)):
        digits = solid[ends - 1 - place].astype(np.int16) - ord("0")
        values += np.where(lengths > place, weight * digits, 0).astype(np.int16)
    has_leading_zero = (lengths > 1) & (solid[starts] == ord("0"))
    if lengths.max() > 3 or values.max() > 255 or has_leading_zero.any():
        raise MalformedUpload(NOT_BYTES)
    return values.astype(np.uint8)
