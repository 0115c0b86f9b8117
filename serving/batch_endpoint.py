"""POST /predict/batch: several pictures in one form, each answered for itself."""

from __future__ import annotations

import asyncio
import json

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from serving.batcher import Batcher
from serving.classifier import Answer
from serving.problems import problem_of
from serving.repository import ModelRepository
from serving.settings import Settings
from serving.upload import Interrupted, SentPicture, extract_pictures, read_body

MAX_PICTURES = 64


class BatchEndpoint:
    def __init__(self, settings: Settings, repository: ModelRepository, batcher: Batcher, predictions: Counter) -> None:
        self._settings, self._repository, self._batcher = settings, repository, batcher
        self._predictions = predictions

    async def __call__(self, request: Request) -> Response:
        """Answers all pictures, or raises one of the exceptions that `problems` answers."""
        classifier = self._repository.require()
        content_type = request.headers.get("content-type")
        try:
            body = await read_body(request, self._settings.max_batch_bytes, self._settings.upload_timeout)
            pictures = await asyncio.to_thread(extract_pictures, body, content_type, MAX_PICTURES)
            self._batcher.check_room(len(pictures))
            found = await asyncio.gather(
                *(self._batcher.classify(classifier, picture.content, None) for picture in pictures),
                return_exceptions=True,
            )
        except asyncio.CancelledError:
            raise Interrupted("The server stopped before this request was complete.") from None
        answers = b",".join(self._told(picture, each) for picture, each in zip(pictures, found, strict=True))
        return Response(b'{"predictions":[' + answers + b"]}", media_type="application/json")

    def _told(self, picture: SentPicture, found: Answer | BaseException) -> bytes:
        """A PictureAnswer, as it is sent."""
        if isinstance(found, Answer):
            self._predictions.labels(label=found.label).inc()
            kind, content = "prediction", found.json
        elif isinstance(found, Exception):
            kind, content = "problem", problem_of(found).model_dump_json().encode()
        else:
            raise found
        return f'{{"filename":{json.dumps(picture.filename)},"{kind}":'.encode() + content + b"}"
