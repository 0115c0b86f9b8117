"""Many at once: batches, several pictures in a request, a queue that is full, large pictures among small ones."""

import asyncio
import contextlib
import ctypes
import dataclasses
import json
import socket
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from serving.app import create_app
from serving.batch_metrics import BatchMetrics
from serving.batcher import FAILURES_IN_A_ROW, Batcher, InferenceStuck
from serving.bundle import ONE_THREAD, Threads, read_bundle
from serving.classifier import MAX_BATCH, Classifier, InferenceFailed
from serving.metrics import Metrics
from serving.models import Models
from serving.picture import decode_picture
from serving.pipeline import Pipeline, QueueFull
from serving.predictions import Prediction
from serving.providers import CPU, CUDA, Provider
from serving.settings import Settings
from tests.serving.bundles import color_bundle, metadata, no_number_for_white, publish
from tests.serving.hostile_pictures import jpeg_of_two_frames
from tests.serving.pictures import BLUE, GREEN, RED, encode, flat
from tests.serving.running_server import Server, StartServer
from tests.serving.test_heavy_models import HEAVIER
from tests.serving.test_predict import problem
from tests.serving.test_routes import labels, scrape

PICTURES = {"red": RED, "green": GREEN, "blue": BLUE}
LARGE = encode(flat((200, 30, 20), (6000, 6000)), "PNG")


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    publish(tmp_path, 1, color_bundle())
    bundle = read_bundle(tmp_path / "cifar10" / "1" / "model.onnx", Provider(CPU), Threads(batch=1, lone=2))
    return Classifier("cifar10", 1, bundle, Provider(CPU))


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


def test_an_answer_is_a_prediction(server: Server, classifier: Classifier) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    for image, prediction in zip(images, classifier.classify(images), strict=True):
        assert isinstance(prediction, Prediction)
        answer = server.post(encode(image))
        assert answer.json() == json.loads(prediction.model_dump_json())
        assert answer.json()["label"] == prediction.label


def with_pipeline(test: Any, classifier: Classifier, max_queue: int = 1_000, max_wait: float = 20) -> CollectorRegistry:
    """Runs a coroutine function of a pipeline and a classifier."""
    registry = CollectorRegistry()

    async def run() -> None:
        with Pipeline(BatchMetrics(registry), max_queue, max_wait, 1_000_000, 1) as pipeline:
            await test(pipeline, classifier)

    asyncio.run(run())
    return registry


def test_what_has_queued_is_one_batch(classifier: Classifier) -> None:
    registry = CollectorRegistry()
    names = list(PICTURES) * 40
    images = {name: np.asarray(Image.open(BytesIO(data))) for name, data in PICTURES.items()}

    async def run() -> None:
        batcher = Batcher(BatchMetrics(registry))
        answers = await asyncio.gather(*(batcher.classify(classifier, images[name]) for name in names))
        assert [answer.label for answer in answers] == names
        batcher.close()

    asyncio.run(run())
    runs = registry.get_sample_value("inference_batch_size_count")
    assert runs is not None
    assert 120 / MAX_BATCH <= runs < 40


def test_pictures_that_come_alone_are_answered_like_those_in_company(classifier: Classifier) -> None:
    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        for crowd in (1, 1, 1, 1, 1, 5, 1, 1, 1, 1, 1):
            images = list(np.random.default_rng(crowd).integers(0, 256, (crowd, 32, 32, 3), dtype=np.uint8))
            expected = [classifier.classify(image[np.newaxis])[0] for image in images]
            uploads = [pipeline.classify_upload(classifier, encode(image), "image/png") for image in images]
            assert await asyncio.gather(*uploads) == expected

    registry = with_pipeline(test, classifier)
    assert registry.get_sample_value("inference_batch_size_sum") == 15
    assert registry.get_sample_value("inference_queue_seconds_count") == 15


def test_no_large_picture_is_decoded_by_the_event_loop_however_small_it_looks(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def decode(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return decode_picture(*arguments)

    monkeypatch.setattr("serving.pipeline.decode_picture", decode)

    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        await pipeline.classify_upload(classifier, jpeg_of_two_frames(1000, 1000), "image/jpeg")

    with_pipeline(test, classifier)
    assert threads == ["decoding_0"]


class Mark:
    """What a weak reference can point at."""


class Upload(bytes):
    """A body of which a test can tell whether anybody holds it still."""

    mark: Mark


@pytest.mark.parametrize("padding", [0, 100_000], ids=["small", "large"])
def test_a_form_is_let_go_once_its_picture_is_taken_out(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, padding: int
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    body = Upload(head + RED + bytes(padding) + b"\r\n--b--\r\n")
    body.mark = Mark()
    mark = weakref.ref(body.mark)
    bodies = [body]
    del body
    left: list[Mark | None] = []

    def decode(*arguments: Any) -> Any:
        left.append(mark())
        return decode_picture(*arguments)

    monkeypatch.setattr("serving.pipeline.decode_picture", decode)
    monkeypatch.setattr("serving.pipeline.is_cheap", lambda _: False)

    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        await pipeline.classify_upload(classifier, bodies.pop(), "multipart/form-data; boundary=b")

    with_pipeline(test, classifier)
    assert left == [None]


def test_two_versions_are_never_in_one_batch(classifier: Classifier, tmp_path: Path) -> None:
    names = ("rouge", "vert", "bleu")
    publish(tmp_path, 2, color_bundle(properties=metadata(names)))
    bundle = read_bundle(tmp_path / "cifar10" / "2" / "model.onnx", Provider(CPU), Threads(batch=1, lone=2))
    newer = Classifier("cifar10", 2, bundle, Provider(CPU))

    async def test(pipeline: Pipeline, older: Classifier) -> None:
        order = [older, older, newer, older, newer, newer] * 10
        answers = await asyncio.gather(*(pipeline.classify_upload(each, RED, "image/png") for each in order))
        assert [answer.model.version for answer in answers] == [each.version for each in order]

    with_pipeline(test, classifier)


def test_the_queue_counts_what_is_unanswered(classifier: Classifier) -> None:
    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        waiting = [asyncio.create_task(pipeline.classify_upload(classifier, RED, "image/png")) for _ in range(6)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in found] == [Prediction] * 4 + [QueueFull] * 2
        assert isinstance(await pipeline.classify_upload(classifier, RED, "image/png"), Prediction)

    with_pipeline(test, classifier, max_queue=4)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_inference_thread_is_noticed_and_replaced(classifier: Classifier) -> None:
    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        await pipeline.classify_upload(classifier, RED, "image/png")
        pipeline.check_alive()
        (thread,) = (each for each in threading.enumerate() if each.name == "inference")
        assert thread.ident
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        with contextlib.suppress(TimeoutError):  # what wakes it may be lost with it
            await asyncio.wait_for(pipeline.classify_upload(classifier, RED, "image/png"), 2)
        thread.join(10)
        with pytest.raises(InferenceStuck):
            pipeline.check_alive()
        assert (await pipeline.classify_upload(classifier, BLUE, "image/png")).label == "blue"
        pipeline.check_alive()

    with_pipeline(test, classifier)


class HeldUp:
    """A session that begins, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def run(self, _: object, feed: dict[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        self.begun.set()
        assert self.let_go.wait(10)
        return [np.full((len(feed["images"]), 3), 1 / 3, np.float32), np.zeros(len(feed["images"]), np.int64)]


def test_a_batch_that_outlasts_the_server_is_no_failure(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = HeldUp()
    monkeypatch.setattr(classifier, "_lone_session", session)
    batcher = Batcher(BatchMetrics(CollectorRegistry()))

    async def give_up() -> None:
        waiting = asyncio.create_task(batcher.classify(classifier, flat((200, 30, 20))))
        assert await asyncio.to_thread(session.begun.wait, 10)
        waiting.cancel()

    asyncio.run(give_up())
    session.let_go.set()
    batcher.close()
    assert caplog.records == []


class LosableSession:
    """A session on a GPU that may fall off the bus."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.is_lost = False

    def run(self, *arguments: Any) -> Any:
        if self.is_lost:
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")
        return self._session.run(*arguments)


async def ask_for_a_picture(pipeline: Pipeline, classifier: Classifier) -> object:
    return await pipeline.classify_upload(classifier, RED, "image/png")


async def ask_for_a_tensor(pipeline: Pipeline, classifier: Classifier) -> object:
    return await pipeline.run(classifier, np.zeros((1, *classifier.picture_size, 3), np.uint8))


@pytest.mark.parametrize("provider", [CPU, CUDA])
@pytest.mark.parametrize("ask", [ask_for_a_picture, ask_for_a_tensor])
def test_a_process_that_has_lost_its_gpu_is_to_be_replaced(
    tmp_path: Path, provider: str, ask: Callable[[Pipeline, Classifier], Coroutine[Any, Any, object]]
) -> None:
    """Runs that fail on a CPU are their model's own fault."""
    publish(tmp_path, 1, color_bundle())
    bundle = read_bundle(tmp_path / "cifar10" / "1" / "model.onnx", Provider(CPU))
    session: Any = LosableSession(bundle.session)
    classifier = Classifier(
        "cifar10", 1, dataclasses.replace(bundle, session=session, lone_session=session), Provider(provider)
    )
    classifier.warm_up()

    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        session.is_lost = True
        for _ in range(FAILURES_IN_A_ROW):
            pipeline.check_alive()
            with pytest.raises(InferenceFailed):
                await ask(pipeline, classifier)
        lost = pytest.raises(InferenceStuck, match=f"last {FAILURES_IN_A_ROW} batches could not be run on the GPU.")
        with lost if provider == CUDA else contextlib.nullcontext():
            pipeline.check_alive()
        session.is_lost = False
        assert (await pipeline.classify_upload(classifier, BLUE, "image/png")).label == "blue"
        pipeline.check_alive()

    with_pipeline(test, classifier)


@pytest.mark.parametrize("ask", [ask_for_a_picture, ask_for_a_tensor])
def test_probes_notice_a_run_that_does_not_end(
    classifier: Classifier,
    tmp_path: Path,
    ask: Callable[[Pipeline, Classifier], Coroutine[Any, Any, object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = HeldUp()
    monkeypatch.setattr(classifier, "_lone_session", session)
    models = Models(tmp_path, "cifar10", Provider(CPU), threads=ONE_THREAD, most_versions=1)
    models.load_default()

    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        app = create_app(Settings(), (), models, Metrics(models), pipeline)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:

            async def probe() -> list[httpx.Response]:
                paths = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
                return [await client.get(path) for path in paths]

            asked = asyncio.create_task(ask(pipeline, classifier))
            assert await asyncio.to_thread(session.begun.wait, 10)
            assert [answer.status_code for answer in await probe()] == [200] * 4
            monkeypatch.setattr("serving.batcher.STUCK_SECONDS", 0.1)
            await asyncio.sleep(0.2)
            stuck = await probe()
            session.let_go.set()
            await asked
            assert [answer.status_code for answer in stuck] == [503] * 4
            assert all("running for over 0.1 seconds" in answer.json()["detail"] for answer in stuck)
            assert [answer.status_code for answer in await probe()] == [200] * 4

    with_pipeline(test, classifier)
