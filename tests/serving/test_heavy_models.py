"""A model whose pictures take a hundred times as long as the tutorial's, beside one whose do not."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving.batch_metrics import BatchMetrics
from serving.bundle import Threads
from serving.classifier import BATCH_SECONDS, MAX_BATCH, Classifier, load_classifier
from serving.pipeline import Pipeline, QueueFull
from serving.predictions import Prediction
from serving.providers import CPU, Provider
from tests.serving.bundles import brightness_bundle, color_bundle, metadata, publish
from tests.serving.pictures import RED, encode, flat
from tests.serving.running_server import StartServer
from tests.serving.test_malformed_inference import error
from tests.serving.test_predict import problem

DARK, LIGHT = flat((10, 10, 10)), flat((245, 245, 245))
HEAVY = brightness_bundle(metadata(("dark", "light")), matrices=4)
HEAVIER = brightness_bundle(metadata(("dark", "light")), matrices=12)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Classifier]:
    """The heavy one and the other."""
    folder = tmp_path_factory.mktemp("heavy")
    publish(folder, 1, HEAVY, name="heavy")
    publish(folder, 1, color_bundle(), name="quick")
    heavy, quick = (
        load_classifier(folder, name, 1, Provider(CPU), Threads(batch=1, lone=2)) for name in ("heavy", "quick")
    )
    return heavy, quick


def in_pipeline(test: Callable[[Pipeline], Awaitable[None]], max_wait: float = 1000) -> CollectorRegistry:
    registry = CollectorRegistry()

    async def run() -> None:
        with Pipeline(BatchMetrics(registry), 1000, max_wait, 1_000_000, 1) as pipeline:
            await test(pipeline)

    asyncio.run(run())
    return registry


def ask(pipeline: Pipeline, classifier: Classifier, picture: bytes = encode(DARK)) -> asyncio.Task[Prediction]:
    return asyncio.create_task(pipeline.classify_upload(classifier, picture, "image/png"))


def test_a_run_has_as_many_pictures_as_its_time_allows(classifiers: tuple[Classifier, Classifier]) -> None:
    heavy, quick = classifiers
    assert quick.most_at_once == MAX_BATCH
    assert quick.picture_seconds * MAX_BATCH <= BATCH_SECONDS
    assert heavy.most_at_once == 1 or heavy.most_at_once * heavy.picture_seconds <= BATCH_SECONDS
    images = np.stack([DARK, LIGHT] * 8)
    registry = in_pipeline(lambda pipeline: infer(pipeline, heavy, images))
    assert registry.get_sample_value("inference_batch_size_count") == math.ceil(len(images) / heavy.most_at_once)
    assert registry.get_sample_value("inference_batch_size_sum") == len(images)


async def infer(
    pipeline: Pipeline, classifier: Classifier, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
) -> None:
    probabilities, labels = await pipeline.run(classifier, images)
    assert probabilities.shape == (len(images), 2)
    assert labels.tolist() == [0, 1] * (len(images) // 2)


def test_who_asks_the_quick_model_waits_for_one_batch_of_the_other(classifiers: tuple[Classifier, Classifier]) -> None:
    heavy, quick = classifiers

    async def test(pipeline: Pipeline) -> None:
        others = [ask(pipeline, heavy) for _ in range(4 * heavy.most_at_once)]
        for _ in range(2):
            assert (await ask(pipeline, quick, RED)).label == "red"
            assert not all(each.done() for each in others)
        assert {prediction.label for prediction in await asyncio.gather(*others)} == {"dark"}

    in_pipeline(test)


def test_who_would_wait_too_long_is_refused(classifiers: tuple[Classifier, Classifier]) -> None:
    heavy, quick = classifiers

    async def test(pipeline: Pipeline) -> None:
        asked = [ask(pipeline, heavy) for _ in range(5)]
        light = ask(pipeline, quick, RED)
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in found] == [Prediction] * 3 + [QueueFull] * 2
        assert "seconds, of " in str(found[-1])
        assert (await light).label == "red"
        assert (await ask(pipeline, heavy)).label == "dark"

    registry = in_pipeline(test, max_wait=2.5 * heavy.picture_seconds)
    assert registry.get_sample_value("inference_refused_total") == 2


def test_the_limit_is_the_servers(start_server: StartServer, models: Path) -> None:
    publish(models, 1, HEAVIER)
    server = start_server("--max-wait", "0.001")
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(httpx.post, server.url + "/predict", content=encode(DARK)) for _ in range(8)]
        answers = [each.result() for each in asked]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert 0 < len(refused) < len(answers)
    assert "pictures that wait already take" in problem(refused[0], 503)


def test_a_stop_does_not_wait_for_what_takes_long(start_server: StartServer, models: Path) -> None:
    publish(models, 1, HEAVIER)
    server = start_server("--shutdown-timeout", "1")
    tensor = {"name": "images", "shape": [64, 32, 32, 3], "datatype": "UINT8", "data": [0] * 64 * 3072}
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(
            httpx.post, f"{server.url}/v2/models/cifar10/infer", json={"inputs": [tensor]}, timeout=60
        )
        server.wait_for(lambda: "inference_queue_pictures 64.0" in server.get("/metrics").text or asked.done())
        assert server.get("/healthz").status_code == 200
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 6
        assert asked.result().status_code == 200 or "server stopped" in error(asked.result(), 503)
