"""The collectors of what comes in: how much is uploaded, how long pictures wait, how many are computed at once."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Log-spaced, six a decade from 1 ms to 10 s.
DURATION_BUCKETS = (
    *(0.001, 0.0015, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0),
)
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class BatchMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.size = Histogram(
            "inference_batch_size", "Pictures in a run of the network.", buckets=SIZE_BUCKETS, registry=registry
        )
        self.wait = Histogram(
            "inference_queue_seconds",
            "Time from the end of an upload to the beginning of its picture's batch.",
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.queued = Gauge(
            "inference_queue_pictures",
            "Pictures that wait or are computed at this moment.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.uploaded = Gauge(
            "upload_bytes",
            "Bytes of the requests' bodies that are here at this moment; short ones are not counted.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.refused = Counter(
            "inference_refused", "Requests turned away by a full queue, or too much being uploaded.", registry=registry
        )
