"""The way of a picture through one process: what is decoded where, batched with what, counted, and let go."""

import asyncio
import json
import threading
import time
import weakref
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from serving.batch_metrics import BatchMetrics
from serving.batcher import Batcher
from serving.bundle import Threads, read_bundle
from serving.classifier import MAX_BATCH, Classifier
from serving.picture import decode_picture
from serving.pipeline import Pipeline, QueueFull
from serving.predictions import Prediction
from serving.providers import CPU, Provider
from tests.serving.bundles import color_bundle, metadata, publish
from tests.serving.hostile_pictures import jpeg_of_two_frames
from tests.serving.pictures import BLUE, GREEN, RED, encode, flat
from tests.serving.running_server import Server

PICTURES = {"red": RED, "green": GREEN, "blue": BLUE}


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


def test_no_more_is_let_in_than_can_be_decoded_in_time(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*arguments: Any) -> Any:
        time.sleep(0.1)
        return decode_picture(*arguments)

    monkeypatch.setattr("serving.pipeline.decode_picture", decode)
    large = encode(flat((255, 0, 0), (600, 600)))

    async def test(pipeline: Pipeline, classifier: Classifier) -> None:
        async def ask(picture: bytes) -> Prediction:
            return await pipeline.classify_upload(classifier, picture, "image/png")

        await ask(large)
        found = await asyncio.gather(*[ask(large) for _ in range(30)], ask(RED), return_exceptions=True)
        let_in = [each for each in found[:30] if isinstance(each, Prediction)]
        assert 1 <= len(let_in) <= 5  # of which the last waits for 0.4 seconds
        assert {type(each) for each in found[len(let_in) : 30]} == {QueueFull}
        assert isinstance(found[30], Prediction), "a small picture does not wait for them"
        assert isinstance(await ask(large), Prediction)

    registry = with_pipeline(test, classifier, max_wait=0.4)
    assert 25 <= (registry.get_sample_value("inference_refused_total") or 0) <= 29


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
