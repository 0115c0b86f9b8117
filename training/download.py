"""Getting CIFAR-10: the folder that holds it already, or the official archive, verified and unpacked."""

import contextlib
import errno
import fcntl
import http.client
import io
import os
import queue
import shutil
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torchvision.datasets.utils import calculate_md5, check_integrity, download_url, extract_archive

from training import cifar10
from training.errors import NoNetwork, UserError


@dataclass(frozen=True)
class Archive:
    """A gzipped tar file on the network that holds `cifar-10-batches-bin`."""

    url: str
    size: int
    """Bytes."""
    md5: str

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


OFFICIAL = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,
    md5="c32a1d4ab5d03f1284b67883e8d87530",
)

_WORKING_FOLDER = ".cifar-10-fetch"
_LOCK_FILE = ".cifar-10-fetch.lock"
_UNPACKED_BYTES = 6 * cifar10.FILE_BYTES
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_ERRORS = (*_NO_ROOM, errno.EROFS, errno.EIO)


def fetch(
    data_dir: Path | None,
    archive: Archive = OFFICIAL,
    answer_seconds: float = 10,
    stall_seconds: float = 30,
) -> Path:
    """The folder that holds CIFAR-10's binary version, which is fetched into it if it is not there yet.

    The folder is `data_dir`, or what `cifar10.directory` says. An archive that somebody has put there is used
    before the network. Everything is written into a working folder beside the destination and renamed into
    place once it is verified: a fetch that is killed leaves nothing that looks whole, and the next one clears
    it away. Of two fetches into one folder the second waits for the first.

    `answer_seconds` bounds the wait for the server's first answer, name resolution included; `stall_seconds`
    is how long the download may stand still.

    Raises NoNetwork if the archive cannot be had over the network; UserError if the folder holds a damaged
    copy or cannot be written, or if the archive is not the one expected.
    """
    folder = cifar10.directory(data_dir)
    if _holds_cifar10(folder):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_fetch(folder):
            if not _holds_cifar10(folder):
                _fill(folder, archive, answer_seconds, stall_seconds)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _no_room(folder, archive) from error
        raise UserError(
            f"{folder} holds no {cifar10.FOLDER} and cannot be written to ({error.strerror or error}); give --data-dir "
            f"or ${cifar10.DIRECTORY_VARIABLE} the folder that holds it, or one that can be written to."
        ) from error
    return folder


def _holds_cifar10(folder: Path) -> bool:
    # A damaged copy is reported and left alone: it is somebody's, and they may want to look at it first.
    if not os.path.exists(folder / cifar10.FOLDER):
        return False
    cifar10.check(folder)
    return True


@contextlib.contextmanager
def _only_fetch(folder: Path) -> Iterator[None]:
    with open(folder / _LOCK_FILE, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another fetch into {folder} is at work; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill(folder: Path, archive: Archive, answer_seconds: float, stall_seconds: float) -> None:
    working = folder / _WORKING_FOLDER
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir()
    try:
        path = folder / archive.file_name
        if not check_integrity(path, archive.md5):
            if path.exists():
                print(f"{path} is not the official archive (another MD5); it is not used.", flush=True)
            _wait_for_answer(archive, answer_seconds)
            if shutil.disk_usage(working).free < archive.size + _UNPACKED_BYTES:
                raise _no_room(folder, archive)
            path = _download(archive, working, stall_seconds)
            _verify(path, archive)
        print(f"Unpacking {archive.file_name}.", flush=True)
        extract_archive(path, working)
        cifar10.check(working)
        _flush_to_disk(working / cifar10.FOLDER)
        os.rename(working / cifar10.FOLDER, folder / cifar10.FOLDER)
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _wait_for_answer(archive: Archive, seconds: float) -> None:
    """Raise NoNetwork unless the server offers a file of the right size within `seconds`."""
    answers: queue.SimpleQueue[int | Exception | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            with urllib.request.urlopen(archive.url, timeout=seconds) as response:
                answers.put(response.length)
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    # Name resolution can hang far longer than any socket timeout; a daemon thread can be left behind.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise _no_network(archive, f"no answer within {seconds:g} seconds") from None
    if isinstance(answer, Exception):
        raise _no_network(archive, _reason(answer)) from answer
    if answer is not None and answer != archive.size:
        raise _no_network(archive, f"the answer is {answer:,} bytes long instead of {archive.size:,}")


def _download(archive: Archive, working: Path, stall_seconds: float) -> Path:
    print(f"Fetching {archive.url} ({archive.size / 1e6:,.0f} MB).", flush=True)
    timeout_before = socket.getdefaulttimeout()
    # torchvision sets no timeout of its own, and would wait for a silent server forever.
    socket.setdefaulttimeout(stall_seconds)
    try:
        with _progress_on_a_terminal_only():
            download_url(archive.url, working, archive.file_name)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise
        raise _no_network(archive, _reason(error)) from error
    finally:
        socket.setdefaulttimeout(timeout_before)
    return working / archive.file_name


@contextlib.contextmanager
def _progress_on_a_terminal_only() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


def _verify(path: Path, archive: Archive) -> None:
    size = path.stat().st_size
    if size < archive.size:
        raise _no_network(archive, f"the connection broke after {size:,} of {archive.size:,} bytes")
    found = calculate_md5(path)
    if found != archive.md5:
        raise UserError(
            f"What {archive.url} sent is damaged (its MD5 is {found} instead of {archive.md5}) and has been "
            "removed; try again, or fetch the archive by another way and put it into the data directory."
        )


def _flush_to_disk(folder: Path) -> None:
    # Without this a power cut after the rename could leave files of the right size that hold zeros.
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _no_room(folder: Path, archive: Archive) -> UserError:
    needed = (archive.size + _UNPACKED_BYTES) / 1e6
    return UserError(
        f"There is no room for CIFAR-10 in {folder}, which takes {needed:,.0f} MB while it is unpacked; make "
        f"room or choose another folder with --data-dir or ${cifar10.DIRECTORY_VARIABLE}."
    )


def _no_network(archive: Archive, reason: str) -> NoNetwork:
    return NoNetwork(
        f"CIFAR-10 cannot be fetched from {archive.url} ({reason}); check the network, or give --data-dir "
        f"or ${cifar10.DIRECTORY_VARIABLE} a folder that holds {cifar10.FOLDER} or {archive.file_name}, or go on with "
        "--data synthetic."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "the server fell silent"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
