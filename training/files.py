"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from training.errors import UserError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` with a new file beside `path`, flushes it to the disk, and renames it to `path`.

    Makes the directory, if need be. The name appears with the whole content or not at all, whatever is killed when,
    power lost included; once this returns, the file is on the disk. Several processes may write the same path: the
    last one wins. Raises UserError where the disk is full or the directory cannot be written to.
    """
    # Not the process's id: in two containers that share a directory it may be the same.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        make_directory(path.parent)
        try:
            with beside.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_directory(path.parent)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> UserError:
    """What to tell the user about a file that could not be written."""
    return UserError(f"{path} could not be written ({error.strerror or error}); make room or choose another place.")


def make_directory(directory: Path) -> None:
    """Makes a directory and those above it, as far as they are missing, so that a loss of power leaves them there."""
    if directory.is_dir():
        return
    if not directory.parent.exists():
        make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Makes what was created and renamed in the directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # how file systems say that they have no such thing for directories
            raise
    finally:
        os.close(descriptor)


def remove_parts(directory: Path) -> None:
    """Deletes what a killed `write_atomically` left in the directory, in which nothing else may be writing."""
    for part in directory.glob(".*.part"):
        part.unlink(missing_ok=True)
