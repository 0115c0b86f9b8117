"""The numbers of uint8 tensors in a JSON text, read without making a Python object of each.

A megabyte of them would keep the interpreter, and with it the event loop, for tens of milliseconds.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.upload import MalformedUpload

NOT_BYTES = "The data of 'images' must be a list of whole numbers from 0 to 255."
MAX_LISTS = 8

_DATA = re.compile(rb'"data"\s*:\s*(?=\[)')
_IN_LISTS = np.isin(np.arange(256), list(b"[]0123456789, \t\r\n"))


def without_data(text: bytes) -> tuple[bytes, list[bytes]]:
    """Return the JSON with an index in the place of each list that is a member ``data``, and these lists' texts.

    Raises MalformedUpload where one holds anything but whole numbers.
    """
    rest, lists, position = [], list[bytes](), 0
    while found := _DATA.search(text, position):
        if len(lists) == MAX_LISTS:
            raise MalformedUpload(f"The request has more than {MAX_LISTS} members 'data'.")
        end = _end_of_list(text, found.end())
        rest += [text[position : found.end()], b"%d" % len(lists)]
        lists.append(text[found.end() : end])
        position = end
    return b"".join([*rest, text[position:]]), lists


def _end_of_list(text: bytes, start: int) -> int:
    """What follows the last bracket belongs to the object around the list; whether that is right, its parser says."""
    is_in_list = _IN_LISTS[np.frombuffer(text, np.uint8, offset=start)]
    end = len(text) if is_in_list.all() else start + int(is_in_list.argmin())
    last = text.rfind(b"]", start, end)
    if end < len(text) and (last < 0 or text[end] not in b'}"' or text[last + 1 : end].strip() not in (b"", b",")):
        raise MalformedUpload(NOT_BYTES)
    return end if last < 0 else last + 1


def read_bytes(text: bytes, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Read a list, flat or nested as its shape says, into uint8 [product of the shape].

    Raises MalformedUpload where there are not as many numbers, or one is no byte.
    """
    characters = np.frombuffer(text, np.uint8)
    solid = characters[characters > ord(" ")]
    is_digit = solid >= ord("0")
    is_digit[solid > ord("9")] = False
    starts, ends = _edges(is_digit)
    numbers = math.prod(shape)
    # A space within a number makes two of it, until spaces are gone.
    if len(starts) != numbers or _count(characters) != numbers:
        raise MalformedUpload(f"The data of 'images' has {len(starts)} numbers, but its shape takes {numbers}.")
    is_nested = len(shape) > 1 and solid[1] == ord("[")
    are_between = np.isin(solid[starts - 1], list(b"[,")) & np.isin(solid[ends], list(b",]"))
    if not are_between.all() or solid[~is_digit].tobytes() != _brackets(shape if is_nested else [numbers]):
        raise MalformedUpload("The data of 'images' must be flat, or nested as its shape says.")
    return _values(solid, starts, ends)


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
        inner = b"[" + b",".join([inner] * length) + b"]"
    return inner


def _values(solid: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp]) -> NDArray[np.uint8]:
    lengths = ends - starts
    values = np.zeros(len(starts), np.int16)
    for place, weight in enumerate((1, 10, 100)):
        digits = solid[ends - 1 - place].astype(np.int16) - ord("0")
        values += np.where(lengths > place, weight * digits, 0).astype(np.int16)
    has_leading_zero = (lengths > 1) & (solid[starts] == ord("0"))
    if lengths.max() > 3 or values.max() > 255 or has_leading_zero.any():
        raise MalformedUpload(NOT_BYTES)
    return values.astype(np.uint8)
