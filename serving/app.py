"""The routes."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException

from serving.access import ApiKeys
from serving.batch_endpoint import BatchEndpoint
from serving.hot_route import HotRoute
from serving.key_description import describe_keys
from serving.metrics import Metrics, PredictMeter, prefers_json
from serving.model_query import PARAMETERS
from serving.models import Models
from serving.models_endpoint import add_models, facts_of
from serving.open_inference.routes import add_inference_protocol
from serving.picture import FORMATS, FORMATS_IN_WORDS
from serving.pipeline import Pipeline
from serving.predict_endpoint import PredictEndpoint
from serving.predictions import Alive, ModelFacts, ModelVersion, Prediction, Predictions, Ready
from serving.problems import add_problem_handlers, problem_descriptions
from serving.settings import MAX_PICTURES, Settings
from serving.tracing import TraceStages, telemetry_config
from serving.upload import FIELD

WEB = Path(__file__).parent / "web"
PAGE_FILES = frozenset(file.name for file in WEB.iterdir())


def _form(field: dict[str, Any]) -> dict[str, Any]:
    """A form for OpenAPI, whose one field that counts is described by `field`."""
    schema = {"type": "object", "required": [FIELD], "properties": {FIELD: field}}
    return {"multipart/form-data": {"schema": schema}}


HOT = {"method": "POST", "path": "/predict"}  # the route that does not go through FastAPI's router
# How paths begin: where something is predicted, and where the models are told of. What ends in /ready is a probe.
PREDICTIONS = r"/predict(?!\w)|/v2/models/.*/infer"
FACTS = r"/metrics|/models|/v2/repository|/v2/models/(?!.+/ready$)"

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


def create_app(
    settings: Settings, keys: Collection[str], models: Models, metrics: Metrics, pipeline: Pipeline
) -> FastAPI:
    """Build the app around models that somebody else refreshes, and a pipeline that somebody else closes.

    ``keys``: any of them lets in who asks for predictions; where there is none, everybody may ask.
    """
    app = FastAPIOffline(
        title="Picture classifier",
        version="1",
        description="Classifies pictures with the models in the folder that the server watches.",
        redoc_url=None,
        telemetry=telemetry_config(settings.otlp_endpoint),
    )
    endpoint = PredictEndpoint(settings, models, pipeline, metrics.predictions)
    app.add_middleware(HotRoute, **HOT, endpoint=endpoint)
    if keys:
        closed = f"{PREDICTIONS}|{FACTS}" if settings.protect_metrics else PREDICTIONS
        closed_paths = re.compile(closed, re.DOTALL)
        app.add_middleware(ApiKeys, keys=keys, paths=closed_paths)
        describe_keys(app, closed_paths)
    app.add_middleware(PredictMeter, paths=re.compile(PREDICTIONS, re.DOTALL), metrics=metrics)
    if settings.otlp_endpoint:
        app.add_middleware(TraceStages, **HOT)
    add_problem_handlers(app)

    @app.post(
        "/predict",
        summary="Classify one picture",
        description=f"Send one picture ({FORMATS_IN_WORDS}; the first frame of an animation) as the "
        f"multipart field `{FIELD}` or as the body. It is turned upright, blended over white where it is "
        "transparent, scaled and center-cropped. "
        f"Limits: {settings.max_body_bytes} bytes and {settings.max_pixels} pixels.",
        response_model=Prediction,
        responses=problem_descriptions(400, 404, 408, 413, 415, 422, 500, 503),
        openapi_extra={"parameters": PARAMETERS, "requestBody": PREDICT_BODY},
    )
    async def predict() -> None:
        """Described here, answered by `HotRoute`; what comes here has a path that only a router takes for the same."""
        raise HTTPException(404)

    answer_batch = BatchEndpoint(settings, models, pipeline, metrics.predictions, metrics.failed_pictures)

    @app.post(
        "/predict/batch",
        summary=f"Classify up to {MAX_PICTURES} pictures",
        description=f"Send them as multipart/form-data, each as a field `{FIELD}`. Each is answered for itself, in "
        "the same order: with a prediction, or with the problem that `/predict` would have answered. "
        f"Limit: {settings.max_batch_bytes} bytes in all.",
        response_model=Predictions,
        responses=problem_descriptions(400, 404, 408, 413, 415, 500, 503),
        openapi_extra={"parameters": PARAMETERS, "requestBody": BATCH_BODY},
    )
    async def predict_batch(request: Request) -> Response:
        return await answer_batch(request)

    @app.get(
        "/metrics",
        summary="Prometheus metrics, or the default model's facts as JSON",
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
            return Response(facts_of(models, models.find()), media_type="application/json")
        encode, media_type = choose_encoder(accept)
        return Response(encode(metrics.scraped), headers={"Content-Type": media_type})

    add_models(app, models)

    @app.get(
        "/healthz",
        summary="Is the process alive, and does it answer pictures?",
        response_model=Alive,
        responses=problem_descriptions(503),
    )
    @app.head("/healthz", include_in_schema=False)
    async def healthz() -> Any:
        pipeline.check_alive()
        return Alive()

    @app.get(
        "/readyz",
        summary="Is the default model loaded and warmed up, and does it answer?",
        response_model=Ready,
        responses=problem_descriptions(503),
    )
    @app.head("/readyz", include_in_schema=False)
    async def readyz() -> Any:
        served = models.find()
        pipeline.check_alive()
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

    add_inference_protocol(app, settings, models, metrics, pipeline)

    return app
