"""Traces by OpenTelemetry, where they are asked for: FastAPI makes a request's span, its stages become children."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.current_request import current_request
from serving.settings import UsageError

SERVICE = "picture-classifier"
# Asked for every few seconds by machines, and the same every time.
UNTRACED = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
SECONDS_TO_SEND = 5.0  # at the end, what has not been sent yet


@contextmanager
def tracing(endpoint: str) -> Iterator[None]:
    """Send this process's spans to a collector by OTLP over HTTP for as long as the block runs; none without endpoint.

    OpenTelemetry's own variables are followed, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and OTEL_EXPORTER_OTLP_HEADERS
    among them. Raises UsageError where its SDK is not installed.
    """
    if not endpoint:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UsageError(
            "--otlp-endpoint needs OpenTelemetry's SDK; install it: pip install -c constraints.txt '.[serve,otel]'."
        ) from None
    named = {"service.name": SERVICE, **OTELResourceDetector().detect().attributes}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)
    # Every attempt that fails is a warning, the end of the attempts an error.
    logging.getLogger("opentelemetry.exporter").setLevel("ERROR")
    try:
        yield
    finally:
        # It sends what is left, and would try for half a minute where nobody takes it.
        sending = threading.Thread(target=provider.shutdown, daemon=True)
        sending.start()
        sending.join(SECONDS_TO_SEND)


def telemetry_config(endpoint: str) -> TelemetryConfig:
    """What FastAPI's own instrumentation does: spans where there is an endpoint, nothing else ever."""
    return {
        "tracing": bool(endpoint),
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": lambda scope: scope["path"] in UNTRACED,
    }


class TraceStages:
    """ASGI middleware inside FastAPI's span: the log names the span's trace, and the request's stages are spans."""

    def __init__(self, app: ASGIApp, method: str, path: str) -> None:
        """`method`, `path`: the route that does not go through FastAPI's router, which names the span of others."""
        self._app, self._method, self._path = app, method, path
        self._tracer = trace.get_tracer(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        request, span = current_request(), trace.get_current_span()
        if request is None or not span.get_span_context().is_valid:
            return await self._app(scope, receive, send)
        request.trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        span.set_attribute("http.response.header.x-request-id", [request.id])
        if scope["path"] == self._path and scope["method"] == self._method:
            span.update_name(f"{self._method} {self._path}")
            span.set_attribute("http.route", self._path)
        stages = request.stages = []
        inside = time.monotonic()
        epoch = time.time() - inside  # spans are dated, stages are not
        try:
            await self._app(scope, receive, send)
        finally:
            for name, began, ended in stages:
                # The request was there a little earlier than its span, whose children begin within it.
                stage = self._tracer.start_span(name, start_time=round(1e9 * (epoch + max(inside, began))))
                stage.end(round(1e9 * (epoch + ended)))
