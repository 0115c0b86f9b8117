"""Every Prometheus collector, each declared once; one registry an app."""

import os
import re
import time

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.batch_metrics import DURATION_BUCKETS, BatchMetrics
from serving.model_metrics import ModelCollector, PredictionCounter
from serving.models import Models
from serving.problems import CLIENT_CLOSED_REQUEST
from serving.process_metrics import ServerProcessCollector

# A series more for every counter, which nothing here needs.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The server's counters, and the models' facts as they are at the moment of a scrape."""

    def __init__(self, models: Models) -> None:
        self.scraped, registry = _registries()
        self.requests = Counter(
            "predict_requests",
            f"Requests for predictions by HTTP status; {CLIENT_CLOSED_REQUEST}: the client went away.",
            ["status"],
            registry=registry,
        )
        for status in (200, 500, 503):  # there from the beginning, so that a rate sees the first one
            self.requests.labels(status=str(status))
        self.duration = Histogram(
            "predict_request_duration_seconds",
            "Time from a request's head to the end of its answer, upload included.",
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.predictions = PredictionCounter(registry)
        self.failed_pictures = Counter(
            "predict_failed_pictures",
            "Pictures of /predict/batch that the model could not answer; a picture alone is a request of status 500.",
            registry=registry,
        )
        self.batches = BatchMetrics(registry)
        workers = Gauge(
            "workers", "Processes that answer on this port.", multiprocess_mode="livesum", registry=registry
        )
        workers.set(1)
        self.scraped.register(ModelCollector(models))
        PlatformCollector(registry=self.scraped)


def _registries() -> tuple[CollectorRegistry, CollectorRegistry]:
    """What is scraped, and what this process counts in; the same where it is the only one on its port.

    Several workers share their counts through files, and whichever is scraped adds them up.
    """
    scraped = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(scraped)  # type: ignore[no-untyped-call]
        scraped.register(ServerProcessCollector())
        return scraped, CollectorRegistry()
    ProcessCollector(registry=scraped)
    return scraped, scraped


class PredictMeter:
    """ASGI middleware: counts and times every request to these paths, whatever becomes of it."""

    def __init__(self, app: ASGIApp, paths: re.Pattern[str], metrics: Metrics) -> None:
        self._app = app
        self._paths = paths
        self._metrics = metrics
        self._counters: dict[int, Counter] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; see the ASGI specification."""
        if scope["type"] != "http" or not self._paths.match(scope["path"]):
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
            self._counter(status).inc()

    def _counter(self, status: int) -> Counter:
        """Looked up once: prometheus_client takes a microsecond to find it."""
        if status not in self._counters:
            self._counters[status] = self._metrics.requests.labels(status=str(status))
        return self._counters[status]
