"""POST /predict/batch: several pictures in one form, each answered for itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from serving.classifier import InferenceFailed
from serving.departure import while_awaited
from serving.model_query import read_query
from serving.predictions import PictureAnswer, Prediction, Predictions
from serving.problems import problem_of, with_cause
from serving.services import Services
from serving.settings import MAX_PICTURES
from serving.upload import SentPicture, content_type_of, extract_pictures, read_body

logger = logging.getLogger(__name__)


class BatchEndpoint:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, request: Request) -> Response:
        """Answers all pictures, or raises one of the exceptions that `problems` answers."""
        settings, pipeline = self._services.settings, self._services.pipeline
        classifier, top = read_query(self._services.models, request.scope["query_string"])
        pipeline.check_room(classifier)
        headers = dict(request.scope["headers"])
        with while_awaited(request.scope), self._services.uploads.counted(request.receive) as receive:
            # Nothing here holds the body once its pictures have been taken out of it.
            reading = read_body(receive, headers, settings.max_batch_bytes, settings.upload_timeout)
            pictures = await pipeline.apart(extract_pictures, await reading, content_type_of(headers), MAX_PICTURES)
            pipeline.check_decoders()
            with pipeline.admitted(classifier, len(pictures)):
                found = await asyncio.gather(
                    *(pipeline.classify(classifier, picture.content) for picture in pictures),
                    return_exceptions=True,
                )
        self._note_failures(found)
        answers = Predictions(predictions=[self._told(*each, top) for each in zip(pictures, found, strict=True)])
        return Response(answers.model_dump_json(exclude_none=True), media_type="application/json")

    def _note_failures(self, found: Sequence[Prediction | BaseException]) -> None:
        failures = [each for each in found if isinstance(each, InferenceFailed)]
        if failures:
            # What `/predict` would have answered with 500; here the request has status 200.
            self._services.metrics.failed_pictures.inc(len(failures))
            logger.error(
                "%d of %d pictures could not be answered: %s", len(failures), len(found), with_cause(failures[0])
            )

    def _told(self, picture: SentPicture, found: Prediction | BaseException, top: int | None) -> PictureAnswer:
        if isinstance(found, Prediction):
            self._services.metrics.predictions.count(found.model.name, found.label)
            return PictureAnswer(filename=picture.filename, prediction=found.of_top(top))
        if isinstance(found, Exception):
            return PictureAnswer(filename=picture.filename, problem=problem_of(found))
        raise found
