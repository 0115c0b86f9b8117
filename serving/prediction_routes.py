"""POST /predict and /predict/batch, as OpenAPI describes them."""

from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving.batch_endpoint import BatchEndpoint
from serving.model_query import PARAMETERS
from serving.picture import FORMATS, FORMATS_IN_WORDS
from serving.predictions import Prediction, Predictions
from serving.problems import problem_descriptions
from serving.services import Services
from serving.settings import MAX_PICTURES
from serving.upload import FIELD


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


def add_predictions(app: FastAPI, services: Services) -> None:
    """Add the routes below /predict; `HotRoute` is to answer the first of them."""
    settings = services.settings

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

    answer_batch = BatchEndpoint(services)

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
