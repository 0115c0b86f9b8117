"""The routes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client.exposition import choose_encoder

from serving.classifier import Classifier
from serving.metrics import Metrics, PredictMeter, prefers_json
from serving.picture import FORMATS, FORMATS_IN_WORDS, decode_picture
from serving.predictions import Alive, ModelFacts, ModelVersion, Prediction, Ready, RefusedVersion
from serving.problems import add_problem_handlers, problem_descriptions
from serving.repository import ModelRepository
from serving.settings import Settings
from serving.upload import FIELD, Interrupted, extract_picture, read_body

WEB = Path(__file__).parent / "web"
PREDICT_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "string", "format": "binary", "description": "The picture."}},
            }
        }
    }
    | {f"image/{name.lower()}": {"schema": {"type": "string", "format": "binary"}} for name in FORMATS}
    | {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


def create_app(settings: Settings, repository: ModelRepository, threads: ThreadPoolExecutor) -> FastAPI:
    """Build the app around a repository that somebody else refreshes, and the threads that decode and classify."""
    metrics = Metrics(repository)

    app = FastAPIOffline(
        title="Picture classifier",
        version="1",
        description="Classifies pictures with the model bundle that the server watches.",
        redoc_url=None,
    )
    app.add_middleware(PredictMeter, path="/predict", metrics=metrics)
    add_problem_handlers(app)

    @app.post(
        "/predict",
        summary="Classify one picture",
        description=f"Send one picture ({FORMATS_IN_WORDS}; the first frame of an animation) as the "
        f"multipart field `{FIELD}` or as the body. It is turned upright, blended over white where it is "
        "transparent, scaled and center-cropped. "
        f"Limits: {settings.max_body_bytes} bytes and {settings.max_pixels} pixels.",
        response_model=Prediction,
        responses=problem_descriptions(400, 408, 413, 415, 422, 500, 503),
        openapi_extra={"requestBody": PREDICT_BODY},
    )
    async def predict(request: Request) -> Response:
        classifier = repository.require()
        content_type = request.headers.get("content-type")
        loop = asyncio.get_running_loop()
        try:
            body = await read_body(request, settings.max_body_bytes, settings.upload_timeout)
            prediction = await loop.run_in_executor(
                threads, _predict, classifier, body, content_type, settings.max_pixels
            )
        except asyncio.CancelledError:
            # Only uvicorn cancels, when the time for a graceful stop is over.
            raise Interrupted("The server stopped before this request was complete.") from None
        metrics.predictions.labels(label=prediction.label).inc()
        return Response(prediction.model_dump_json(), media_type="application/json")

    @app.get(
        "/metrics",
        summary="Prometheus metrics, or the model's facts as JSON",
        description="Text for Prometheus; with `Accept: application/json` what the bundle says of itself.",
        response_model=ModelFacts,
        responses=problem_descriptions(503)
        | {
            200: {
                "content": {"text/plain": {"schema": {"type": "string"}}},
                "description": "Metrics or facts.",
            }
        },
    )
    @app.head("/metrics", include_in_schema=False)
    def read_metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        if prefers_json(accept):
            return Response(_facts(repository).model_dump_json(), media_type="application/json")
        encode, media_type = choose_encoder(accept)
        return Response(encode(metrics.registry), headers={"Content-Type": media_type})

    @app.get("/healthz", summary="Is the process alive?", response_model=Alive)
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> Any:
        return Alive()

    @app.get(
        "/readyz",
        summary="Is a model loaded and warmed up?",
        response_model=Ready,
        responses=problem_descriptions(503),
    )
    @app.head("/readyz", include_in_schema=False)
    async def readyz() -> Any:
        served = repository.require()
        return Ready(model=ModelVersion(name=served.name, version=served.version))

    @app.get("/", include_in_schema=False)
    @app.head("/", include_in_schema=False)
    def page() -> Response:
        return FileResponse(WEB / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> Response:
        return FileResponse(WEB / "favicon.svg", media_type="image/svg+xml")

    return app


def _predict(classifier: Classifier, body: bytes, content_type: str | None, max_pixels: int) -> Prediction:
    """Everything that takes processor time, for a thread of its own."""
    picture = decode_picture(extract_picture(body, content_type), classifier.picture_size, max_pixels)
    return classifier.classify(picture[None])[0]


def _facts(repository: ModelRepository) -> ModelFacts:
    served = repository.require()
    return ModelFacts(
        name=served.name,
        version=served.version,
        provider=served.provider.name,
        input_shape=(None, *served.picture_size, 3),
        metadata=served.metadata,
        refused_versions=[RefusedVersion(version=v, reason=r) for v, r in repository.refused.items()],
    )
