"""Requests that are no HTTP, or hardly: each is answered or cut off, and nobody else notices."""

import contextlib
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import Server, start

FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + RED + b"\r\n--b--\r\n"


def post(body: bytes, *headers: bytes, path: bytes = b"/predict") -> bytes:
    return b"POST " + path + b" HTTP/1.1\r\n" + b"".join(h + b"\r\n" for h in (b"Host: x", *headers)) + b"\r\n" + body


def chunked(body: bytes, size: int = 40) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


LENGTH = b"Content-Length: %d" % len(RED)
CHUNKED = b"Transfer-Encoding: chunked"
PNG = b"Content-Type: image/png"
IN_FORM = b"Content-Type: multipart/form-data; boundary=b"
GOOD = [
    post(RED, LENGTH, PNG),
    post(chunked(RED), CHUNKED, PNG),
    post(FORM, b"Content-Length: %d" % len(FORM), IN_FORM),
    post(
        FORM,
        b"Content-Length: %d" % len(FORM),
        b"Content-Type: multipart/form-data; boundary=b",
        path=b"/predict/batch",
    ),
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.0\r\nAccept: application/json\r\n\r\n",
]
STRANGE = {
    "two lengths": post(RED, LENGTH, b"Content-Length: 5", PNG),
    "length and chunks": post(chunked(RED), LENGTH, CHUNKED, PNG),
    "a negative length": post(RED, b"Content-Length: -1", PNG),
    "an endless length": post(RED, b"Content-Length: " + b"9" * 5000, PNG),
    "a signed length": post(RED, b"Content-Length: +%d" % len(RED), PNG),
    "a negative chunk": post(b"-5\r\nabcde\r\n0\r\n\r\n", CHUNKED, PNG),
    "an endless chunk size": post(b"f" * 5000 + b"\r\n", CHUNKED, PNG),
    "a chunk of the wrong size": post(b"3\r\nabcde\r\n0\r\n\r\n", CHUNKED, PNG),
    "an unknown coding": post(RED, b"Transfer-Encoding: gzip, chunked", PNG),
    "an upgrade": post(RED, LENGTH, PNG, b"Connection: Upgrade", b"Upgrade: h2c"),
    "a websocket": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an absolute address": b"GET http://example.org/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "an address of bytes": b"GET /\xff\xfe%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in a header": post(RED, LENGTH, b"Content-Type: image/\xff\x01"),
    "a folded header": post(RED, LENGTH, b"Content-Type: image/\r\n png"),
    "a header without a name": post(RED, LENGTH, b": x"),
    "a thousand headers": post(RED, LENGTH, PNG, *[b"X-%d: y" % number for number in range(1000)]),
    "a type of semicolons": post(RED, LENGTH, b"Content-Type: multipart/form-data" + b";" * 50_000),
    "a boundary of quotes": post(RED, LENGTH, b'Content-Type: multipart/form-data; boundary="' + b'\\"' * 20_000),
    "thousands of parts": post(
        b"--b\r\n" + b"\r\n\r\n--b\r\n" * 50_000,
        b"Content-Length: 450005",
        b"Content-Type: multipart/form-data; boundary=b",
    ),
    "endless trailers": post(b"5\r\nabcde\r\n0\r\n" + b"X-A: b\r\n" * 50_000, CHUNKED, PNG),
    "an endless trailer": post(b"5\r\nabcde\r\n0\r\nX-A: " + b"b" * 500_000, CHUNKED, PNG),
    "an endless chunk extension": post(b"5;" + b"b" * 500_000, CHUNKED, PNG),
    "a refused body that goes on": post(b"x", b"Content-Length: 99999999", PNG),
    "a body for nobody": post(b"x", b"Content-Length: 99999999", path=b"/nowhere"),
    "only line ends": b"\r\n" * 5000,
    "only zeros": bytes(5000),
}
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z -]+\r\n")


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for nobody."""
    folder = tmp_path_factory.mktemp("serving")
    publish(folder / "models", 1, color_bundle())
    server = start(folder / "models", folder / "server.log", ("--head-timeout", "0.5", "--upload-timeout", "0.5"), {})
    yield server
    assert server.stop() == 0


def exchange(server: Server, request: bytes, half_close: bool = False) -> bytes:
    """Send a request, and read until the server closes; which must be soon."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            connection.sendall(request)
            if half_close:
                with contextlib.suppress(OSError):  # refused already
                    connection.shutdown(socket.SHUT_WR)
            # Where the request was complete, the head of another one is begun, so that its timeout ends the connection.
            else:
                connection.sendall(b"G")
            while piece := connection.recv(65_536):
                answer += piece
        except ConnectionError:
            pass
    return answer


def check(answer: bytes) -> None:
    """One or more answers of which the first is HTTP, and a problem document where it refuses."""
    if not answer:
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    status = ANSWER.match(head)
    assert status is not None, answer[:200]
    assert int(status[1]) < 500, answer[:500]
    if int(status[1]) >= 400:
        assert b"application/problem+json" in head, answer[:500]
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        assert json.loads(body[: int(length[1])])["status"] == int(status[1])


@pytest.mark.parametrize("half_close", [False, True], ids=["open", "half-closed"])
@pytest.mark.parametrize("name", STRANGE)
def test_strange_requests(hurried: Server, name: str, half_close: bool) -> None:
    began = time.monotonic()
    check(exchange(hurried, STRANGE[name], half_close))
    assert time.monotonic() - began < 5
    assert hurried.post(RED).json()["label"] == "red"
    assert "Traceback" not in hurried.log


def test_an_offer_of_another_protocol_is_overlooked(hurried: Server) -> None:
    for offer in (b"h2c", b"websocket"):
        answer = exchange(hurried, post(RED, LENGTH, PNG, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + offer))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"label":"red"' in answer


def test_any_number_of_offers_may_come_at_once(hurried: Server) -> None:
    offer = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert exchange(hurried, 1_000 * offer).count(b"HTTP/1.1 200 ") == 1_000


def test_damaged_requests(hurried: Server) -> None:
    choose = random.Random(4)
    requests = []
    for _ in range(300):
        request = bytearray(choose.choice(GOOD))
        for _ in range(choose.randint(1, 4)):
            at = choose.randrange(len(request) + 1)
            change = choose.randrange(4)
            if change == 0:
                request[at : at + 1] = choose.randbytes(choose.randint(1, 3))
            elif change == 1:
                del request[at : at + choose.randint(1, 30)]
            elif change == 2:
                request[at:at] = choose.choice([b"\r\n", b"\n", b"\0", b"0\r\n\r\n", b": ", b" ", b"ffffffff\r\n"])
            else:
                request += choose.choice(GOOD)
        requests.append(bytes(request))
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda request: exchange(hurried, request, len(request) % 3 == 0), requests))
    for answer in answers:
        check(answer)
    assert hurried.post(RED).json()["label"] == "red"
    assert "Traceback" not in hurried.log
