"""What a command line's words may be. Each function raises argparse.ArgumentTypeError, whose text argparse prints."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable

from training import choices


def whole_number(least: int, below: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (below is not None and int(text) >= below):
            limit = f"from {least} up" if below is None else f"from {least} to {below - 1}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limit}")
        return int(text)

    return parse


def data(text: str) -> str:
    """A folder's path becomes absolute: a run remembers it."""
    given = text.removeprefix(choices.FOLDER)
    if text.startswith(choices.FOLDER) and given:
        path = os.path.abspath(os.path.expanduser(given))
        if path.encode(errors="replace") != os.fsencode(path):
            raise argparse.ArgumentTypeError(f"{path!r} is not UTF-8; rename the folder, or make a link to it")
        return choices.FOLDER + path
    if text not in choices.DATASETS:
        raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {choices.DATA})")
    return text


def share(text: str) -> float:
    number = positive_number(text)
    if number >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return number


def positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number greater than 0")
    return number
