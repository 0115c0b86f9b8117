"""How what takes long tells people where it is."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], object]
"""What takes sentences for people."""


def announce(sentence: str) -> None:
    """Prints at once, also where output goes into a file: what follows may take minutes."""
    print(sentence, flush=True)
