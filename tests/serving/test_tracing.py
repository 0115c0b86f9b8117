"""Traces, as a collector receives them."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving_process import free_port
from tests.serving.bundles import color_bundle, publish
from tests.serving.pictures import RED
from tests.serving.running_server import REPOSITORY, StartServer
from tests.serving.test_request_log import TRACE, TRACEPARENT, lines_of

trace_service = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs OpenTelemetry: pip install '.[otel]'"
)
pytest.importorskip("opentelemetry.sdk", reason="needs OpenTelemetry: pip install '.[otel]'")

SERVER, INTERNAL, ERROR = 2, 1, 2  # opentelemetry/proto/trace/v1/trace.proto


class Collector(ThreadingHTTPServer):
    """Receives OTLP over HTTP, as the protocol's `ExportTraceServiceRequest`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.requests: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def services(self) -> set[str]:
        resources = [spans.resource for request in self.requests for spans in request.resource_spans]
        return {attributes(resource)["service.name"] for resource in resources}

    def spans(self) -> list[Any]:
        """All spans, in the order in which they began."""
        scopes = [scope for request in self.requests for spans in request.resource_spans for scope in spans.scope_spans]
        return sorted((span for scope in scopes for span in scope.spans), key=lambda span: span.start_time_unix_nano)


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            self.server.requests.append(trace_service.ExportTraceServiceRequest.FromString(body))
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def attributes(described: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in described.attributes}


def test_a_request_is_a_span_of_the_trace_that_it_belongs_to(
    start_server: StartServer, models: Path, collector: Collector
) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--otlp-endpoint", collector.url)
    before = time.time_ns()
    assert server.post(RED, traceparent=TRACEPARENT, X_Request_ID="traced").status_code == 200
    (line,) = lines_of(server, "[traced")
    assert line.endswith(f" [traced, trace {TRACE}]")
    assert server.get("/readyz").status_code == 200
    assert server.stop() == 0  # sends what has not been sent yet

    assert collector.services() == {"picture-classifier"}
    span, *stages = collector.spans()
    assert (span.name, span.kind) == ("POST /predict", SERVER)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, "00f067aa0ba902b7")
    described = attributes(span)
    assert described["http.route"] == "/predict"
    assert described["http.request.method"] == "POST"
    assert described["http.response.status_code"] == 200
    assert [value.string_value for value in described["http.response.header.x-request-id"].values] == ["traced"]
    assert before < span.start_time_unix_nano < span.end_time_unix_nano < time.time_ns()
    assert [stage.name for stage in stages] == ["read", "decode", "queue", "inference"]
    for stage in stages:
        assert (stage.kind, stage.trace_id, stage.parent_span_id) == (INTERNAL, span.trace_id, span.span_id)
        assert span.start_time_unix_nano <= stage.start_time_unix_nano <= stage.end_time_unix_nano
        assert stage.end_time_unix_nano <= span.end_time_unix_nano


def test_without_a_trace_a_request_begins_one_which_is_logged(start_server: StartServer, collector: Collector) -> None:
    server = start_server(
        *("--otlp-endpoint", f"{collector.url}/", "--log-format", "json"),
        OTEL_SERVICE_NAME="pictures",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )
    refused = server.post(RED)
    assert refused.status_code == 503
    (line,) = lines_of(server, refused.headers["x-request-id"])
    missing = server.get("/nowhere")
    assert server.stop() == 0

    assert collector.services() == {"pictures"}
    spans = {span.name: span for span in collector.spans()}
    first, other = spans["POST /predict"], spans["GET"]  # where nothing is, there is no route to name
    assert json.loads(line)["trace_id"] == first.trace_id.hex() != other.trace_id.hex()
    assert (first.parent_span_id, first.status.code) == (b"", ERROR)
    assert attributes(first)["http.response.status_code"] == 503
    assert attributes(other)["http.response.status_code"] == missing.status_code == 404


def test_nothing_is_sent_unless_asked_for(start_server: StartServer, models: Path, collector: Collector) -> None:
    publish(models, 1, color_bundle())
    server = start_server(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, FASTAPI_OTEL_AUTO_CONFIGURE="true")
    assert server.post(RED, traceparent=TRACEPARENT).status_code == 200
    assert server.stop() == 0
    assert collector.requests == []


def test_a_collector_that_is_away_holds_nobody_up(start_server: StartServer, models: Path) -> None:
    publish(models, 1, color_bundle())
    server = start_server("--otlp-endpoint", f"http://127.0.0.1:{free_port()}")
    for _ in range(20):
        assert server.post(RED).status_code == 200
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_without_the_sdk_a_sentence_says_what_to_install(models: Path) -> None:
    program = (
        "import sys; sys.modules['opentelemetry.sdk.trace'] = None; "
        "from serving.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, "--models-dir", str(models), "--otlp-endpoint", "http://127.0.0.1:4318"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        "serving: --otlp-endpoint needs OpenTelemetry's SDK; "
        "install it: pip install -c constraints.txt '.[serve,otel]'.\n"
    )
