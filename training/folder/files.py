"""What lies in a folder and the folders below it: pictures, by their names, and the rest. None of them is opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from training.errors import UserError
from training.folder.names import shown

# In either case.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp")
UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".hif", ".avif", ".tif", ".tiff", ".jxl", ".jp2", ".svg"),
    *(".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".sr2", ".raf", ".orf", ".rw2", ".pef", ".srw"),  # raw
)

# What systems leave behind; others begin with a dot.
_LITTER = {
    *("__MACOSX", "Thumbs.db", "desktop.ini", "lost+found"),
    *("@eaDir", "$RECYCLE.BIN", "System Volume Information"),
}

_READABLE = 0o444  # by everybody, which saves asking


class PictureFile(NamedTuple):
    path: str
    """Below the folder, with slashes, as the file system spells it."""
    label: int
    size: int
    """Bytes."""
    changed: int
    """Nanoseconds since 1970; 0, as the size, of one that can't be opened: once it can, it has changed."""


class Files:
    """Links are followed, and what is hidden is not there. Methods raise UserError where a folder can't be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passed_over: list[str] = []
        """Paths below the folder: what has been met that is neither hidden nor a picture of a class. Hidden folders in
        which there are pictures are among them, with a slash at the end: a class's name may begin with a dot.
        """
        self.unread: dict[str, int] = {}
        """Paths below the folder, and labels: pictures of a class in formats that are not read."""

    def folders(self, place: Path) -> dict[str, Path]:
        """The folders in `place`, by their names; files there are passed over."""
        found = {}
        for entry in _entries(place):
            if _is_hidden(entry):
                if _is_folder(entry) and _holds_pictures(entry.path):
                    self.passed_over.append(f"{self._below(entry.path)}/")
            elif _is_folder(entry):
                found[entry.name] = Path(entry.path)
            else:
                self.passed_over.append(self._below(entry.path))
        return found

    def pictures(self, place: Path, label: int) -> list[PictureFile]:
        """Those in `place` and below it. Each folder is looked into once, even where links form a circle."""
        found = []
        seen: set[tuple[int, int]] = set()
        ahead = [str(place)]
        while ahead:
            path = ahead.pop()
            if (identity := _identity(path)) in seen:
                continue
            seen.add(identity)
            for entry in _entries(path):
                if _is_hidden(entry):
                    continue
                if _is_folder(entry):
                    ahead.append(entry.path)
                elif picture := self._picture(entry, label):
                    found.append(picture)
                elif entry.name.lower().endswith(UNREAD_SUFFIXES):
                    self.unread[self._below(entry.path)] = label
                else:
                    self.passed_over.append(self._below(entry.path))
        return found

    def _picture(self, entry: os.DirEntry[str], label: int) -> PictureFile | None:
        if not entry.name.lower().endswith(SUFFIXES):
            return None
        try:
            status = entry.stat()
        except OSError:  # whoever tries to open it will say why
            return PictureFile(self._below(entry.path), label, 0, 0)
        if not stat.S_ISREG(status.st_mode):
            return None  # a pipe, say, which would keep its reader waiting
        if status.st_mode & _READABLE != _READABLE and not os.access(entry.path, os.R_OK):
            return PictureFile(self._below(entry.path), label, 0, 0)
        return PictureFile(self._below(entry.path), label, status.st_size, status.st_mtime_ns)

    def _below(self, path: str) -> str:
        return path[len(os.path.join(self.folder, "")) :]


def suffixes(paths: Iterable[str]) -> str:
    """Those of the paths, each once: ".heic, .tif"."""
    return ", ".join(sorted({os.path.splitext(path)[1].lower() for path in paths}))


def has_folders(place: Path) -> bool:
    return any(_is_folder(entry) and not _is_hidden(entry) for entry in _entries(place))


def _holds_pictures(place: str) -> bool:
    """Not where it cannot be looked into: it is hidden."""
    names = (name for _, _, files in os.walk(place) for name in files)
    return any(name.lower().endswith(SUFFIXES + UNREAD_SUFFIXES) for name in names)


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle, or where nobody may look
        return False


def _entries(place: str | Path) -> list[os.DirEntry[str]]:
    """By name."""
    with _refusals(place), os.scandir(place) as entries:
        kept = [entry for entry in entries if entry.name not in _LITTER]
    return sorted(kept, key=lambda entry: entry.name)


def _identity(place: str) -> tuple[int, int]:
    with _refusals(place):
        status = os.stat(place)
        return status.st_dev, status.st_ino


@contextmanager
def _refusals(place: str | Path) -> Iterator[None]:
    name = shown(str(place))
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"There is no folder {name}; check the path after folder:.") from error
    except NotADirectoryError as error:
        raise UserError(f"{name} is a file; give the folder of the pictures after folder:.") from error
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); check the disk and the permissions.") from error
