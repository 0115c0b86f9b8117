"""Clients that give up before they are answered: nothing is computed for them any longer."""

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.serving.bundles import publish
from tests.serving.pictures import encode, flat
from tests.serving.running_server import Server, StartServer
from tests.serving.test_heavy_models import HEAVIER
from tests.serving.test_routes import labels, scrape

PICTURE = encode(flat((10, 10, 10)))
LARGE = encode(flat((10, 10, 10), (6000, 6000)))
PICTURES = 60


def form(pictures: int) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    return b"".join(head + PICTURE + b"\r\n" for _ in range(pictures)) + b"--b--\r\n"


def tensors(pictures: int) -> bytes:
    data = [10] * pictures * 3072
    return json.dumps(
        {"inputs": [{"name": "images", "shape": [pictures, 32, 32, 3], "datatype": "UINT8", "data": data}]}
    ).encode()


REQUESTS = {
    "pictures": [("/predict", "image/png", PICTURE)] * PICTURES,
    "a form of several": [("/predict/batch", "multipart/form-data; boundary=b", form(PICTURES))],
    "tensors": [("/v2/models/cifar10/infer", "application/json", tensors(PICTURES))],
    "pictures that are still to be decoded": [("/predict", "image/png", LARGE)] * PICTURES,
}


@pytest.fixture
def server(start_server: StartServer, models: Path) -> Server:
    publish(models, 1, HEAVIER)
    return start_server("--inference-threads", "1", "--max-wait", "1000")


@pytest.mark.parametrize("requests", REQUESTS.values(), ids=list(REQUESTS))
def test_nothing_is_computed_for_who_has_left(server: Server, requests: list[tuple[str, str, bytes]]) -> None:
    connections = [ask(server, *request) for request in requests]
    server.wait_for(lambda: scrape(server)["inference_queue_pictures", labels()] >= min(len(requests), 10))
    before = scrape(server)["inference_batch_size_sum", labels()]
    for connection in connections:
        connection.close()
    assert server.post(PICTURE).json()["label"] == "dark"

    samples = scrape(server)
    assert samples["predict_requests_total", labels(status="499")] == len(requests)
    assert samples["predict_requests_total", labels(status="503")] == 0
    assert samples["inference_batch_size_sum", labels()] < before + PICTURES / 2
    assert samples["inference_queue_pictures", labels()] == 0
    assert "Traceback" not in server.log


def test_who_leaves_after_a_large_last_part(server: Server) -> None:
    """A body's last part, received at once, is longer than what a connection keeps before it stops reading."""
    body = tensors(PICTURES)
    before = len(body) - 150_000
    with ask(server, "/v2/models/cifar10/infer", "application/json", body, sent=before) as connection:
        server.wait_for(lambda: scrape(server)["upload_bytes", labels()] == before)
        server.process.send_signal(signal.SIGSTOP)
        connection.sendall(body[before:])
        server.process.send_signal(signal.SIGCONT)
        server.wait_for(lambda: scrape(server)["inference_queue_pictures", labels()] >= 10)
    server.wait_for(lambda: scrape(server).get(("predict_requests_total", labels(status="499"))) == 1, seconds=2)
    assert scrape(server)["inference_queue_pictures", labels()] == 0


def ask(server: Server, path: str, content_type: str, body: bytes, sent: int | None = None) -> socket.socket:
    """Sends a request's head, and its body or the first bytes of it."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[:sent])
    return connection
