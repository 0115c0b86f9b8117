"""Pictures that could not be decoded: how many of them are borne, and where a person finds all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from training.errors import UserError
from training.files import write_atomically
from training.folder.files import PictureFile
from training.folder.names import shown

BROKEN_SHARE, BROKEN_FEW = 0.01, 10  # so many pictures may be broken: of all, or, if that is more, in number
_SHOWN, _SHOWN_IN_REFUSAL = 10, 3

Broken = dict[int, str]
"""Position among all pictures, to reason."""


def most_broken(pictures: int) -> int:
    """How many of so many may be broken."""
    return max(BROKEN_FEW, int(BROKEN_SHARE * pictures))


def write_list(path: Path, pictures: Sequence[PictureFile], broken: Broken) -> None:
    """A line for each: its path below the folder, a tab, what is wrong. Raises UserError where it cannot be written."""
    lines = (f"{name}\t{reason}\n" for name, reason in _named(pictures, broken))
    write_atomically(path, lambda file: file.write("".join(lines).encode()))


def described(pictures: Sequence[PictureFile], broken: Broken, list_path: Path) -> Iterator[str]:
    """Lines that name the first, and the file in which all are listed where there are more."""
    if broken:
        yield f"{len(broken):,} broken picture{'s are' if len(broken) > 1 else ' is'} left out:"
    for name, reason in _named(pictures, broken)[:_SHOWN]:
        yield f"  {name}: {reason}"
    others = len(broken) - _SHOWN
    if others > 0:
        yield f"  and {others:,} other{'s' if others > 1 else ''}{_place(list_path, pictures, broken)}"


def too_many(folder: Path, pictures: Sequence[PictureFile], broken: Broken, list_path: Path) -> UserError:
    first = "; ".join(f"{name}: {reason}" for name, reason in _named(pictures, broken)[:_SHOWN_IN_REFUSAL])
    return UserError(
        f"{len(broken):,} of the {len(pictures):,} pictures in {shown(str(folder))} are broken, and at most "
        f"{most_broken(len(pictures)):,} may be ({first}; …); mend or remove them, {list_path} lists all."
    )


def _place(list_path: Path, pictures: Sequence[PictureFile], broken: Broken) -> str:
    """Where all are listed; nothing where they are not any more and the place cannot be written to."""
    try:
        if not list_path.exists():
            write_list(list_path, pictures, broken)
    except (UserError, OSError):
        return ""
    return f"; {list_path} lists all"


def _named(pictures: Sequence[PictureFile], broken: Broken) -> list[tuple[str, str]]:
    return [(shown(pictures[at].path), reason) for at, reason in broken.items()]
