"""Requests that are no HTTP, or hardly: each is answered or cut off, and nobody else notices."""

import contextlib
import json
import random
import re
import socket
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
# Of each, the statuses that its answer may have; None where the connection is closed without one.
STRANGE: dict[str, tuple[bytes, set[int | None]]] = {
    "two lengths": (post(RED, LENGTH, b"Content-Length: 5", PNG), {400}),
    "length and chunks": (post(chunked(RED), LENGTH, CHUNKED, PNG), {400}),
    "a negative length": (post(RED, b"Content-Length: -1", PNG), {400}),
    "an endless length": (post(RED, b"Content-Length: " + b"9" * 5000, PNG), {400}),
    "a signed length": (post(RED, b"Content-Length: +%d" % len(RED), PNG), {400}),
    "a negative chunk": (post(b"-5\r\nabcde\r\n0\r\n\r\n", CHUNKED, PNG), {None}),
    "an endless chunk size": (post(b"f" * 5000 + b"\r\n", CHUNKED, PNG), {None}),
    "a chunk of the wrong size": (post(b"3\r\nabcde\r\n0\r\n\r\n", CHUNKED, PNG), {None}),
    "an unknown coding": (post(RED, b"Transfer-Encoding: gzip, chunked", PNG), {None}),
    "an upgrade": (post(RED, LENGTH, PNG, b"Connection: Upgrade", b"Upgrade: h2c"), {200}),
    "a websocket": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", {200}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), {400}),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", {200}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), {400}),
    "CONNECT": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "an absolute address": (b"GET http://example.org/healthz HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "an address of bytes": (b"GET /\xff\xfe%00%ff HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "bytes in a header": (post(RED, LENGTH, b"Content-Type: image/\xff\x01"), {400}),
    "a folded header": (post(RED, LENGTH, b"Content-Type: image/\r\n png"), {400}),
    "a header without a name": (post(RED, LENGTH, b": x"), {400}),
    "a thousand headers": (post(RED, LENGTH, PNG, *[b"X-%d: y" % number for number in range(1000)]), {200}),
    "a type of semicolons": (post(RED, LENGTH, b"Content-Type: multipart/form-data" + b";" * 50_000), {415}),
    "a boundary of quotes": (
        post(RED, LENGTH, b'Content-Type: multipart/form-data; boundary="' + b'\\"' * 20_000),
        {400},
    ),
    "thousands of parts": (
        post(
            b"--b\r\n" + b"\r\n\r\n--b\r\n" * 50_000,
            b"Content-Length: 450005",
            b"Content-Type: multipart/form-data; boundary=b",
        ),
        {400},
    ),
    "endless trailers": (post(b"5\r\nabcde\r\n0\r\n" + b"X-A: b\r\n" * 50_000, CHUNKED, PNG), {None}),
    "an endless trailer": (post(b"5\r\nabcde\r\n0\r\nX-A: " + b"b" * 500_000, CHUNKED, PNG), {None}),
    "an endless chunk extension": (post(b"5;" + b"b" * 500_000, CHUNKED, PNG), {None}),
    "a refused body that goes on": (post(b"x", b"Content-Length: 99999999", PNG), {413}),
    "a body for nobody": (post(b"x", b"Content-Length: 99999999", path=b"/nowhere"), {404}),
    "only line ends": (b"\r\n" * 5000, {408}),
    "only zeros": (bytes(5000), {400}),
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
            while piece := connection.recv(65_536):
                if not answer and not half_close:
                    # The head of another request is begun, so that its timeout ends the connection.
                    with contextlib.suppress(OSError):  # closed already
                        connection.sendall(b"G")
                answer += piece
        except ConnectionError:
            pass
    return answer


def status_of(answer: bytes) -> int | None:
    """Check that it is HTTP, and a problem document where it refuses; of several, the first. None: there is none."""
    if not answer:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    found = ANSWER.match(head)
    assert found is not None, answer[:200]
    status = int(found[1])
    assert status < 500, answer[:500]
    if status >= 400:
        assert b"application/problem+json" in head, answer[:500]
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        assert json.loads(body[: int(length[1])])["status"] == status
    return status


@pytest.mark.parametrize("half_close", [False, True], ids=["open", "half-closed"])
@pytest.mark.parametrize("name", STRANGE)
def test_strange_requests(hurried: Server, name: str, half_close: bool) -> None:
    request, expected = STRANGE[name]
    status = status_of(exchange(hurried, request, half_close))
    # Who closes their side of the connection may be gone.
    assert status in expected or (half_close and status is None)
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
    assert {200, 400} <= {status_of(answer) for answer in answers}
    assert hurried.post(RED).json()["label"] == "red"
    assert "Traceback" not in hurried.log
