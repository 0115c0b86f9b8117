"""Fixtures that tests of several rooms share."""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SHARED_COPY = REPOSITORY.parent / "shared" / "cifar10"
BINARY_VERSION = "cifar-10-batches-bin"


@pytest.fixture(scope="session")
def cifar10_dir() -> Path:
    """A folder that holds cifar-10-batches-bin, official or the JPEG copy; skips the test where there is none."""
    given = os.environ.get("CIFAR10_DIR")
    if given:
        return Path(given)
    if (REPOSITORY / "data" / BINARY_VERSION).is_dir():
        return REPOSITORY / "data"
    if (SHARED_COPY / "unpack.py").is_file():
        return _unpacked_copy()
    pytest.skip("needs CIFAR-10: set CIFAR10_DIR or run python -m training fetch")


def _unpacked_copy() -> Path:
    """The JPEG copy, unpacked once a machine, however many test processes ask for it at the same time."""
    archive = SHARED_COPY / "cifar10-jpeg.tar.xz"
    with open(archive, "rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    destination = Path(tempfile.gettempdir()) / f"cifar10-tests-{os.getuid()}-{fingerprint}"
    with open(f"{destination}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not destination.exists():
            with tempfile.TemporaryDirectory(prefix=destination.name, dir=destination.parent) as working:
                unpacked = Path(working) / "unpacked"
                subprocess.run([sys.executable, SHARED_COPY / "unpack.py", unpacked], check=True, capture_output=True)
                unpacked.rename(destination)
    return destination
