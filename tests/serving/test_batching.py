"""Many at once: batches, several pictures in a request, a queue that is full, large pictures among small ones."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx

from tests.serving.bundles import color_bundle, no_number_for_white, publish
from tests.serving.pictures import BLUE, GREEN, RED, encode, flat
from tests.serving.running_server import Server, StartServer
from tests.serving.test_heavy_models import HEAVIER
from tests.serving.test_predict import problem
from tests.serving.test_routes import labels, scrape

PICTURES = {"red": RED, "green": GREEN, "blue": BLUE}
LARGE = encode(flat((200, 30, 20), (6000, 6000)), "PNG")


def send(server: Server, *files: tuple[str, bytes]) -> httpx.Response:
    return server.client.post(server.url + "/predict/batch", files=[("file", (name, data)) for name, data in files])


def test_pictures_of_one_request_are_answered_in_order(server: Server) -> None:
    names = list(PICTURES) * 21 + ["blue"]
    response = send(server, *((f"{name}.png", PICTURES[name]) for name in names))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answers = response.json()["predictions"]
    assert [answer["filename"] for answer in answers] == [f"{name}.png" for name in names]
    assert [answer["prediction"]["label"] for answer in answers] == names
    assert answers[0]["prediction"] == server.post(RED).json()


def test_each_picture_is_answered_for_itself(server: Server) -> None:
    answers = send(
        server, ("a", RED), ('ü "q"', b"no picture"), ("c", encode(flat((1, 2, 3)), "TIFF")), ("d", BLUE)
    ).json()
    kinds = [next(key for key in answer if key != "filename") for answer in answers["predictions"]]
    assert kinds == ["prediction", "problem", "problem", "prediction"]
    assert answers["predictions"][1]["problem"] == server.post(b"no picture").json()
    assert answers["predictions"][2]["problem"]["status"] == 415


def test_pictures_that_the_model_cannot_answer_are_logged_and_counted(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle(change=no_number_for_white))
    server = start_server()
    assert scrape(server)["predict_failed_pictures_total", labels()] == 0
    white = encode(flat((255, 255, 255)))
    answers = send(server, ("a", RED), ("b", white), ("c", b"no picture"), ("d", white)).json()["predictions"]
    statuses = [answer["problem"]["status"] if "problem" in answer else 200 for answer in answers]
    assert statuses == [200, 500, 422, 500]
    assert scrape(server)["predict_failed_pictures_total", labels()] == 2
    sentence = "2 of 4 pictures could not be answered: cifar10 version 1 gave a probability that is not a number."
    server.wait_for(lambda: sentence in server.log)


def test_what_is_no_batch_is_refused(server: Server) -> None:
    assert "65 fields 'file', more than the 64 allowed" in problem(send(server, *[("a", RED)] * 65), 400)
    raw = server.client.post(server.url + "/predict/batch", content=RED, headers={"Content-Type": "image/png"})
    assert "multipart/form-data" in problem(raw, 400)
    assert "no field 'file'" in problem(
        server.client.post(server.url + "/predict/batch", files=[("other", ("a", RED))]), 400
    )
    assert "empty file" in problem(send(server, ("a", RED), ("b", b"")), 400)


def test_the_limit_of_a_batch_is_its_own(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--max-body-bytes", "1000", "--max-batch-bytes", "2000")
    assert len(RED) < 500
    assert send(server, ("a", RED), ("b", RED)).status_code == 200
    problem(send(server, *[("a", RED)] * 20), 413)
    problem(server.post(bytes(1500)), 413)


def test_a_full_queue_is_said_at_once_and_probes_still_answer(start_server: StartServer, models: Path) -> None:
    publish(models, 1, HEAVIER)
    server = start_server("--max-queue", "4", "--inference-threads", "1")
    tensor = {"name": "images", "shape": [4, 32, 32, 3], "datatype": "UINT8", "data": [0] * 4 * 3072}
    address = f"{server.url}/v2/models/cifar10/infer"
    with ThreadPoolExecutor(1) as client:
        four = client.submit(httpx.post, address, json={"inputs": [tensor]}, timeout=60)
        server.wait_for(lambda: scrape(server)["inference_queue_pictures", labels()] == 4)
        answers = [server.post(RED) for _ in range(3)]
        assert (server.get("/healthz").status_code, server.get("/readyz").status_code) == (200, 200)
        assert four.result().status_code == 200
    assert "4 pictures are waiting already" in problem(answers[0], 503)
    assert answers[0].headers["retry-after"] == "1"
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 503}  # the last ones may come after the four
    samples = scrape(server)
    assert samples["inference_refused_total", labels()] == statuses.count(503)
    assert samples["inference_queue_pictures", labels()] == 0
    assert server.post(RED).status_code == 200


def test_a_full_queue_is_said_before_anything_is_uploaded(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--max-queue", "1", "--inference-threads", "1")
    paths = ("/predict", "/predict/batch", "/v2/models/cifar10/infer")
    with ThreadPoolExecutor(1) as client:
        large = client.submit(httpx.post, server.url + "/predict", content=LARGE, timeout=60)
        server.wait_for(lambda: scrape(server)["inference_queue_pictures", labels()] == 1)
        answers = [answer_to_a_head(server, f"POST {path} HTTP/1.1\r\nContent-Length: 4000000") for path in paths]
        assert large.result().status_code == 200
    assert [status for status, _ in answers] == [503] * len(paths)
    assert all("1 pictures are waiting already" in document["detail"] for _, document in answers)


def answer_to_a_head(server: Server, head: str) -> tuple[int, dict[str, Any]]:
    """What is answered to a request whose body is not sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"{head}\r\nHost: x\r\n\r\n".encode())
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())


def test_large_pictures_hold_up_no_small_one(server: Server) -> None:
    with ThreadPoolExecutor(3) as clients:
        large = [clients.submit(httpx.post, server.url + "/predict", content=LARGE, timeout=60) for _ in range(3)]
        server.wait_for(lambda: scrape(server)["inference_queue_pictures", labels()] > 0)
        for _ in range(5):
            assert server.post(GREEN).json()["label"] == "green"
        assert not all(each.done() for each in large)
        assert {each.result().json()["label"] for each in large} == {"red"}


def test_clients_that_go_away_disturb_nobody(server: Server) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(RED)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head + RED)
        assert server.post(BLUE).json()["label"] == "blue"
    server.wait_for(lambda: scrape(server)["inference_queue_pictures", labels()] == 0)
    assert "Traceback" not in server.log


def test_metrics_count_pictures_and_batches(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server()
    send(server, *[("a", RED)] * 40)
    server.post(RED)
    samples = scrape(server)
    assert samples["inference_batch_size_sum", labels()] == 41
    assert 3 <= samples["inference_batch_size_count", labels()] <= 41
    assert samples["inference_queue_seconds_count", labels()] == 41
    assert samples["predictions_total", labels(model="cifar10", label="red")] == 41
