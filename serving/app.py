"""The routes."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException
from starlette.routing import Route

from serving.access import ApiKeys, SecurityHeaders
from serving.batch_endpoint import MAX_PICTURES, BatchEndpoint
from serving.batcher import Batcher
from serving.metrics import Metrics, PredictMeter, prefers_json
from serving.picture import FORMATS, FORMATS_IN_WORDS
from serving.predict_endpoint import PredictEndpoint
from serving.predictions import Alive, ModelFacts, ModelVersion, Prediction, Predictions, Ready, RefusedVersion
from serving.problems import add_problem_handlers, problem_descriptions
from serving.repository import ModelRepository
from serving.settings import Settings, read_keys
from serving.upload import FIELD

WEB = Path(__file__).parent / "web"
PAGE_FILES = frozenset(file.name for file in WEB.iterdir())


def _form(field: dict[str, Any]) -> dict[str, Any]:
    """A form for OpenAPI, whose one field that counts is described by `field`."""
    schema = {"type": "object", "required": [FIELD], "properties": {FIELD: field}}
    return {"multipart/form-data": {"schema": schema}}


PREDICT_BODY = {
    "required": True,
    "content": _form({"type": "string", "format": "binary", "description": "The picture."})
    | {f"image/{name.lower()}": {"schema": {"type": "string", "format": "binary"}} for name in FORMATS}
    | {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}
BATCH_BODY = {
    "required": True,
    "content": _form(
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_PICTURES,
            "items": {"type": "string", "format": "binary"},
        }
    ),
}


def create_app(settings: Settings, repository: ModelRepository, metrics: Metrics, batcher: Batcher) -> FastAPI:
    """Build the app around a repository that somebody else refreshes, and a batcher that somebody else closes.

    Raises UsageError where the API keys cannot be read.
    """
    keys = read_keys(settings)

    app = FastAPIOffline(
        title="Picture classifier",
        version="1",
        description="Classifies pictures with the model bundle that the server watches.",
        redoc_url=None,
    )
    if keys:
        closed = ["/predict", *(["/metrics"] if settings.protect_metrics else [])]
        app.add_middleware(ApiKeys, keys=keys, paths=closed)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(PredictMeter, paths=("/predict", "/predict/batch"), metrics=metrics)
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
    async def predict() -> None:
        """Described here, answered by `PredictEndpoint`."""

    route = app.router.routes[-1]
    assert isinstance(route, Route)
    route.app = PredictEndpoint(settings, repository, batcher, metrics.predictions)

    answer_batch = BatchEndpoint(settings, repository, batcher, metrics.predictions)

    @app.post(
        "/predict/batch",
        summary=f"Classify up to {MAX_PICTURES} pictures",
        description=f"Send them as multipart/form-data, each as a field `{FIELD}`. Each is answered for itself, in "
        "the same order: with a prediction, or with the problem that `/predict` would have answered. "
        f"Limit: {settings.max_batch_bytes} bytes in all.",
        response_model=Predictions,
        responses=problem_descriptions(400, 408, 413, 415, 500, 503),
        openapi_extra={"requestBody": BATCH_BODY},
    )
    async def predict_batch(request: Request) -> Response:
        return await answer_batch(request)

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

    @app.get(
        "/healthz",
        summary="Is the process alive, and its inference thread?",
        response_model=Alive,
        responses=problem_descriptions(503),
    )
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> Any:
        batcher.check_alive()
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

    @app.get("/page/{name}", include_in_schema=False)
    @app.head("/page/{name}", include_in_schema=False)
    def page_file(name: str) -> Response:
        if name not in PAGE_FILES:
            raise HTTPException(404)
        return FileResponse(WEB / name, headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> Response:
        return FileResponse(WEB / "favicon.svg", media_type="image/svg+xml")

    return app


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
