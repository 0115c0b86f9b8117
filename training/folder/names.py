"""Names that people gave to folders and files: which may be a class's, and how they are shown."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from training.choices import DATASETS

_UNSHOWABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories: controls, halves of a pair (which is how Python reads bytes that are no UTF-8), line ends."""
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""Unicode's bidirectional classes: what makes a terminal show the text after it in another order. The marks that names
in Hebrew and Arabic hold, and those that join an emoji's parts, are not among them.
"""
_LISTED = 5
_LONGEST = 120  # characters; a server takes models' names of up to 128
_HASHED = 6  # hex digits


def class_name(folder_name: str) -> str:
    """The class that a folder stands for: its name, in Unicode's composed form (NFC), whichever the file system uses.

    Raises ValueError, with the reason, for a name that could not be shown.
    """
    name = unicodedata.normalize("NFC", folder_name)
    if any(unicodedata.category(character) == "Cs" for character in name):
        raise ValueError("is not UTF-8")
    if not all(map(_is_showable, name)):
        raise ValueError("holds a control character")
    return name


def shown(text: str) -> str:
    """The text on one line, with what a terminal could not show, or would obey, escaped."""
    return "".join(
        character if _is_showable(character) else character.encode("unicode_escape").decode() for character in text
    )


def _is_showable(character: str) -> bool:
    return unicodedata.category(character) not in _UNSHOWABLE and unicodedata.bidirectional(character) not in _TURNING


def listed(names: Sequence[str], most: int = _LISTED) -> str:
    """ "a", "b" and 12 others"""
    quoted = [f'"{shown(name)}"' for name in names[:most]]
    others = len(names) - len(quoted)
    if others:
        quoted.append(f"{others:,} other{'s' if others > 1 else ''}")
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def dataset_name(folder_name: str) -> str:
    """A data set's name, which may be a model's too, from a folder's: "Blumen & Gräser" becomes "Blumen-Graser".

    Where that loses letters or digits, as of every name in another script, a hash of the folder's name tells it from
    others: "花" becomes "folder-" and six hex digits. At most 120 characters, and never the name of a data set of this
    program, as which the pictures, or a model of them, could be taken.
    """
    spelled = unicodedata.normalize("NFKD", folder_name)
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", spelled.encode("ascii", "ignore").decode())
    if any(character.isalnum() and not character.isascii() for character in spelled):
        composed = unicodedata.normalize("NFC", folder_name).encode(errors="surrogateescape")
        digits = hashlib.sha256(composed).hexdigest()[:_HASHED]
        return f"{_cut(plain, _LONGEST - len(digits) - 1)}-{digits}"
    name = _cut(plain, _LONGEST)
    return f"{name}-folder" if name in DATASETS else name


def _cut(plain: str, longest: int) -> str:
    return plain[:longest].strip("-._") or "folder"
