"""Every Prometheus collector, each declared once; one registry an app."""

import time
from collections.abc import Collection, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.batch_metrics import DURATION_BUCKETS, BatchMetrics
from serving.classifier import Classifier
from serving.problems import CLIENT_CLOSED_REQUEST
from serving.repository import ModelRepository

# A series more for every counter, which nothing here needs.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The server's counters, and the model's facts as they are at the moment of a scrape."""

    def __init__(self, repository: ModelRepository) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "predict_requests",
            f"Requests for predictions by HTTP status; {CLIENT_CLOSED_REQUEST}: the client went away.",
            ["status"],
            registry=self.registry,
        )
        for status in (200, 500, 503):  # there from the beginning, so that a rate sees the first one
            self.requests.labels(status=str(status))
        self.duration = Histogram(
            "predict_request_duration_seconds",
            "Time from a request's head to the end of its answer, upload included.",
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self.predictions = Counter("predictions", "Answers by label.", ["label"], registry=self.registry)
        self.batches = BatchMetrics(self.registry)
        self.registry.register(_ModelCollector(repository))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)


class _ModelCollector(Collector):
    """Reads the repository at each scrape, so that no number outlives the version it belongs to."""

    def __init__(self, repository: ModelRepository) -> None:
        self._repository = repository

    def collect(self) -> Iterable[Metric]:
        name, provider = self._repository.name, self._repository.provider.name
        served = self._repository.current
        yield InfoMetricFamily("inference_provider", "onnxruntime's provider.", {"provider": provider})
        ready = GaugeMetricFamily("model_ready", "1 when a version is loaded and warmed up.", labels=["model"])
        ready.add_metric([name], float(served is not None))
        yield ready
        failures = CounterMetricFamily("model_load_failures", "Versions refused, once a file state.", labels=["model"])
        failures.add_metric([name], self._repository.load_failures)
        yield failures
        refused = GaugeMetricFamily("model_version_refused", "1 for each refused version.", labels=["model", "version"])
        for version in self._repository.refused:
            refused.add_metric([name, str(version)], 1)
        yield refused
        if served is not None:
            yield from _model_facts(served)


def _model_facts(served: Classifier) -> Iterable[Metric]:
    metadata = served.metadata
    identity = [served.name, str(served.version)]
    accuracy = GaugeMetricFamily(
        "model_eval_accuracy", "Top-1 accuracy that the bundle states.", labels=["model", "version", "split"]
    )
    accuracy.add_metric([*identity, metadata.eval_split], metadata.eval_accuracy)
    yield accuracy
    per_class = GaugeMetricFamily(
        "model_eval_class_accuracy", "The same for one class.", labels=["model", "version", "split", "label"]
    )
    for label, class_accuracy in metadata.eval_per_class_accuracy.items():
        per_class.add_metric([*identity, metadata.eval_split, label], class_accuracy)
    yield per_class
    yield _info(served)


def _info(served: Classifier) -> Metric:
    metadata = served.metadata
    labels = {
        "model": served.name,
        "version": str(served.version),
        "dataset": metadata.dataset,
        "recipe": str(metadata.recipe["name"]),
        "step": str(metadata.step),
        "provider": served.provider.name,
        "weights_sha256": metadata.weights_sha256,
        "source_revision": metadata.source_revision,
        "created": metadata.created.isoformat(),
    }
    return InfoMetricFamily("model", "What the served bundle says of itself; always 1.", labels)


class PredictMeter:
    """ASGI middleware: counts and times every request to these paths, whatever becomes of it."""

    def __init__(self, app: ASGIApp, paths: Collection[str], metrics: Metrics) -> None:
        self._app = app
        self._paths = frozenset(paths)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; see the ASGI specification."""
        if scope["type"] != "http" or scope["path"] not in self._paths:
            return await self._app(scope, receive, send)
        # What is neither answered nor abandoned ends in an exception, which becomes a 500 further out.
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        begin = time.perf_counter()
        try:
            await self._app(scope, receive, watch)
        finally:
            self._metrics.duration.observe(time.perf_counter() - begin)
            self._metrics.requests.labels(status=str(status)).inc()


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
