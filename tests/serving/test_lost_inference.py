"""Inference that dies, hangs, loses its GPU, or outlasts the server."""

import asyncio
import contextlib
import ctypes
import dataclasses
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from serving.app import create_app
from serving.batch_metrics import BatchMetrics
from serving.batcher import FAILURES_IN_A_ROW, Batcher, InferenceStuck
from serving.bundle import ONE_THREAD, read_bundle
from serving.classifier import Classifier, InferenceFailed
from serving.metrics import Metrics
from serving.models import Models
from serving.pipeline import Pipeline
from serving.providers import CPU, CUDA, Provider
from serving.services import Services
from serving.settings import Settings
from serving.upload_memory import UploadMemory
from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import BLUE, RED, flat
from tests.serving.test_pipeline import with_pipeline


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
        metrics = Metrics(models)
        uploads = UploadMemory(metrics.batches, 1_000_000)
        app = create_app(Services(Settings(), models, metrics, pipeline, uploads), ())
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
