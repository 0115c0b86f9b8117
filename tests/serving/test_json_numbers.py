"""Lists of numbers as `json` reads them, or refused: over mutations of good ones."""

import json
import random
from typing import Any

import numpy as np

from serving.open_inference.json_numbers import read_bytes, without_data
from serving.upload import MalformedUpload

SHAPE = [2, 2, 1, 3]
PIECES = [
    b"[",
    b"]",
    b",",
    b" ",
    b"\n",
    b"0",
    b"00",
    b"255",
    b"256",
    b"-",
    b".",
    b"e",
    b'"',
    b"{",
    b"null",
    b"1 2",
    b"\0",
]


def mutated(text: bytes, choose: random.Random) -> bytes:
    """Up to three pieces put in, taken out or replaced."""
    changed = bytearray(text)
    for _ in range(choose.randrange(4)):
        start = choose.randrange(len(changed))
        changed[start : start + choose.choice([0, 1, 1, 3])] = choose.choice([*PIECES, b""])
    return bytes(changed)


def read_by_json(text: bytes) -> list[int] | None:
    """The numbers, or None for what is to be refused."""
    try:
        data = json.loads(text)["data"]
        array = np.array(data, dtype=object)
    except (ValueError, KeyError, TypeError):
        return None
    numbers = array.ravel().tolist()
    if b"-0" in text:  # nobody means it
        return None
    is_shaped = isinstance(data, list) and list(array.shape) in (SHAPE, [array.size]) and array.size == np.prod(SHAPE)
    return numbers if is_shaped and all(type(n) is int and 0 <= n <= 255 for n in numbers) else None


def read_here(text: bytes, piece_bytes: int) -> list[int] | None:
    try:
        rest, lists = without_data(text)
        json.loads(rest)
        return read_bytes(lists[0], SHAPE, piece_bytes).tolist() if len(lists) == 1 else None
    except (MalformedUpload, ValueError):
        return None


def test_numbers_are_read_as_json_reads_them() -> None:
    choose, outcomes = random.Random(0), dict[bool, int]()
    for attempt in range(4_000):
        pixels: Any = np.reshape([choose.choice([0, 7, 10, 99, 100, 255]) for _ in range(12)], SHAPE)
        data = (pixels if attempt % 2 else pixels.ravel()).tolist()
        text = json.dumps({"id": "[1]", "data": data, "name": "x"}, indent=choose.choice([None, 1])).encode()
        sent = mutated(text, choose)
        expected = read_by_json(sent)
        assert read_here(sent, piece_bytes=1000) == expected, sent
        assert read_here(sent, piece_bytes=choose.randrange(60, 150)) == expected, sent
        outcomes[expected is None] = outcomes.get(expected is None, 0) + 1
    assert min(outcomes.values()) > 500
