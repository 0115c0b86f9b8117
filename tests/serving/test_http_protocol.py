"""A connection between requests: whatever its client does, or leaves, it is answered, or the connection ends."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serving.http_protocol import LimitedProtocol
from serving.listener import bind
from tests.serving.raw_answer import read_answer

HEAD_TIMEOUT, UPLOAD_TIMEOUT, KEEP_ALIVE = 1.0, 2.0, 1  # seconds


async def answer_in_time(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers with the path, in as many seconds as it says, and reads no body."""
    path = scope["path"].encode()
    await asyncio.sleep(float(path[1:]))
    headers = [(b"content-length", b"%d" % len(path))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": path})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    listener = bind("127.0.0.1", 0)
    listener.listen()
    protocol = partial(LimitedProtocol, head_timeout=HEAD_TIMEOUT, upload_timeout=UPLOAD_TIMEOUT)
    config = uvicorn.Config(
        answer_in_time,
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture
def connection(port: int) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connected:
        yield connected


def request(path: str, length: int = 0) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "later"),
    [
        (request("/0"), b"\r\n"),
        (request("/0", 5), b"hello"),
        (request("/0", 5), b"hel"),
        (request("/0", 5), b""),
    ],
    ids=["a line end", "its body", "some of its body", "nothing"],
)
def test_whatever_comes_after_an_answer_the_connection_ends(
    connection: socket.socket, sent: bytes, later: bytes
) -> None:
    connection.sendall(sent)
    assert read_answer(connection) == (200, b"/0")
    connection.sendall(later)
    assert connection.recv(1) == b""


@pytest.mark.parametrize("before", [request("/0.1", 5_000) + 5_000 * b"x", 50 * request("/0.001")])
def test_what_came_before_a_head_is_no_part_of_it(
    connection: socket.socket, before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http_protocol.MAX_HEAD_BYTES", 1_000)
    last = request("/0.01")
    connection.sendall(before + last[:10])
    for _ in range(before.count(b"POST")):
        assert read_answer(connection)[0] == 200
    connection.sendall(last[10:])
    assert read_answer(connection) == (200, b"/0.01")


@pytest.mark.parametrize("pause", [0.1, (KEEP_ALIVE + UPLOAD_TIMEOUT) / 2])
def test_the_next_request_comes_after_a_body_that_nobody_read(connection: socket.socket, pause: float) -> None:
    connection.sendall(request("/0", 5))
    assert read_answer(connection) == (200, b"/0")
    time.sleep(pause)
    connection.sendall(b"hello" + request("/0.1"))
    assert read_answer(connection) == (200, b"/0.1")


def test_a_head_that_began_during_another_request_has_its_own_time(connection: socket.socket) -> None:
    next_one = request("/1.5")
    connection.sendall(request("/0.5") + next_one[:20])
    assert read_answer(connection) == (200, b"/0.5")
    connection.sendall(next_one[20:])
    assert read_answer(connection) == (200, b"/1.5")


def test_a_head_that_began_during_another_request_and_never_ends_is_refused(connection: socket.socket) -> None:
    connection.sendall(request("/0.5") + request("/0")[:20])
    assert read_answer(connection) == (200, b"/0.5")
    assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_what_is_no_request_is_not_answered_in_another_ones_place(connection: socket.socket) -> None:
    connection.sendall(request("/0.5") + b"\x16\x03\x01\r\n\r\n")
    assert connection.recv(100) == b""
