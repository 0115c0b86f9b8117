"""Writing files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from training.errors import UserError


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` with a new file beside `path`, flushes it to the disk, and renames it to `path`.

    Makes the directory, if need be. The name appears with the whole content or not at all, whatever is killed when.
    Raises UserError where the disk is full or the directory cannot be written to.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_directory(path.parent)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); make room or choose another place."
        ) from error


def sync_directory(directory: Path) -> None:
    """Makes renames in the directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_parts(directory: Path) -> None:
    """Deletes what a killed `write_atomically` left in the directory."""
    for part in directory.glob(".*.part"):
        part.unlink(missing_ok=True)
