"""Decoded pictures of folders, on the disk, so that each file is decoded once and not at every start.

CACHE/cifar10-train-and-serve/NAME-HASH/SIDE-FINGERPRINT.pictures  uint8 [M, 3, SIDE, SIDE], without a header
                                        SIDE-FINGERPRINT.json      what was found out about them; written last
                                        SIDE-FINGERPRINT.txt       those that are broken, for people (broken.py)

CACHE is $XDG_CACHE_HOME, else ~/.cache (XDG Base Directory Specification): not the pictures' own folder, which may be
read-only or somebody else's, and not the run's, since many runs share a folder. Where that cannot be written to, a
folder among the system's temporary files takes its place. HASH is of the folder's path; the fingerprint is of all that
decides the pixels, the files' sizes and times of change among it, so that what bears it is up to date. Of each size the
newest is kept. All of it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.errors import UserError
from training.files import make_directory, remove_parts, write_atomically
from training.folder.broken import Broken
from training.folder.names import dataset_name, shown
from training.folder.places import lock, open_lock, roots
from training.say import Say

Write = Callable[[IO[bytes], Path], Broken]
"""Writes the pictures into the file, and those that are broken to the path."""


class Facts(NamedTuple):
    """What only looking at all pictures tells."""

    train_sha256: str
    test_sha256: str
    in_both: int
    """How many test pictures are among the training pictures, pixel for pixel."""


@dataclass(frozen=True, eq=False)
class Cached:
    images: Tensor
    """uint8 [M, 3, side, side], mapped: read from the disk when it is looked at. Not to be written to."""
    broken: Broken
    """What could not be decoded, by its position among all pictures."""
    facts: Facts
    broken_list: Path
    """The file that lists them; somebody may have deleted it."""


class FolderCache:
    """Of one folder, at one size, in one state."""

    def __init__(self, folder: Path, side: int, fingerprint: str) -> None:
        self._folder, self._side = folder, side
        path_hash = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
        self._directory = f"{dataset_name(folder.name)[:64]}-{path_hash}"
        self._name = f"{side}-{fingerprint}"

    def _find(self) -> Cached | None:
        found = (self._read(root / self._directory) for root in roots())
        return next(filter(None, found), None)

    def find_or_make(self, pictures: int, write: Write, facts: Callable[[Tensor, Broken], Facts], say: Say) -> Cached:
        """What is there, or else is made now: `write` writes those of the `pictures` that are not broken.

        Of several processes one makes it while the others wait. Raises UserError where there is no room, or no place.
        """
        found = self._find()
        if found:
            return found
        with self._locked(say) as directory:
            found = self._read(directory)
            if found:
                return found
            self._remove_older(directory)
            self._check_room(directory, pictures)
            say(f"Decoding {pictures:,} pictures of {shown(str(self._folder))}, this once, into {directory}.")
            return self._make(directory, pictures, write, facts)

    def _read(self, directory: Path) -> Cached | None:
        """None where there is nothing of this state, or something damaged."""
        try:
            told = json.loads((directory / f"{self._name}.json").read_bytes())
            images = self._map(directory, told["pictures"])
            broken = {int(at): reason for at, reason in told["broken"].items()}
            return Cached(images, broken, Facts(**told["facts"]), self._broken_list(directory))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None

    def _map(self, directory: Path, pictures: int) -> Tensor:
        """Raises ValueError where there are not so many."""
        pixels = np.memmap(directory / f"{self._name}.pictures", np.uint8, "r")
        with warnings.catch_warnings():
            # PyTorch has no tensors that cannot be written to.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(pixels.reshape(pictures, 3, self._side, self._side))

    def _make(self, directory: Path, pictures: int, write: Write, facts: Callable[[Tensor, Broken], Facts]) -> Cached:
        broken: Broken = {}
        broken_list = self._broken_list(directory)
        write_atomically(directory / f"{self._name}.pictures", lambda file: broken.update(write(file, broken_list)))
        images = self._map(directory, pictures - len(broken))
        found = Cached(images, broken, facts(images, broken), broken_list)
        told = {"pictures": len(images), "broken": broken, "facts": found.facts._asdict()}
        write_atomically(directory / f"{self._name}.json", lambda file: file.write(json.dumps(told).encode()))
        return found

    def _broken_list(self, directory: Path) -> Path:
        return directory / f"{self._name}.txt"

    def _check_room(self, directory: Path, pictures: int) -> None:
        needed, free = pictures * 3 * self._side**2, shutil.disk_usage(directory).free
        if needed > free:
            raise UserError(
                f"The pictures of {shown(str(self._folder))} take {needed / 1e6:,.0f} MB when they are decoded and "
                f"{directory} has room for {free / 1e6:,.0f}; make room, give a smaller --image-size, or name another "
                "folder in $XDG_CACHE_HOME."
            )

    def _remove_older(self, directory: Path) -> None:
        """Another process may go on with what it has mapped, as long as it likes."""
        remove_parts(directory)
        for path in directory.glob(f"{self._side}-*"):
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, say: Say) -> Iterator[Path]:
        """The folder's directory in the first place that can be written to, for this process alone."""
        for root in roots():
            directory = root / self._directory
            try:
                root.mkdir(mode=0o700, parents=True, exist_ok=True)  # for this user alone, as the specification asks
                make_directory(directory)
                descriptor, is_ours = open_lock(directory / ".lock")
            except OSError as error:
                say(f"{directory} cannot be used ({error.strerror}); looking for another place.")
                continue
            try:
                if not is_ours:
                    say(f"Another process is decoding {shown(str(self._folder))}; waiting for it.")
                    lock(descriptor)
                yield directory
            finally:
                os.close(descriptor)
            return
        raise UserError("There is no place for decoded pictures; name a folder in $XDG_CACHE_HOME.")
