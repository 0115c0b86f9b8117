"""However much is uploaded at once, and however slowly, the server holds a limited part of it."""

from pathlib import Path

import pytest

from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import BLUE
from tests.serving.raw_answer import read_answer
from tests.serving.running_server import Server, StartServer
from tests.serving.test_hostile_uploads import connected
from tests.serving.test_routes import labels, scrape

MEGABYTE = 1_000_000
FORM = "multipart/form-data; boundary=b"
PATHS = {"/predict": "image/png", "/predict/batch": FORM, "/v2/models/cifar10/infer": "application/json"}


@pytest.fixture
def server(start_server: StartServer, models: Path) -> Server:
    publish(models, 1, color_bundle())
    return start_server("--max-upload-memory", str(4 * MEGABYTE))


def head(path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {PATHS[path]}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("path", PATHS)
def test_more_than_there_is_room_for_is_refused_until_there_is_room(server: Server, path: str) -> None:
    def held() -> float:
        return scrape(server)["upload_bytes", labels()]

    with connected(server) as first:
        first.sendall(head("/predict/batch", 5 * MEGABYTE) + bytes(3 * MEGABYTE))
        server.wait_for(lambda: held() == 3 * MEGABYTE)
        with connected(server) as second:
            second.sendall(head(path, 2 * MEGABYTE) + bytes(2 * MEGABYTE))
            status, answer = read_answer(second)
            assert status == 503
            assert b"Uploads under way take 3000000 bytes already, of 4000000; try again later." in answer
        assert server.post(BLUE).json()["label"] == "blue"  # little is always let in
        assert held() == 3 * MEGABYTE
    server.wait_for(lambda: held() == 0)
    with connected(server) as third:
        third.sendall(head(path, 2 * MEGABYTE) + bytes(2 * MEGABYTE))
        assert 400 <= read_answer(third)[0] < 500  # read to its end, and no picture
    assert scrape(server)["inference_refused_total", labels()] == 1
    assert held() == 0


def test_who_comes_alone_may_send_what_a_request_may_have(server: Server) -> None:
    with connected(server) as connection:
        connection.sendall(head("/predict/batch", 6 * MEGABYTE) + bytes(6 * MEGABYTE))
        assert read_answer(connection)[0] == 400
