"""POST /predict/batch: several pictures in one form, each answered for itself."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from serving.batcher import Batcher
from serving.predictions import PictureAnswer, Prediction, Predictions
from serving.problems import problem_of
from serving.repository import ModelRepository
from serving.settings import Settings
from serving.upload import SentPicture, extract_pictures, read_body, told_when_interrupted

MAX_PICTURES = 64


class BatchEndpoint:
    def __init__(self, settings: Settings, repository: ModelRepository, batcher: Batcher, predictions: Counter) -> None:
        self._settings, self._repository, self._batcher = settings, repository, batcher
        self._predictions = predictions

    async def __call__(self, request: Request) -> Response:
        """Answers all pictures, or raises one of the exceptions that `problems` answers."""
        classifier = self._repository.require()
        content_type = request.headers.get("content-type")
        with told_when_interrupted():
            body = await read_body(request, self._settings.max_batch_bytes, self._settings.upload_timeout)
            pictures = await asyncio.to_thread(extract_pictures, body, content_type, MAX_PICTURES)
            self._batcher.check_room(len(pictures))
            found = await asyncio.gather(
                *(self._batcher.classify(classifier, picture.content, None) for picture in pictures),
                return_exceptions=True,
            )
        answers = Predictions(predictions=[self._told(*each) for each in zip(pictures, found, strict=True)])
        return Response(answers.model_dump_json(exclude_none=True), media_type="application/json")

    def _told(self, picture: SentPicture, found: Prediction | BaseException) -> PictureAnswer:
        if isinstance(found, Prediction):
            self._predictions.labels(label=found.label).inc()
            return PictureAnswer(filename=picture.filename, prediction=found)
        if isinstance(found, Exception):
            return PictureAnswer(filename=picture.filename, problem=problem_of(found))
        raise found
