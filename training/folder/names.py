"""Names that people gave to folders and files: which may be a class's, and how they are shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from training.choices import DATASETS

_UNSHOWABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories: controls, halves of a pair (which is how Python reads bytes that are no UTF-8), line ends."""
_LISTED = 5
_LONGEST = 200  # characters; models/README.md allows 255


def class_name(folder_name: str) -> str:
    """The class that a folder stands for: its name, in Unicode's composed form (NFC), whichever the file system uses.

    Raises ValueError, with the reason, for a name that could not be shown.
    """
    name = unicodedata.normalize("NFC", folder_name)
    kinds = {unicodedata.category(character) for character in name}
    if "Cs" in kinds:
        raise ValueError("is not UTF-8")
    if kinds & _UNSHOWABLE:
        raise ValueError("holds a control character")
    return name


def shown(text: str) -> str:
    """The text on one line, with what a terminal could not show, or would obey, escaped."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _UNSHOWABLE else character
        for character in text
    )


def listed(names: Sequence[str], most: int = _LISTED) -> str:
    """ "a", "b" and 12 others"""
    quoted = [f'"{shown(name)}"' for name in names[:most]]
    others = len(names) - len(quoted)
    if others:
        quoted.append(f"{others:,} other{'s' if others > 1 else ''}")
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def dataset_name(folder_name: str) -> str:
    """A data set's name, which may be a model's too, from a folder's: "Blumen & Gräser" becomes "Blumen-Graser".

    Never that of a data set of this program, as which the pictures, or a model of them, could be taken.
    """
    plain = unicodedata.normalize("NFKD", folder_name).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plain)[:_LONGEST].strip("-._") or "folder"
    return f"{name}-folder" if name in DATASETS else name
