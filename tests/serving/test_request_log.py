"""Request ids, and what the log says of requests."""

import asyncio
import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serving.access import Cors
from serving.current_request import note_prediction
from serving.log_stream import WriteLine
from serving.problems import add_problem_handlers
from serving.request_log import RequestLog, access_line
from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import Server, StartServer
from tests.serving.test_predict import problem

MADE_ID = re.compile(r"[0-9a-f]{32}")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def lines_of(server: Server, request_id: str) -> list[str]:
    """The lines that name a request; the one that says how it was answered is written after the answer."""
    found: list[str] = []

    def reached() -> bool:
        found[:] = [line for line in server.log.splitlines() if request_id in line]
        return bool(found)

    server.wait_for(reached)
    return found


def exchange(server: Server, request: bytes) -> bytes:
    """What the server answers to bytes on a connection of their own."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/predict", 405),
        ("POST", "/predict", 400),
        ("POST", "/predict/batch", 400),
    ],
)
def test_every_answer_has_an_id_of_its_own_and_a_line(server: Server, method: str, path: str, status: int) -> None:
    answers = [server.client.request(method, server.url + path) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [status] * 2
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert ids[0] != ids[1]
    for request_id, answer in zip(ids, answers, strict=True):
        assert MADE_ID.fullmatch(request_id)
        (line,) = lines_of(server, request_id)
        assert f" {method} {path} {status} " in line
        assert f" {len(answer.content)} out" in line


def test_a_prediction_has_an_id_and_a_line(server: Server) -> None:
    answer = server.post(RED)
    (line,) = lines_of(server, answer.headers["x-request-id"])
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    127\.0\.0\.1:\d+ POST /predict 200 \d+\.\d ms, "
        rf"{len(RED)} bytes in, {len(answer.content)} out.* \[{answer.headers['x-request-id']}\]",
        line,
    )


@pytest.mark.parametrize(
    "given", ["7", "0f8fad5b-d9cb-469f-a165-70867728950e", "Root=1-67891233-ab/c@d:e+f.g_h", "a" * 128]
)
def test_a_sane_id_is_kept(server: Server, given: str) -> None:
    assert server.get("/nowhere", headers={"X-Request-ID": given}).headers["x-request-id"] == given
    assert lines_of(server, f"[{given}]")


@pytest.mark.parametrize(
    "given", ["", "a" * 129, "two words", 'quo"te', "<b>", "a\tb", "a;b", "[a]", b"\xc3\xa9", b"\x1b[31m"]
)
def test_any_other_is_replaced(server: Server, given: str | bytes) -> None:
    sent = given.encode() if isinstance(given, str) else given
    answer = exchange(
        server, b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: " + sent + b"\r\n\r\n"
    )
    if answer.startswith(b"HTTP/1.1 404"):
        made = re.search(rb"(?m)^x-request-id: ([0-9a-f]{32})\r$", answer)
        assert made, answer
        assert lines_of(server, made[1].decode())
    else:  # what no header may hold is refused by the parser
        assert answer.startswith(b"HTTP/1.1 400")
    assert not given or sent not in server.log.encode()


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (TRACEPARENT, f", trace {TRACE}]"),
        (f"{TRACEPARENT.replace('00-4', '01-4')}-what-comes-later", f", trace {TRACE}]"),
        (TRACEPARENT.replace("00-4", "ff-4"), "]"),
        (TRACEPARENT.replace(TRACE, "0" * 32), "]"),
        (TRACEPARENT.replace(TRACE, TRACE.upper()), "]"),
        (TRACEPARENT[:-1], "]"),
    ],
)
def test_the_trace_that_a_request_belongs_to_is_in_its_line(server: Server, sent: str, found: str) -> None:
    request_id = server.get("/nowhere", headers={"traceparent": sent}).headers["x-request-id"]
    (line,) = lines_of(server, request_id)
    assert line.endswith(f" [{request_id}{found}")


@pytest.mark.parametrize(
    ("target", "logged"),
    [
        (b"/a%0a2026-01-01%20INFO", "/a%0a2026-01-01%20INFO"),
        (b"/q?model=a&b=%1b[31m", "/q?model=a&b=%1b[31m"),
        (b'/"quoted\\', '/"quoted\\'),
        (b"/caf\xc3\xa9", "/caf%C3%A9"),
        (b"/tab\there", ""),
        (b"/" + 60_000 * b"x", "/" + 511 * "x" + " 404"),
    ],
)
def test_a_path_is_logged_as_sent_in_one_short_line(server: Server, target: bytes, logged: str) -> None:
    lines = len(server.log.splitlines())
    answer = exchange(server, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    server.wait_for(lambda: len(server.log.splitlines()) > lines)
    written = server.log.splitlines()[lines:]
    assert all(line.isascii() and line.isprintable() and len(line) < 1000 for line in written)
    if answer.startswith(b"HTTP/1.1 404"):
        (line,) = written
        assert f" GET {logged}" in line
    else:
        assert answer.startswith(b"HTTP/1.1 400")
        assert " 400 This is no request that HTTP/1.1 allows. [" in written[0]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(b"no HTTP\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nX: " + 70_000 * b"x", 431)],
)
def test_what_never_became_a_request_has_an_id_too(server: Server, request_bytes: bytes, status: int) -> None:
    head, _, body = exchange(server, request_bytes).partition(b"\r\n\r\n")
    assert json.loads(body)["status"] == status
    made = re.search(rb"(?mi)^x-request-id: ([0-9a-f]{32})\r?$", head)
    assert made, head
    (line,) = lines_of(server, made[1].decode())
    assert re.search(rf"INFO    127\.0\.0\.1:\d+ {status} .* \[{made[1].decode()}\]$", line)


def test_bytes_are_those_that_came_and_went(server: Server) -> None:
    def chunks() -> Any:
        yield RED[:50]
        yield RED[50:]

    answer = server.post(chunks())
    assert answer.status_code == 200
    (line,) = lines_of(server, answer.headers["x-request-id"])
    assert f" {len(RED)} bytes in, {len(answer.content)} out" in line
    refused = server.post(b"x" * 6_000_000)
    (line,) = lines_of(server, refused.headers["x-request-id"])
    assert f" 413 {line.split(' 413 ')[1].split()[0]} ms, 0 bytes in, " in line


def test_a_client_that_goes_away_has_a_line(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    request = b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: gone-away\r\nContent-Type: image/png\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request + b"Content-Length: %d\r\n\r\n" % len(RED) + RED[:-1])
        time.sleep(0.2)
    (line,) = lines_of(server, "[gone-away]")
    assert " POST /predict 499 " in line
    assert f" {len(RED) - 1} bytes in, " in line


def test_connections_are_told_apart_though_ids_follow_tasks(server: Server) -> None:
    """A line about a connection does not carry the id of a request that came over it before."""
    request = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nX-Request-ID: the-one-before\r\n\r\n"
    lines = len(server.log.splitlines())
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while b"nothing at /nowhere" not in answer:
            answer += connection.recv(65536)
        connection.sendall(b"garbage\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")
    server.wait_for(lambda: len(server.log.splitlines()) >= lines + 2)
    assert "the-one-before" in server.log.splitlines()[lines]
    assert "the-one-before" not in server.log.splitlines()[lines + 1]


def failing_app(write: WriteLine, log_format: str) -> RequestLog:
    app = FastAPI()
    add_problem_handlers(app)

    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError("secret")

    @app.get("/predicts")
    async def predicts() -> None:
        note_prediction("cat", "cifar10", 3)

    return RequestLog(Cors(app, ["https://example.org"]), access_line(log_format), write)


def ask(app: RequestLog, path: str, **headers: str) -> httpx.Response:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(get())


def test_a_mistake_of_the_server_has_an_id_and_a_line_and_can_be_read_by_pages() -> None:
    lines: list[str] = []
    answer = ask(failing_app(lines.append, "text"), "/fails", Origin="https://example.org")
    assert "secret" not in problem(answer, 500)
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    (line,) = lines
    assert " GET /fails 500 " in line
    assert line.endswith(f"[{answer.headers['x-request-id']}]")


def test_the_line_says_what_was_predicted_and_by_what() -> None:
    lines: list[str] = []
    ask(failing_app(lines.append, "text"), "/predicts")
    ask(failing_app(lines.append, "json"), "/predicts")
    assert ", 4 out, cat (cifar10 3) [" in lines[0]
    assert json.loads(lines[1]).items() >= {"label": "cat", "model": "cifar10", "version": 3}.items()
    note_prediction("cat", "cifar10", 3)  # outside of a request there is nobody to note it for
