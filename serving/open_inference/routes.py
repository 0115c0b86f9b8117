"""The Open Inference Protocol, version 2, over HTTP: the routes below /v2.

https://github.com/kserve/open-inference-protocol, with Triton's extensions for binary tensor data, classification and
model configuration, and the index of its extension for model repositories.
"""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.routing import Route

from serving.model_query import named_model
from serving.models import Models
from serving.open_inference.infer_endpoint import InferEndpoint
from serving.open_inference.inlined_schema import inlined_schema
from serving.open_inference.messages import (
    IndexedVersion,
    IndexRequest,
    InferenceAnswer,
    InferenceRequest,
    ModelConfiguration,
    ModelMetadata,
    ModelReady,
    ProtocolError,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from serving.open_inference.model_metadata import configuration_of, list_versions, metadata_of
from serving.open_inference.request import HEADER_LENGTH
from serving.problems import problem_descriptions
from serving.services import Services
from serving.settings import MAX_PICTURES
from serving.upload import MalformedUpload, read_bounded

PREFIX = "/v2"
MODEL = f"{PREFIX}/models/{{name}}"
VERSION = f"{MODEL}/versions/{{version}}"
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration"]
MAX_INDEX_REQUEST = 10_000  # bytes

_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "description": "The model."}
_NUMBER = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}, "description": "A number."}
PARAMETERS = {MODEL: [_NAME], VERSION: [_NAME, _NUMBER]}
HEADER = {
    "name": HEADER_LENGTH,
    "in": "header",
    "schema": {"type": "integer", "minimum": 1},
    "description": "Bytes of the JSON, where binary data follow it.",
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
INFER_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": inlined_schema(InferenceRequest)},
        "application/octet-stream": BINARY,
    },
}
INDEX_BODY = {"content": {"application/json": {"schema": inlined_schema(IndexRequest)}}}


def add_inference_protocol(app: FastAPI, services: Services) -> None:
    """Add the protocol's routes; `ProtocolErrors` is to surround the app."""
    _add_server_routes(app, services)
    _add_model_routes(app, services.models)
    _add_infer_routes(app, services)


def _add_server_routes(app: FastAPI, services: Services) -> None:
    settings, models, pipeline = services.settings, services.models, services.pipeline

    async def read_server() -> ServerMetadata:
        return ServerMetadata(name=app.title, version=app.version, extensions=EXTENSIONS)

    async def live() -> ServerLive:
        pipeline.check_alive()
        return ServerLive()

    async def ready() -> ServerReady:
        models.find()
        pipeline.check_alive()
        return ServerReady()

    async def read_index(request: Request) -> list[IndexedVersion]:
        body = await read_bounded(
            request.receive, dict(request.scope["headers"]), MAX_INDEX_REQUEST, settings.upload_timeout
        )
        try:
            wanted = IndexRequest.model_validate_json(body or b"{}")
        except ValidationError as error:
            raise MalformedUpload(f"The body is no index request: {error.errors()[0]['msg']}.") from None
        return list_versions(models, wanted.ready)

    _add_get(app, PREFIX, read_server, "Name of the server, and its extensions")
    _add_get(app, f"{PREFIX}/health/live", live, "The same as /healthz", 503)
    _add_get(app, f"{PREFIX}/health/ready", ready, "The same as /readyz", 503)
    app.add_api_route(
        f"{PREFIX}/repository/index",
        read_index,
        methods=["POST"],
        summary="Every version of every model, loaded or refused",
        responses=_errors(400, 408, 413),
        openapi_extra={"requestBody": INDEX_BODY},
        tags=["Open Inference Protocol"],
    )


def _add_model_routes(app: FastAPI, models: Models) -> None:
    async def read_model(request: Request) -> ModelMetadata:
        classifier = named_model(models, **request.path_params)
        is_one = "version" in request.path_params
        return metadata_of(
            classifier, [classifier.version] if is_one else list(models.repository(classifier.name).versions)
        )

    async def ready(request: Request) -> ModelReady:
        return ModelReady(name=named_model(models, **request.path_params).name)

    async def read_configuration(request: Request) -> ModelConfiguration:
        return configuration_of(named_model(models, **request.path_params))

    for path in (MODEL, VERSION):
        described: dict[str, Any] = {"openapi_extra": {"parameters": PARAMETERS[path]}}
        _add_get(app, path, read_model, "A model's tensors", 404, 503, **described)
        _add_get(app, f"{path}/ready", ready, "Can the model be asked?", 404, 503, **described)
        _add_get(app, f"{path}/config", read_configuration, "The same for Triton's clients", 404, 503, **described)


def _add_infer_routes(app: FastAPI, services: Services) -> None:
    endpoint = InferEndpoint(services)

    async def infer() -> None:
        """Described here, answered by `InferEndpoint`."""

    for path in (MODEL, VERSION):
        app.add_api_route(
            f"{path}/infer",
            infer,
            methods=["POST"],
            summary=f"Classify up to {MAX_PICTURES} pictures that are decoded already",
            description="Pictures are uint8 [N, height, width, 3], RGB: as numbers in the JSON, or better as bytes "
            "after it (binary tensor data extension). The body may be compressed with gzip or deflate. "
            f"Limit: {services.settings.max_batch_bytes} bytes.",
            response_model=InferenceAnswer,
            responses=_errors(400, 404, 408, 413, 415, 500, 503)
            | {200: {"content": {"application/octet-stream": BINARY}}},
            openapi_extra={"parameters": [*PARAMETERS[path], HEADER], "requestBody": INFER_BODY},
            tags=["Open Inference Protocol"],
        )
        route = app.router.routes[-1]
        assert isinstance(route, Route)
        route.app = endpoint


def _add_get(
    app: FastAPI, path: str, endpoint: Callable[..., Any], summary: str, *errors: int, **described: Any
) -> None:
    """Add a route for GET, and HEAD."""
    app.add_api_route(
        path, endpoint, summary=summary, responses=_errors(*errors), tags=["Open Inference Protocol"], **described
    )
    app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of these statuses for OpenAPI, as `ProtocolErrors` sends them."""
    content = {"application/json": {"schema": inlined_schema(ProtocolError)}}
    return {status: {**told, "content": content} for status, told in problem_descriptions(*statuses).items()}
