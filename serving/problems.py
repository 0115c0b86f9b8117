"""Every error as application/problem+json (RFC 9457), from one table of exception to status."""

import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from serving.batcher import InferenceStuck
from serving.classifier import InferenceFailed
from serving.departure import Interrupted
from serving.model_query import MalformedQuery
from serving.picture import BrokenPicture, TooManyPixels, UnreadableType
from serving.pipeline import QueueFull
from serving.predictions import Problem
from serving.repository import NotReady, UnknownModel
from serving.upload import (
    BodyTooLarge,
    MalformedUpload,
    NothingSent,
    UnacceptableType,
    UploadTooSlow,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# nginx's status for a client that went away before its answer: nobody reads it, but the metrics count it.
CLIENT_CLOSED_REQUEST = 499


@dataclass(frozen=True)
class Kind:
    """How one exception is answered; its text becomes the detail."""

    status: int
    name: str
    title: str
    headers: dict[str, str] = field(default_factory=dict)


KINDS: dict[type[Exception], Kind] = {
    NothingSent: Kind(400, "nothing-sent", "Nothing was sent"),
    MalformedUpload: Kind(400, "malformed-upload", "The upload is malformed"),
    MalformedQuery: Kind(400, "malformed-query", "The query is malformed"),
    UnknownModel: Kind(404, "unknown-model", "There is no such model"),
    UploadTooSlow: Kind(408, "upload-too-slow", "The upload took too long", {"Connection": "close"}),
    BodyTooLarge: Kind(413, "body-too-large", "The body is too large"),
    TooManyPixels: Kind(413, "too-many-pixels", "The picture is too large"),
    UnacceptableType: Kind(415, "unacceptable-type", "The content type is not accepted"),
    UnreadableType: Kind(415, "unreadable-picture-type", "The picture's format is not read"),
    BrokenPicture: Kind(422, "broken-picture", "The upload is no intact picture"),
    NotReady: Kind(503, "not-ready", "The model is not ready", {"Retry-After": "5"}),
    QueueFull: Kind(503, "queue-full", "Too many requests wait", {"Retry-After": "1"}),
    InferenceStuck: Kind(503, "inference-stuck", "Pictures are not being answered"),
    Interrupted: Kind(503, "interrupted", "The server stops", {"Connection": "close"}),
    InferenceFailed: Kind(500, "inference-failed", "The model could not answer"),
}


def problem_response(
    status: int, detail: str, *, name: str = "", title: str = "", headers: dict[str, str] | None = None
) -> Response:
    """Build one problem answer; without a name its type is about:blank and its title the status's own."""
    problem = _problem(status, detail, name, title)
    return Response(problem.model_dump_json(), status, headers=headers, media_type=MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """What one of the exceptions of the table is answered with. Raises any other."""
    kind = _kind_of(error)
    return _problem(kind.status, str(error), kind.name, kind.title)


def _kind_of(error: Exception) -> Kind:
    kind = KINDS.get(type(error))
    if kind is None:
        raise error
    return kind


def _problem(status: int, detail: str, name: str, title: str) -> Problem:
    return Problem(
        type=f"urn:problem-type:{name}" if name else "about:blank",
        title=title or HTTPStatus(status).phrase,
        status=status,
        detail=detail,
    )


def answer_error(error: Exception) -> Response:
    """Answer one of the exceptions of the table, or a client that went away. Raises any other."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    kind = _kind_of(error)
    if kind.status == 500:
        logger.error("%s", with_cause(error))
    return problem_response(kind.status, str(error), name=kind.name, title=kind.title, headers=kind.headers)


def with_cause(error: BaseException) -> str:
    """What an error says, and what caused it, for the log."""
    return f"{error} {error.__cause__ or ''}".rstrip()


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every exception of the table, HTTP's own errors, and whatever else is raised, as a problem."""
    for kind in (*KINDS, ClientDisconnect):
        app.add_exception_handler(kind, _answer_known)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(Exception, _answer_unexpected)


def problem_descriptions(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problem answers of these statuses for OpenAPI."""
    schema = Problem.model_json_schema()
    titles = {status: sorted({k.title for k in KINDS.values() if k.status == status}) for status in statuses}
    return {
        status: {
            "description": "; ".join(titles[status]) or HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


async def _answer_known(_request: Request, error: Exception) -> Response:
    return answer_error(error)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path[:200]}."
    elif error.status_code == 405:
        headers["Allow"] = _allowed_methods(request)
        detail = f"{request.method} is not allowed here; allowed: {headers['Allow']}."
    else:
        detail = f"{error.detail}."
    return problem_response(error.status_code, detail, headers=headers)


def _allowed_methods(request: Request) -> str:
    """All that any route at this address takes (RFC 9110 section 10.2.1); starlette names those of the first."""
    here = [
        route.methods or set()
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
    ]
    return ", ".join(sorted(set().union(*here)))


async def _answer_unexpected(_request: Request, _error: Exception) -> Response:
    return problem_response(500, "The server made a mistake; its log says more.")
