"""A log that is read badly, or not at all."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.serving_process import free_port
from serving.log_stream import line_writer
from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import REPOSITORY, Server
from tests.serving.test_request_log import MADE_ID, exchange

StartWith = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_with(models: Path) -> Iterator[StartWith]:
    """Start servers with a standard error of the test's own, None for none; they end with the test."""
    publish(models, 1, color_bundle())
    started: list[subprocess.Popen[str]] = []

    def start(stderr: int | None, *arguments: str, port: int = 0) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "serving", "--models-dir", str(models), "--port", str(port), *arguments]
        if stderr is None:
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
        started.append(subprocess.Popen(command, cwd=REPOSITORY, stderr=stderr, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def listening(process: "subprocess.Popen[str]") -> str:
    """Read a server's log until it says at which address it listens."""
    assert process.stderr is not None
    for line in iter(process.stderr.readline, ""):
        if found := re.search(r"Listening on (\S+);", line):
            return found[1]
    pytest.fail("The server ended before it listened.")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_reader_that_goes_away_is_not_missed(start_with: StartWith, log_format: str) -> None:
    process = start_with(subprocess.PIPE, "--log-format", log_format)
    url = listening(process)
    assert process.stderr is not None
    process.stderr.close()
    with httpx.Client(base_url=url, headers={"Content-Type": "image/png"}) as client:
        for _ in range(50):
            assert client.post("/predict", content=RED).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_reader_that_stops_reading_holds_nobody_up(start_with: StartWith) -> None:
    process = start_with(subprocess.PIPE)
    url = listening(process)
    assert process.stderr is not None
    with httpx.Client(base_url=url, timeout=5) as client:
        for _ in range(400):  # lines of 600 bytes, into a pipe of 64 KB
            assert client.get("/" + 500 * "x").status_code == 404
    received: list[str] = []
    reader = threading.Thread(target=received.extend, args=(process.stderr,))
    reader.start()
    deadline = time.monotonic() + 10
    with httpx.Client(base_url=url) as client:
        while not any(" lines of the log before this one were lost" in line for line in list(received)):
            assert time.monotonic() < deadline
            client.get("/healthz")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    reader.join()
    assert received[-1].endswith("Stopped.\n")
    assert all(line.startswith("20") for line in received)


def first_answer(process: "subprocess.Popen[str]", port: int) -> httpx.Response:
    """What a server answers first that does not say where it listens."""
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz")
        except httpx.TransportError:
            time.sleep(0.1)


def test_warnings_alone_are_logged_where_that_is_asked_for(start_with: StartWith) -> None:
    port = free_port()
    process = start_with(subprocess.PIPE, "--log-level", "warning", port=port)
    answer = first_answer(process, port)
    assert MADE_ID.fullmatch(answer.headers["x-request-id"])
    process.terminate()
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, "")


def test_no_log_at_all_is_no_reason_not_to_serve(start_with: StartWith, models: Path) -> None:
    """With standard error closed, its number is given to the next file or socket: no line may end up there."""
    port = free_port()
    process = start_with(None, port=port)
    assert first_answer(process, port).json()["status"] == "ready"
    server = Server(process, Path(), models, f"http://127.0.0.1:{port}")
    assert exchange(server, b"no HTTP\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert server.stop() == 0


def test_a_full_disk_is_no_reason_not_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        line_writer()("lost")
