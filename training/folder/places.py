"""The places where decoded pictures may be kept, and the lock of one of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROGRAM = "cifar10-train-and-serve"


def roots() -> Iterator[Path]:
    """Where caches may be, the best place first."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    caches = given if os.path.isabs(given) else os.path.expanduser("~/.cache")  # the specification's words
    if os.path.isabs(caches):
        yield Path(caches, PROGRAM)
    with contextlib.suppress(FileNotFoundError):
        temporary = Path(tempfile.gettempdir(), f"{PROGRAM}-{os.getuid()}")
        if not _is_somebody_elses(temporary):
            yield temporary


def _is_somebody_elses(directory: Path) -> bool:
    """Where everybody may write, everybody may have taken the name."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return False
    return status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode)


def open_lock(path: Path) -> tuple[int, bool]:
    """A descriptor, and whether it is locked: another process may have been first.

    Raises OSError also where the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return descriptor, lock(descriptor, fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise


def lock(descriptor: int, flags: int = 0) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        return False
    return True
