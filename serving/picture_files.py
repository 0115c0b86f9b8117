"""Names on a command line -> the files that they mean, and those files' bytes."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STANDARD_INPUT = "-"
# How pictures of the formats that are read are called; in folders, other files are passed over.
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp")
# More than the pixels that are allowed take in any format, so that no file fills the memory.
MAX_FILE_BYTES = 512 * 1024 * 1024
CHUNK_BYTES = 65_536


class UnreadableFile(Exception):
    """The file's bytes cannot be had; the text says why in one sentence."""


@dataclass(frozen=True)
class PictureFile:
    """One file to classify, or a folder in which there is none, and then ``problem`` says why."""

    name: str
    problem: str = ""

    def read(self) -> bytes:
        """Return all bytes, or those of standard input; raises UnreadableFile."""
        if self.problem:
            raise UnreadableFile(self.problem)
        is_input = self.name == STANDARD_INPUT
        try:
            with open(0 if is_input else self.name, "rb", buffering=0, closefd=not is_input) as file:
                data = bytearray()
                while chunk := file.read(CHUNK_BYTES):
                    data += chunk
                    if len(data) > MAX_FILE_BYTES:
                        raise UnreadableFile(f"It has more than the {MAX_FILE_BYTES} bytes allowed.")
        except OSError as error:
            raise UnreadableFile(f"It cannot be read: {error.strerror}.") from None
        if not data:
            raise UnreadableFile("It is empty.")
        return bytes(data)


def find_pictures(names: Sequence[str], recursive: bool) -> list[PictureFile]:
    """Replace each folder by the pictures in it, sorted by name; with ``recursive``, by those in its folders too.

    Files that are named themselves are taken whatever they are called, hidden ones in folders are not.
    """
    found: list[PictureFile] = []
    for name in names:
        found += list(_in_folder(name, recursive)) if os.path.isdir(name) else [PictureFile(name)]
    return found


def _in_folder(folder: str, recursive: bool) -> Iterator[PictureFile]:
    unreadable: list[PictureFile] = []
    is_empty = True
    for place, subfolders, names in os.walk(folder, onerror=lambda error: unreadable.append(_unreadable(error))):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".")) if recursive else []
        for name in sorted(names):
            path = os.path.join(place, name)
            if name.lower().endswith(SUFFIXES) and not name.startswith(".") and _is_file(path):
                is_empty = False
                yield PictureFile(path)
    yield from unreadable
    if is_empty and not unreadable:
        advice = "" if recursive else "; --recursive looks into its folders too"
        yield PictureFile(folder, f"No picture ({', '.join(SUFFIXES)}) is in this folder{advice}.")


def _is_file(path: str) -> bool:
    """Pass over pipes and devices, which may never end; a link that leads nowhere is worth a word."""
    return os.path.isfile(path) or os.path.islink(path)


def _unreadable(error: OSError) -> PictureFile:
    return PictureFile(str(error.filename), f"The folder cannot be read: {error.strerror}.")
