"""What Prometheus is told of the models, and how often each answered with what."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.classifier import Classifier
from serving.models import Models

MOST_SERIES = 10_000  # a thousand classes of ten models; each is kept by this process, and for weeks by Prometheus
OTHER = "other"


class PredictionCounter:
    """Counts answers by model and label; used by one thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            "predictions",
            f"Answers by model and label; the label is {OTHER!r} for those beyond {MOST_SERIES} labels of all models.",
            ["model", "label"],
            registry=registry,
        )
        self._series: dict[tuple[str, str], Counter] = {}

    def count(self, model: str, label: str) -> None:
        """Count one answer."""
        series = self._series.get((model, label)) or self._new(model, label)
        series.inc()

    def _new(self, model: str, label: str) -> Counter:
        if len(self._series) >= MOST_SERIES:
            return self._counter.labels(model, OTHER)
        self._series[model, label] = self._counter.labels(model, label)
        return self._series[model, label]


class ModelCollector(Collector):
    """Reads the models at each scrape, so that no number outlives the version it belongs to."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        yield InfoMetricFamily(
            "inference_provider", "onnxruntime's provider.", {"provider": self._models.provider.name}
        )
        ready = GaugeMetricFamily("model_ready", "1 when a version is loaded and warmed up.", labels=["model"])
        failures = CounterMetricFamily("model_load_failures", "Versions refused, once a file state.", labels=["model"])
        refused = GaugeMetricFamily("model_version_refused", "1 for each refused version.", labels=["model", "version"])
        facts = _VersionFacts()
        for repository in self._models.repositories():
            serving = repository.current
            ready.add_metric([repository.name], float(serving is not None))
            failures.add_metric([repository.name], repository.load_failures)
            for version in repository.refused:
                refused.add_metric([repository.name, str(version)], 1)
            for classifier in repository.versions.values():
                facts.add(classifier, is_serving=classifier is serving)
        yield from (ready, failures, refused, facts.serving, facts.accuracy, facts.class_accuracy, facts.info)


class _VersionFacts:
    """What the loaded versions' bundles say of themselves."""

    def __init__(self) -> None:
        version = ["model", "version"]
        self.serving = GaugeMetricFamily(
            "model_version_serving",
            "For each loaded version: 1 when it answers those who name no version, else 0.",
            labels=version,
        )
        self.accuracy = GaugeMetricFamily(
            "model_eval_accuracy", "Top-1 accuracy that the bundle states.", labels=[*version, "split"]
        )
        self.class_accuracy = GaugeMetricFamily(
            "model_eval_class_accuracy",
            "The same for one class, of the version that serves; left out of a model whose classes would make it more "
            f"than {MOST_SERIES} in all.",
            labels=[*version, "split", "label"],
        )
        self.info = InfoMetricFamily("model", "What a loaded bundle says of itself; always 1.", labels=version)

    def add(self, classifier: Classifier, *, is_serving: bool) -> None:
        metadata = classifier.metadata
        identity = [classifier.name, str(classifier.version)]
        self.serving.add_metric(identity, float(is_serving))
        self.accuracy.add_metric([*identity, metadata.eval_split], metadata.eval_accuracy)
        of_classes = metadata.eval_per_class_accuracy
        if is_serving and len(self.class_accuracy.samples) + len(of_classes) <= MOST_SERIES:
            for label, accuracy in of_classes.items():
                self.class_accuracy.add_metric([*identity, metadata.eval_split, label], accuracy)
        self.info.add_metric(
            identity,
            {
                "dataset": metadata.dataset,
                "recipe": str(metadata.recipe["name"]),
                "step": str(metadata.step),
                "provider": classifier.provider.name,
                "weights_sha256": metadata.weights_sha256,
                "source_revision": metadata.source_revision,
                "created": metadata.created.isoformat(),
            },
        )
