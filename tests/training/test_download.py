"""Fetching CIFAR-10 from real servers on the loopback interface: good ones, and every kind of bad one."""

import hashlib
import io
import os
import pty
import shutil
import socket
import subprocess
import sys
import tarfile
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.training.processes import SECONDS
from training.download import OFFICIAL, Archive, fetch
from training.errors import NoNetwork, UserError

FOLDER = "cifar-10-batches-bin"
FILES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
FILE_BYTES = 30_730_000
FETCH = """
import sys
from pathlib import Path
from training.download import Archive, fetch
fetch(Path(sys.argv[1]), Archive(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    """An archive laid out as the official one: six files of zeros, small once compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name in FILES:
            member = tarfile.TarInfo(f"{FOLDER}/{name}.bin")
            member.size = FILE_BYTES
            tar.addfile(member, io.BytesIO(bytes(FILE_BYTES)))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves /good, /truncated, /damaged, /stalls, /silent, /page and /lengthless under any file name, else 404."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.release = threading.Event()
        self.bodies_sent = 0

    def archive(self, behaviour: str) -> Archive:
        url = f"http://127.0.0.1:{self.server_address[1]}/{behaviour}/cifar-10-binary.tar.gz"
        return Archive(url, len(self.content), hashlib.md5(self.content).hexdigest())


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        behaviour = self.path.split("/")[1]
        content = self.server.content
        bodies = {
            "good": content,
            "truncated": content[: len(content) // 2],
            "damaged": content[:-1000] + bytes(1000),
            "stalls": content[: len(content) // 2],
            "page": b"<html>Please log in</html>",
        }
        if behaviour == "silent":
            self.server.release.wait(SECONDS)
            return
        if behaviour == "lengthless":
            self.send_response(200)
            self.end_headers()
            return
        if behaviour not in bodies:
            self.send_error(404)
            return
        body = bodies[behaviour]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if behaviour == "page" else len(content)))
        self.end_headers()
        try:
            self.wfile.write(body)
            self.server.bodies_sent += 1
        except OSError:
            return
        if behaviour == "stalls":
            self.server.release.wait(SECONDS)

    def log_message(self, format: str, *args: object) -> None:
        """The terminal is the tests'."""


@pytest.fixture
def server(content: bytes) -> Iterator[Server]:
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.release.set()
        server.shutdown()


def nothing_is_left(data_dir: Path) -> bool:
    return [path.name for path in data_dir.iterdir()] == [".cifar-10-fetch.lock"]


def test_fetches_once_and_then_knows(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data_dir = tmp_path / "new" / "data"
    assert fetch(data_dir, server.archive("good")) == data_dir
    assert {path.stat().st_size for path in (data_dir / FOLDER).iterdir()} == {FILE_BYTES}
    assert sorted(path.name for path in data_dir.iterdir()) == [".cifar-10-fetch.lock", FOLDER]
    output = capfd.readouterr()
    assert "Fetching" in output.out
    assert output.err == ""  # no bar where there is no terminal

    server.content = b""
    assert fetch(data_dir, server.archive("good")) == data_dir
    assert fetch(data_dir / FOLDER, server.archive("good")) == data_dir
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("behaviour", "error", "sentence", "patience"),
    [
        ("missing", NoNetwork, "the server answered 404", {}),
        ("page", NoNetwork, "the answer is 26 bytes long instead of", {}),
        ("silent", NoNetwork, "no answer within 0.5 seconds|fell silent|timed out", {"answer_seconds": 0.5}),
        ("stalls", NoNetwork, "the server fell silent", {"stall_seconds": 2}),
        ("truncated", NoNetwork, "the connection broke after [0-9,]+ of [0-9,]+ bytes", {}),
        ("damaged", UserError, "is damaged .its MD5 is .* and has been removed; try again", {}),
    ],
)
def test_bad_server(
    server: Server,
    tmp_path: Path,
    behaviour: str,
    error: type[UserError],
    sentence: str,
    patience: dict[str, float],
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        fetch(tmp_path, server.archive(behaviour), **patience)
    assert caught.type is error
    assert nothing_is_left(tmp_path)
    assert socket.getdefaulttimeout() is None

    fetch(tmp_path, server.archive("good"))
    assert (tmp_path / FOLDER / "test_batch.bin").stat().st_size == FILE_BYTES


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_no_network_says_how_to_go_on(tmp_path: Path, host: str) -> None:
    start = time.monotonic()
    with pytest.raises(NoNetwork, match=r"check the network, or give --data-dir .* or go on with --data synthetic"):
        fetch(tmp_path, replace(OFFICIAL, url=f"http://{host}/cifar-10-binary.tar.gz"))
    assert time.monotonic() - start < 15
    assert nothing_is_left(tmp_path)


def test_archive_fetched_by_hand_needs_no_network(server: Server, tmp_path: Path) -> None:
    archive = replace(server.archive("good"), url="http://127.0.0.1:1/cifar-10-binary.tar.gz")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(server.content)
    fetch(tmp_path, archive)
    assert (tmp_path / FOLDER / "data_batch_1.bin").stat().st_size == FILE_BYTES
    assert (tmp_path / "cifar-10-binary.tar.gz").read_bytes() == server.content


def test_broken_archive_fetched_by_hand_is_passed_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(server.content[:1000])
    fetch(tmp_path, server.archive("good"))
    assert (tmp_path / FOLDER / "data_batch_1.bin").stat().st_size == FILE_BYTES


def test_damaged_copy_is_reported_and_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "data_batch_1.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"data_batch_1.bin has 4 bytes where"):
        fetch(tmp_path, server.archive("good"))
    assert (tmp_path / FOLDER / "data_batch_1.bin").read_bytes() == b"mine"


def test_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"file/data holds no cifar-10-batches-bin and cannot be written to \(.+\); give"
    ):
        fetch(tmp_path / "file" / "data", server.archive("good"))


def test_full_disk_is_noticed_before_the_download(server: Server, tmp_path: Path) -> None:
    larger_than_the_disk = replace(server.archive("lengthless"), size=shutil.disk_usage(tmp_path).total)
    with pytest.raises(UserError, match=r"no room for CIFAR-10 in .*; make room or choose another folder"):
        fetch(tmp_path, larger_than_the_disk)
    assert nothing_is_left(tmp_path)


def test_killed_half_way_then_again(server: Server, tmp_path: Path) -> None:
    archive = server.archive("stalls")
    process = subprocess.Popen(command(tmp_path, archive), stdout=subprocess.DEVNULL)
    partial = tmp_path / ".cifar-10-fetch" / "cifar-10-binary.tar.gz"
    deadline = time.monotonic() + SECONDS
    while not (partial.exists() and partial.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert 0 < partial.stat().st_size < archive.size
    assert not (tmp_path / FOLDER).exists()

    fetch(tmp_path, server.archive("good"))
    assert (tmp_path / FOLDER / "data_batch_1.bin").stat().st_size == FILE_BYTES
    assert not partial.parent.exists()


def test_second_fetch_waits_for_the_first(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetches = [threading.Thread(target=fetch, args=(tmp_path, server.archive("good"))) for _ in range(2)]
    for one in fetches:
        one.start()
    for one in fetches:
        one.join()
    output = capfd.readouterr().out
    assert output.count("Another fetch into") == 1
    assert output.count("Unpacking") == 1
    assert {path.stat().st_size for path in (tmp_path / FOLDER).iterdir()} == {FILE_BYTES}


def test_progress_is_shown_on_a_terminal(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))  # a new one has no columns, and tqdm draws nothing into those
    with open(end, "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        fetch(tmp_path, server.archive("good"))
        stderr.flush()
        shown = os.read(terminal, 100_000)
    os.close(terminal)
    assert b"100" in shown
    assert b"%" in shown


def command(data_dir: Path, archive: Archive) -> list[str]:
    return [sys.executable, "-c", FETCH, str(data_dir), archive.url, str(archive.size), archive.md5]
