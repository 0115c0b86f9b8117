"""POST /predict as an ASGI application of its own: on the way of every request, so without what a framework adds."""

from __future__ import annotations

import time

from starlette.types import Receive, Scope, Send

from serving.current_request import note_prediction
from serving.departure import while_awaited
from serving.model_query import read_query
from serving.predictions import Prediction
from serving.services import Services
from serving.upload import content_type_of, read_body


class PredictEndpoint:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one picture, or raises one of the exceptions that `problems` answers."""
        began = time.perf_counter()
        answer = await self._answer(scope, receive)
        spent = b"total;dur=%.1f" % (1000 * (time.perf_counter() - began))
        self._services.metrics.predictions.count(answer.model.name, answer.label)
        note_prediction(answer.label, answer.model.name, answer.model.version)
        body = answer.model_dump_json().encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"server-timing", spent),  # W3C Server Timing: milliseconds, upload included
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> Prediction:
        settings, pipeline = self._services.settings, self._services.pipeline
        classifier, top = read_query(self._services.models, scope["query_string"])
        pipeline.check_room(classifier)
        headers = dict(scope["headers"])
        with while_awaited(scope), self._services.uploads.counted(receive) as counted:
            reading = read_body(counted, headers, settings.max_body_bytes, settings.upload_timeout)
            answer = await pipeline.classify_upload(classifier, await reading, content_type_of(headers))
        return answer.of_top(top)
