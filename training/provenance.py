"""Where weights come from: the code's revision, the libraries' versions, the time."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def source_revision() -> str:
    """The git commit of this code, with "-dirty" where files have been changed since, or "unknown".

    Images are built without the repository's history: their builder gives the commit in $SOURCE_REVISION.
    """
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = _output([*git, "rev-parse", "HEAD"])
        changed = _output([*git, "status", "--porcelain", "--untracked-files=no", "."])
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("SOURCE_REVISION") or "unknown"
    return f"{commit}-dirty" if changed else commit


def libraries(names: Iterable[str]) -> dict[str, str]:
    """Python's version and those of the named distributions."""
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
