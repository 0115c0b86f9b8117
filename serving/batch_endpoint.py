"""POST /predict/batch: several pictures in one form, each answered for itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from serving.classifier import InferenceFailed
from serving.departure import while_awaited
from serving.model_metrics import PredictionCounter
from serving.model_query import read_query
from serving.models import Models
from serving.pipeline import Pipeline
from serving.predictions import PictureAnswer, Prediction, Predictions
from serving.problems import problem_of, with_cause
from serving.settings import MAX_PICTURES, Settings
from serving.upload import SentPicture, content_type_of, extract_pictures, read_body
from serving.upload_memory import UploadMemory

logger = logging.getLogger(__name__)


class BatchEndpoint:
    def __init__(
        self,
        settings: Settings,
        models: Models,
        pipeline: Pipeline,
        uploads: UploadMemory,
        predictions: PredictionCounter,
        failed_pictures: Counter,
    ) -> None:
        """`failed_pictures` counts what `/predict` would have answered with 500: here the request has status 200."""
        self._settings, self._models, self._pipeline, self._uploads = settings, models, pipeline, uploads
        self._predictions, self._failed_pictures = predictions, failed_pictures

    async def __call__(self, request: Request) -> Response:
        """Answers all pictures, or raises one of the exceptions that `problems` answers."""
        classifier, top = read_query(self._models, request.scope["query_string"])
        self._pipeline.check_room(classifier)
        headers = dict(request.scope["headers"])
        with while_awaited(request.scope), self._uploads.counted(request.receive) as receive:
            # Nothing here holds the body once its pictures have been taken out of it.
            reading = read_body(receive, headers, self._settings.max_batch_bytes, self._settings.upload_timeout)
            pictures = await self._pipeline.apart(
                extract_pictures, await reading, content_type_of(headers), MAX_PICTURES
            )
            with self._pipeline.admitted(classifier, len(pictures)):
                found = await asyncio.gather(
                    *(self._pipeline.classify(classifier, picture.content) for picture in pictures),
                    return_exceptions=True,
                )
        self._note_failures(found)
        answers = Predictions(predictions=[self._told(*each, top) for each in zip(pictures, found, strict=True)])
        return Response(answers.model_dump_json(exclude_none=True), media_type="application/json")

    def _note_failures(self, found: Sequence[Prediction | BaseException]) -> None:
        failures = [each for each in found if isinstance(each, InferenceFailed)]
        if failures:
            self._failed_pictures.inc(len(failures))
            logger.error(
                "%d of %d pictures could not be answered: %s", len(failures), len(found), with_cause(failures[0])
            )

    def _told(self, picture: SentPicture, found: Prediction | BaseException, top: int | None) -> PictureAnswer:
        if isinstance(found, Prediction):
            self._predictions.count(found.model.name, found.label)
            return PictureAnswer(filename=picture.filename, prediction=found.of_top(top))
        if isinstance(found, Exception):
            return PictureAnswer(filename=picture.filename, problem=problem_of(found))
        raise found
