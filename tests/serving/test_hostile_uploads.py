"""What strangers send: too much, too slowly, or made to hurt. Never a 500, never a hang."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.serving.bundles import color_bundle, publish
from tests.serving.hostile_pictures import png_of_zeros
from tests.serving.pictures import BLUE, GREEN, RED, encode
from tests.serving.raw_answer import read_answer
from tests.serving.running_server import Server
from tests.serving.test_hostile_pictures import MOST_SECONDS, processor_seconds
from tests.serving.test_routes import labels, scrape

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


@contextmanager
def connected(server: Server, timeout: float = 15) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        yield connection


def read_document(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    status, body = read_answer(connection)
    return status, json.loads(body)


def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(HEAD + b"Content-Length: 5000001\r\n\r\n")
        status, document = read_document(connection)
    assert status == 413
    assert "5000001 bytes" in document["detail"]


def test_a_body_of_exactly_the_limit_is_read(server: Server) -> None:
    assert server.post(RED + bytes(5_000_000 - len(RED))).status_code == 200
    assert server.post(RED + bytes(5_000_001 - len(RED))).status_code == 413


def test_expect_100_continue_is_refused_or_granted(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n")
        assert read_answer(connection)[0] == 413
    with connected(server) as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(RED))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(RED)
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("content_type", ["image/png", "text/plain"])
def test_a_client_that_sends_everything_first_still_reads_the_refusal(server: Server, content_type: str) -> None:
    response = server.post(bytes(60_000_000), Content_Type=content_type)
    assert response.status_code == 413
    assert response.json()["detail"]
    assert server.post(RED).status_code == 200


def test_a_chunked_body_over_the_limit_is_refused_while_it_streams(server: Server) -> None:
    piece = b"%x\r\n" % 100_000 + bytes(100_000) + b"\r\n"
    with connected(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        # Never finished: the refusal must come of itself.
        for _ in range(60):
            connection.sendall(piece)
        status, document = read_document(connection)
    assert status == 413
    assert "5000000" in document["detail"]


def test_an_endless_upload_is_cut_off_and_others_are_served_meanwhile(start_server: Any, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--upload-timeout", "1")
    with connected(server) as connection:
        begin = time.monotonic()
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + RED[:10])
        assert server.post(BLUE).json()["label"] == "blue"
        status, document = read_document(connection)
        assert time.monotonic() - begin > 0.9  # it has had its second
        assert status == 408
        assert "1 seconds" in document["detail"]
        assert connection.recv(10) == b""


def test_a_client_that_goes_away_leaves_no_trace_but_a_count(server: Server) -> None:
    def gone() -> float:
        return scrape(server).get(("predict_requests_total", labels(status="499")), 0)

    before = gone()
    for _ in range(5):
        with connected(server) as connection:
            connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + RED)
        with connected(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(RED) + RED)
    server.wait_for(lambda: gone() >= before + 5)
    assert "Traceback" not in server.log


def test_two_requests_sent_at_once_are_answered_in_order(server: Server) -> None:
    with connected(server) as connection:
        for data in (RED, GREEN):
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        assert read_document(connection)[1]["label"] == "red"
        assert read_document(connection)[1]["label"] == "green"


def test_a_garbled_request_is_refused(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    with connected(server) as connection:
        connection.sendall(HEAD + b"Content-Length: minus one\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 9_000)])
def test_a_decompression_bomb_is_refused_from_its_header(server: Server, size: tuple[int, int]) -> None:
    bomb = png_of_zeros(*size)
    assert len(bomb) < 3_000_000
    began = processor_seconds(server)
    response = server.post(bomb)
    assert response.status_code == 413
    assert "pixels" in response.json()["detail"]
    assert processor_seconds(server) - began < MOST_SECONDS


def test_the_largest_allowed_picture_is_read_in_bounded_memory(start_server: Any, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--inference-threads", "1")
    data = encode(Image.new("P", (8000, 5000), 1), transparency=0, compress_level=1)
    for _ in range(3):
        assert server.post(data).status_code == 200
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak_kib < 600 * 1024


def test_polyglots_are_what_their_beginning_says(server: Server) -> None:
    html = b"<script>alert(1)</script><svg>"
    assert server.post(RED + b"PK\3\4" + html).json()["label"] == "red"
    assert server.post(html + RED).status_code == 422
    assert server.post(b"%PDF-1.7\n" + RED).status_code == 422


def test_what_only_begins_like_svg_is_refused_quickly(server: Server) -> None:
    for data in (b"<!---->" * 500_000, b" " * 4_000_000, b"<?xml " * 500_000, b"<!--" * 1_000_000):
        began = processor_seconds(server)
        assert server.post(data, Content_Type="image/svg+xml").status_code == 422
        assert processor_seconds(server) - began < MOST_SECONDS


@pytest.mark.parametrize("beginning", [b"", b"POST /pre", HEAD, HEAD + b"X: " + b"y" * 1000])
def test_a_slow_head_ends_after_its_timeout(start_server: Any, models: Path, beginning: bytes) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--head-timeout", "0.5")
    with connected(server) as connection:
        connection.sendall(beginning)
        if beginning:
            assert read_answer(connection)[0] == 408
        assert connection.recv(1) == b""


def test_a_slow_second_head_ends_too(start_server: Any, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--head-timeout", "0.5")
    with connected(server) as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(RED) + RED)
        assert read_answer(connection)[0] == 200
        time.sleep(0.8)  # idle between two requests is allowed
        connection.sendall(HEAD)
        assert read_answer(connection)[0] == 408
        assert connection.recv(1) == b""


def test_an_endless_head_is_refused(server: Server) -> None:
    with connected(server) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(HEAD)
            for _ in range(200):
                connection.sendall(b"X-Filling: " + b"y" * 1000 + b"\r\n")
        status, document = read_document(connection)
    assert status == 431
    assert document["status"] == 431
    assert server.post(RED).status_code == 200
