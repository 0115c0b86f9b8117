"""GET /metrics: Prometheus's text, or a model's facts as JSON, as the client's Accept header has it."""

from fastapi import FastAPI, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from serving.metrics import Metrics
from serving.models import Models
from serving.models_endpoint import facts_of
from serving.predictions import ModelFacts
from serving.problems import problem_descriptions


def add_metrics(app: FastAPI, models: Models, metrics: Metrics) -> None:
    """Add the route /metrics."""

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


def prefers_json(accept: str) -> bool:
    """Tell whether an Accept header (RFC 9110 section 12.5.1) ranks application/json above Prometheus's text.

    Text is the default: it wins when both rank the same by name, and when only wildcards are given.
    """
    quality: dict[str, float] = {}
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        quality[kind] = next((_quality(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
    named = [quality[kind] for kind in ("text/plain", "application/openmetrics-text") if kind in quality]
    if named:
        return quality.get("application/json", 0) > max(named)
    wildcard = max(quality.get("*/*", 0), quality.get("text/*", 0))
    return quality.get("application/json", 0) >= wildcard and quality.get("application/json", 0) > 0


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0), 1)
    except ValueError:
        return 0
