"""POST /predict as an ASGI application of its own: on the way of every request, so without what a framework adds."""

from __future__ import annotations

import time

from prometheus_client import Counter
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from serving.batcher import Batcher
from serving.predictions import Prediction
from serving.repository import ModelRepository
from serving.settings import Settings
from serving.upload import read_body, told_when_interrupted


class PredictEndpoint:
    def __init__(self, settings: Settings, repository: ModelRepository, batcher: Batcher, predictions: Counter) -> None:
        self._settings, self._repository, self._batcher = settings, repository, batcher
        self._predictions = predictions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one picture, or raises one of the exceptions that `problems` answers."""
        began = time.perf_counter()
        answer = await self._answer(Request(scope, receive))
        spent = b"total;dur=%.1f" % (1000 * (time.perf_counter() - began))
        self._predictions.labels(label=answer.label).inc()
        body = answer.model_dump_json().encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"server-timing", spent),  # W3C Server Timing: milliseconds, upload included
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, request: Request) -> Prediction:
        classifier = self._repository.require()
        with told_when_interrupted():
            body = await read_body(request, self._settings.max_body_bytes, self._settings.upload_timeout)
            return await self._batcher.classify(classifier, body, request.headers.get("content-type"))
