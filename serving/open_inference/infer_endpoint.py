"""POST /v2/models/…/infer as an ASGI application of its own, like `PredictEndpoint`."""

import numpy as np
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from serving.classifier import Classifier
from serving.departure import while_awaited
from serving.model_query import named_model
from serving.open_inference.answer import Answer, encode_answer
from serving.open_inference.content_encoding import decoded
from serving.open_inference.request import HEADER_LENGTH, Inference, parse_inference
from serving.services import Services
from serving.upload import read_bounded

MAX_PARSED_HERE = 16_384  # bytes: under half a millisecond
MAX_ENCODED_HERE = 4_096  # probabilities: the same


class InferEndpoint:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one inference request, or raises one of the exceptions that `problems` answers."""
        answer = await self._answer(Request(scope, receive))
        headers = [(b"content-length", b"%d" % len(answer.body))]
        if answer.json_length is None:
            headers.append((b"content-type", b"application/json"))
        else:
            headers.append((b"content-type", b"application/octet-stream"))
            headers.append((HEADER_LENGTH.lower().encode(), b"%d" % answer.json_length))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: Request) -> Answer:
        pipeline = self._services.pipeline
        classifier = named_model(self._services.models, **request.path_params)
        pipeline.check_room(classifier)
        with while_awaited(request.scope), self._services.uploads.counted(request.receive) as receive:
            inference = await self._read(request, receive, classifier)
            probabilities, labels = await pipeline.run(classifier, inference.images)
            if not np.isfinite(probabilities).all():
                raise classifier.not_a_number()
            for label in labels.tolist():
                self._services.metrics.predictions.count(classifier.name, classifier.metadata.class_names[label])
            if probabilities.size > MAX_ENCODED_HERE:
                return await pipeline.apart(encode_answer, classifier, inference, probabilities, labels)
            return encode_answer(classifier, inference, probabilities, labels)

    async def _read(self, request: Request, receive: Receive, classifier: Classifier) -> Inference:
        settings = self._services.settings
        limit = settings.max_batch_bytes
        body = await read_bounded(receive, dict(request.scope["headers"]), limit, settings.upload_timeout)
        encoding = request.headers.get("content-encoding")
        header_length = request.headers.get(HEADER_LENGTH)

        def parse() -> Inference:
            return parse_inference(decoded(body, encoding, limit), header_length, classifier.picture_size)

        if _is_quick(body, encoding, header_length):
            return parse()
        # As many at once as are decoded: each takes a multiple of the body.
        return await self._services.pipeline.apart(parse)


def _is_quick(body: bytes, encoding: str | None, header_length: str | None) -> bool:
    """Whether the event loop itself may parse it: bytes cost nothing, JSON and decompression do."""
    is_short_json = len(body) <= MAX_PARSED_HERE or (header_length is not None and len(header_length) <= 4)
    return encoding is None and is_short_json
